//! A semop that needs the set's lock and can be done at once. semop(2); kernel: ipc/sem.c, __do_semtimedop().

use crate::object::record::{self, Handle};
use crate::process::{self, identity, lives, own_life};
use crate::syscall::sem::scratch::FEW;
use crate::syscall::sem::set::KIND;
use crate::thread::section::{self, Section};
use crate::thread::sleep::Agent;
use core::mem::MaybeUninit;
use ring3_abi::IpcId;
use ring3_abi::sem::{SEM_UNDO, Sembuf};
use ring3_engine::sem::rules;
use ring3_engine::{Caller, Host};
use ring3_os::user::UserPtr;
use ring3_wire::request::Limit;

/// A call of several operations, or of one with SEM_UNDO, if it can be done at once. `false`: go the long way, which finds every error in its order.
#[inline(always)]
pub(super) fn at_once(id: IpcId, sops: UserPtr<Sembuf>, nsops: usize) -> bool {
    // Two functions: the one with a known count needs few registers.
    if nsops == 1 { one(id, sops) } else { several(id, sops, nsops) }
}

#[inline(never)]
fn one(id: IpcId, sops: UserPtr<Sembuf>) -> bool {
    let section = section::enter();
    // First, while little has to be kept over the calls.
    let now = Agent.now();
    sops.read_word::<{ size_of::<Sembuf>() }>().is_ok_and(|word| {
        let op = Sembuf::from_word(word);
        op.sem_flg & SEM_UNDO != 0 && operate::<true>(id, core::slice::from_ref(&op), now, &section).is_some()
    })
}

#[inline(never)]
fn several(id: IpcId, sops: UserPtr<Sembuf>, nsops: usize) -> bool {
    let section = section::enter();
    let now = Agent.now();
    let mut few = [MaybeUninit::uninit(); FEW];
    let Some(Ok(ops)) = few.get_mut(..nsops).map(|room| sops.read_slice(room)) else { return false };
    let flags = ops.iter().fold(0, |flags, op| flags | op.sem_flg);
    let done = if flags & SEM_UNDO != 0 {
        operate::<true>(id, ops, now, &section)
    } else {
        operate::<false>(id, ops, now, &section)
    };
    done.is_some()
}

#[inline(always)]
fn operate<const UNDO: bool>(id: IpcId, ops: &[Sembuf], now: i64, section: &Section) -> Option<()> {
    rules::check_count(ops.len(), process::limit_at_once(Limit::Semopm)?).ok()?;
    let page = identity::current();
    let object = record::find(KIND, id, page)?;
    let Handle::Set(set) = &object.handle else { return None };
    if !object.direct || !lives::all_live(set, page) {
        return None;
    }
    let life = if UNDO { own_life::held(page)? } else { 0 };
    let who = Caller { pid: page.pid(), tid: identity::tid_of(section.thread()), life };
    set.semop_at_once::<UNDO, _>(&Agent, who, now, ops).then_some(())
}
