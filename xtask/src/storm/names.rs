//! Objects with keys: each slot makes and removes its own, others look them up and sleep in them.

use super::chance::mix;
use super::ledger::{Ledger, Named, Slot, Wrong};
use super::worker::Work;
use crate::ipc::{self, Attached, Kind, Message, sop};
use std::io;

/// The first key.
const KEY: i32 = 0x5370_0000;

fn key(slot: usize, kind: usize) -> i32 {
    KEY + (slot * Kind::ALL.len() + kind) as i32
}

/// Makes, uses and removes one of its own, or visits somebody else's.
pub(super) fn play(work: &mut Work<'_>) -> io::Result<()> {
    if work.chance.below(2) == 0 { own(work) } else { visit(work) }
}

fn own(work: &mut Work<'_>) -> io::Result<()> {
    let (slot, at) = (work.slot, work.chance.below(3));
    let kind = Kind::ALL[at];
    slot.set_named(at, Named::Doubtful);
    work.station("get");
    let id = kind.get(key(work.at, at), libc::IPC_CREAT | libc::IPC_EXCL | 0o666)?;
    slot.set_named(at, Named::There(id));
    slot.done();
    furnish(work, kind, id)?;
    slot.set_named(at, Named::Doubtful);
    work.station("IPC_RMID");
    kind.remove(id)?;
    slot.set_named(at, Named::Gone);
    slot.done();
    Ok(())
}

/// A new object is empty; then it is used.
fn furnish(work: &mut Work<'_>, kind: Kind, id: i32) -> io::Result<()> {
    work.station("a new object");
    let empty = match kind {
        Kind::Msg => {
            let state = ipc::queue_state(id)?;
            ipc::msgsnd(id, &Message::<8>::new(9), 8, 0)?;
            state == (0, 0)
        }
        Kind::Sem => {
            // A visitor may be asleep in it, so the value is looked at before there is something to take.
            let value = ipc::semctl(id, 0, libc::GETVAL, 0)?;
            work.semop("a new set", id, &[sop(0, 2, 0)])?;
            value == 0
        }
        Kind::Shm => {
            let attached = Attached::new(id, 0)?;
            // SAFETY: the segment has a page; nobody but this process writes there.
            let words = unsafe { std::slice::from_raw_parts_mut(attached.words(), 512) };
            let empty = words.iter().all(|word| *word == 0);
            words.fill(mix(id as u64));
            empty
        }
    };
    if !empty {
        work.ledger.report(Wrong::Torn, &format!("a new {} is not empty", kind.word()));
    }
    work.slot.done();
    Ok(())
}

/// Sleeps in somebody else's object, which goes away.
fn visit(work: &mut Work<'_>) -> io::Result<()> {
    let at = work.chance.below(3);
    let (kind, other) = (Kind::ALL[at], work.chance.below(work.ledger.count()));
    work.station("visit");
    let found = kind.get(key(other, at), 0);
    if ipc::failed(&found, libc::ENOENT) {
        return Ok(());
    }
    let id = found?;
    let result = match kind {
        // Nobody sends this type: the removal must wake the sleeper.
        Kind::Msg => ipc::msgrcv(id, &mut Message::<8>::new(0), 77, 0).map(drop),
        Kind::Sem => ipc::semop(id, &mut [sop(0, -1, libc::SEM_UNDO)], None),
        Kind::Shm => Attached::new(id, libc::SHM_RDONLY).map(|attached| whole(work.ledger, &attached, id)),
    };
    let allowed = [libc::EIDRM, libc::EINVAL, libc::EINTR];
    if !allowed.iter().any(|errno| ipc::failed(&result, *errno)) {
        result?;
    }
    work.slot.done();
    Ok(())
}

/// A visited segment is empty, full, or on the way there.
fn whole(ledger: &Ledger, attached: &Attached, id: i32) {
    // SAFETY: the segment has a page; volatile, for its maker may be writing there.
    let first = unsafe { attached.words().read_volatile() };
    if first != 0 && first != mix(id as u64) {
        ledger.report(Wrong::Torn, &format!("segment {id} holds {first:#x}"));
    }
}

/// What a dead process leaves: what was answered is so, what was not may be either way. Then it is gone.
pub(super) fn settle(ledger: &Ledger, slot: &Slot, number: usize) -> io::Result<()> {
    for (at, kind) in Kind::ALL.into_iter().enumerate() {
        let found = kind.get(key(number, at), 0);
        let named = slot.named(at);
        match (named, &found) {
            (Named::Gone, Ok(id)) => {
                let what = format!("{} {id} was removed and is there", kind.word());
                ledger.report(Wrong::Doubled, &what);
            }
            (Named::There(id), _) if found.as_ref().ok() != Some(&id) => {
                let what = format!("{} {id} was made, and there is {found:?}", kind.word());
                ledger.report(Wrong::Lost, &what);
            }
            _ => {}
        }
        if let Ok(id) = found {
            kind.remove(id)?;
        } else if !ipc::failed(&found, libc::ENOENT) {
            found?;
        }
        slot.set_named(at, Named::Gone);
    }
    Ok(())
}
