//! Tokens: semaphores whose sums are known whoever dies.
//!
//! *Lent* ones are taken with SEM_UNDO and given back; each semaphore has what it began with when nobody is left. *Moved* ones go from
//! one semaphore to another by one semop without SEM_UNDO; their sum is the same at every moment.

use super::ledger::{Ledger, Wrong};
use super::worker::Work;
use crate::ipc::{self, sop};
use std::io;
use std::sync::atomic::Ordering::SeqCst;

/// Semaphores that tokens are taken of.
const LENT: usize = 8;
/// Semaphores behind them, between which lent tokens are moved with SEM_UNDO.
const ROOMY: usize = 4;
/// What each of the former holds: fewer than there are takers.
const FEW: u16 = 2;
/// What each of the latter holds: enough for everybody.
const MANY: u16 = 1000;
/// Semaphores between which tokens wander.
const MOVED: usize = 8;
/// How many wander from each.
const EACH: u16 = 2;

/// Makes the sets.
pub(super) fn make(ledger: &Ledger) -> io::Result<()> {
    let lent = ipc::semget(libc::IPC_PRIVATE, (LENT + ROOMY) as i32, 0o666)?;
    for at in 0..LENT + ROOMY {
        ipc::semctl(lent, at, libc::SETVAL, i32::from(expected(at)))?;
    }
    let moved = ipc::semget(libc::IPC_PRIVATE, MOVED as i32, 0o666)?;
    for at in 0..MOVED {
        ipc::semctl(moved, at, libc::SETVAL, i32::from(EACH))?;
    }
    ledger.lent.store(lent, SeqCst);
    ledger.moved.store(moved, SeqCst);
    Ok(())
}

fn expected(at: usize) -> u16 {
    if at < LENT { FEW } else { MANY }
}

/// One thing to do with tokens.
pub(super) fn play(work: &mut Work<'_>) -> io::Result<()> {
    match work.chance.below(10) {
        0..=2 => lend(work),
        3 => lend_two(work),
        4 | 5 => shift(work),
        6 => wait_for_zero(work),
        _ => wander(work),
    }
}

/// Takes a token and gives it back.
fn lend(work: &mut Work<'_>) -> io::Result<()> {
    let at = work.chance.below(LENT);
    work.semop("semop, undo", work.ledger.lent.load(SeqCst), &[sop(at, -1, libc::SEM_UNDO)])?;
    if work.chance.below(500) == 0 && !work.is_child() {
        work.slot.carried.store(at as u32 + 1, SeqCst);
        return work.exec();
    }
    give_back(work, at)
}

/// Gives back what the program before an exec has taken.
pub(super) fn give_back(work: &mut Work<'_>, at: usize) -> io::Result<()> {
    work.slot.carried.store(0, SeqCst);
    work.semop("semop, undo", work.ledger.lent.load(SeqCst), &[sop(at, 1, libc::SEM_UNDO)])
}

/// Takes two at once.
fn lend_two(work: &mut Work<'_>) -> io::Result<()> {
    let set = work.ledger.lent.load(SeqCst);
    let one = work.chance.below(LENT);
    let other = (one + 1 + work.chance.below(LENT - 1)) % LENT;
    let both = |change| [sop(one, change, libc::SEM_UNDO), sop(other, change, libc::SEM_UNDO)];
    work.semop("semop of two, undo", set, &both(-1))?;
    work.semop("semop of two, undo", set, &both(1))
}

/// Moves one and back, with SEM_UNDO.
fn shift(work: &mut Work<'_>) -> io::Result<()> {
    let set = work.ledger.lent.load(SeqCst);
    let (from, to) = (LENT + work.chance.below(ROOMY), LENT + work.chance.below(ROOMY));
    let step = |from, to| [sop(from, -1, libc::SEM_UNDO), sop(to, 1, libc::SEM_UNDO)];
    work.semop("semop there, undo", set, &step(from, to))?;
    work.semop("semop back, undo", set, &step(to, from))
}

/// Moves one for good; gives up after a while, for there may be none.
fn wander(work: &mut Work<'_>) -> io::Result<()> {
    let set = work.ledger.moved.load(SeqCst);
    let (from, to) = (work.chance.below(MOVED), work.chance.below(MOVED));
    let flags = if work.chance.below(3) == 0 { libc::IPC_NOWAIT } else { 0 };
    work.station("semtimedop");
    timed(work, set, &mut [sop(from, -1, flags), sop(to, 1, flags)], 50)
}

/// Waits for a semaphore to be empty, a while.
fn wait_for_zero(work: &mut Work<'_>) -> io::Result<()> {
    let set = work.ledger.moved.load(SeqCst);
    let at = work.chance.below(MOVED);
    work.station("semtimedop of zero");
    timed(work, set, &mut [sop(at, 0, 0)], 20)
}

fn timed(work: &Work<'_>, set: i32, sops: &mut [libc::sembuf], ms: i64) -> io::Result<()> {
    let done = ipc::semop(set, sops, Some(ms));
    if !ipc::failed(&done, libc::EAGAIN) && !ipc::failed(&done, libc::EINTR) {
        done?;
    }
    work.slot.done();
    Ok(())
}

/// Looks at the sum of what wanders, while everybody works.
pub(super) fn watch(ledger: &Ledger) -> io::Result<()> {
    let sum: u32 = ipc::values(ledger.moved.load(SeqCst), MOVED)?.iter().map(|value| u32::from(*value)).sum();
    let meant = u32::from(EACH) * MOVED as u32;
    if sum != meant {
        let wrong = if sum < meant { Wrong::Lost } else { Wrong::Doubled };
        ledger.report(wrong, &format!("{sum} wandering tokens of {meant}"));
    }
    Ok(())
}

/// Looks at everything when nobody is left, and removes the sets.
pub(super) fn close(ledger: &Ledger) -> io::Result<()> {
    watch(ledger)?;
    let lent = ledger.lent.load(SeqCst);
    for (at, value) in ipc::values(lent, LENT + ROOMY)?.into_iter().enumerate() {
        let meant = expected(at);
        if value != meant {
            let wrong = if value < meant { Wrong::Lost } else { Wrong::Doubled };
            ledger.report(wrong, &format!("semaphore {at} has {value} of {meant} lent tokens"));
        }
        nobody_waits(ledger, lent, at)?;
    }
    for at in 0..MOVED {
        nobody_waits(ledger, ledger.moved.load(SeqCst), at)?;
    }
    ipc::Kind::Sem.remove(lent)?;
    ipc::Kind::Sem.remove(ledger.moved.load(SeqCst))
}

/// GETNCNT and GETZCNT of a semaphore that nobody uses any more.
pub(super) fn nobody_waits(ledger: &Ledger, set: i32, at: usize) -> io::Result<()> {
    let waiting = (ipc::semctl(set, at, libc::GETNCNT, 0)?, ipc::semctl(set, at, libc::GETZCNT, 0)?);
    if waiting != (0, 0) {
        ledger.report(Wrong::Torn, &format!("semaphore {at} of {set}: the dead wait, {waiting:?}"));
    }
    Ok(())
}
