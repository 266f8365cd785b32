//! A semop that needs the set's lock and can be done at once. semop(2); kernel: ipc/sem.c, __do_semtimedop().

use crate::object::record::{self, Handle};
use crate::process::{self, identity, lives, own_life};
use crate::syscall::sem::quick::Undone;
use crate::syscall::sem::scratch::FEW;
use crate::syscall::sem::set::KIND;
use crate::thread::section::{self, Section};
use crate::thread::sleep::Agent;
use core::mem::MaybeUninit;
use ring3_abi::IpcId;
use ring3_abi::sem::{SEM_UNDO, Sembuf};
use ring3_engine::sem::{Set, rules};
use ring3_engine::{Caller, Host};
use ring3_os::user::UserPtr;
use ring3_wire::request::Limit;

/// A call of one operation with SEM_UNDO if it can be done at once. `false`: go the long way, which finds every error in its order.
#[inline(always)]
pub(super) fn one(id: IpcId, Undone { op, now }: Undone) -> bool {
    let section = section::enter();
    let done = ready::<true>(id, 1, &section).and_then(|(set, who)| {
        let op = Sembuf::from_word(op);
        set.at_hand()?.semop_at_once::<true, _>(&Agent, who, now, core::slice::from_ref(&op)).then_some(())
    });
    done.is_some()
}

/// The same of several operations.
#[inline(never)]
pub(super) fn several(id: IpcId, sops: UserPtr<Sembuf>, nsops: usize) -> bool {
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
    let (set, who) = ready::<UNDO>(id, ops.len(), section)?;
    set.semop_at_once::<UNDO, _>(&Agent, who, now, ops).then_some(())
}

/// The set of a call of so many operations, and who calls: if nothing has to be done first.
#[inline(always)]
fn ready<const UNDO: bool>(
    id: IpcId,
    count: usize,
    section: &Section,
) -> Option<(&'static Set<'static>, Caller)> {
    rules::check_count(count, process::limit_at_once(Limit::Semopm)?).ok()?;
    let page = identity::current();
    let object = record::find(KIND, id, page)?;
    let Handle::Set(set) = &object.handle else { return None };
    if !object.direct || !(lives::own_alone(set, page) || lives::all_live(set, page)) {
        return None;
    }
    let life = if UNDO { own_life::held(page)? } else { 0 };
    Some((set, Caller { pid: page.pid(), tid: identity::tid_of(section.thread()), life }))
}
