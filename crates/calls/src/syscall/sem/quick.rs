//! The quick try at a semop: one plain operation, one compare-and-swap. semop(2); kernel: ipc/sem.c, __do_semtimedop().
//!
//! What is different is told from it here, and goes another way (`at_once.rs`, `semop.rs`).

use crate::object::record::{self, Handle};
use crate::process::identity::{self, Identity};
use crate::syscall::sem::set::KIND;
use crate::thread::section;
use crate::thread::sleep::Agent;
use ring3_abi::IpcId;
use ring3_abi::sem::{SEM_UNDO, Sembuf};
use ring3_engine::Host;
use ring3_engine::sem::Set;
use ring3_os::user::UserPtr;

/// An operation with SEM_UNDO, as it was read, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undone {
    /// The operation as a word.
    pub(super) op: u64,
    /// Seconds since 1970.
    pub(super) now: i64,
}

/// What came of a quick try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quick {
    /// It is done.
    Done,
    /// Somebody has adjustments in the set: those that have ended come first.
    Adjusted,
    /// It needs the lock: one operation with SEM_UNDO.
    Undone(Undone),
    /// It needs the lock: several operations.
    Several,
    /// Go the long way, which finds every error in its order.
    Long,
}

/// semop(2) if it can be done at once.
#[inline(always)]
pub fn semop_at_once(id: i32, sops: UserPtr<Sembuf>, nsops: usize) -> Quick {
    if nsops == 1 { one(id, sops, |set, _, _| !set.has_adjustments()) } else { Quick::Several }
}

/// A call of one plain operation that can be done at once: one compare-and-swap, no lock. `settled` says whether nobody with adjustments may have
/// ended.
#[inline(always)]
pub(super) fn one(
    id: IpcId,
    sops: UserPtr<Sembuf>,
    settled: impl FnOnce(Set<'static>, &Set<'static>, &Identity) -> bool,
) -> Quick {
    // First, while little has to be kept over the call.
    let now = Agent.now();
    let Ok(word) = sops.read_word::<{ size_of::<Sembuf>() }>() else { return Quick::Long };
    let op = Sembuf::from_word(word);
    if op.sem_flg & SEM_UNDO != 0 {
        return Quick::Undone(Undone { op: word, now });
    }
    let section = section::enter();
    match one_in_section(id, &op, now, settled) {
        // Apart from the others, so that nothing is kept or asked for their sake behind the section's end.
        Quick::Done => {
            drop(section);
            Quick::Done
        }
        other => other,
    }
}

#[inline(always)]
fn one_in_section(
    id: IpcId,
    op: &Sembuf,
    now: i64,
    settled: impl FnOnce(Set<'static>, &Set<'static>, &Identity) -> bool,
) -> Quick {
    let page = identity::current();
    let Some(object) = record::find(KIND, id, page) else { return Quick::Long };
    let Handle::Set(set) = &object.handle else { return Quick::Long };
    if !object.direct {
        return Quick::Long;
    }
    // What a copy has stays in registers over the look at the adjustments.
    let copy = *set;
    if !settled(copy, set, page) {
        return Quick::Adjusted;
    }
    if copy.fast(page.pid(), now, op) { Quick::Done } else { Quick::Long }
}
