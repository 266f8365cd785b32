//! Pages of a segment, each with a mutex: a semaphore that is taken with SEM_UNDO.
//!
//! A page's first words are who is at work, a value and its check; the rest repeats the value. Who finds another at work that nobody has
//! killed has got into a taken mutex; whoever was killed leaves the page as it was then, and the next one makes it good.

use super::chance::mix;
use super::ledger::{Ledger, Wrong};
use super::worker::Work;
use crate::ipc::{self, Attached, sop};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// How many.
const PAGES: usize = 6;
/// Words of one.
const WORDS: usize = 512;

/// One page.
#[derive(Clone, Copy)]
struct Page<'a>(&'a [AtomicU64]);

impl<'a> Page<'a> {
    fn of(attached: &'a Attached, at: usize) -> Page<'a> {
        // SAFETY: the segment has PAGES pages, and atomics may be shared.
        let words =
            unsafe { std::slice::from_raw_parts(attached.words().cast::<AtomicU64>(), PAGES * WORDS) };
        Page(&words[at * WORDS..(at + 1) * WORDS])
    }

    fn owner(self) -> u64 {
        self.0[0].load(SeqCst)
    }

    fn value(self) -> u64 {
        self.0[1].load(SeqCst)
    }

    /// Whether check and body are the value's.
    fn is_whole(self) -> bool {
        let value = self.value();
        // ORDERING: Relaxed, for whoever wrote the body has given the mutex up since.
        let body = || self.0[3..].iter().all(|word| word.load(std::sync::atomic::Ordering::Relaxed) == value);
        self.0[2].load(SeqCst) == mix(value) && body()
    }

    /// Makes check and body the value's.
    fn complete(self) {
        let value = self.value();
        for word in &self.0[3..] {
            // ORDERING: Relaxed, for the mutex is given up after this.
            word.store(value, std::sync::atomic::Ordering::Relaxed);
        }
        self.0[2].store(mix(value), SeqCst);
    }
}

/// Makes segment and mutexes.
pub(super) fn make(ledger: &Ledger) -> io::Result<()> {
    let pages = ipc::shmget(libc::IPC_PRIVATE, PAGES * WORDS * 8, 0o666)?;
    let mutexes = ipc::semget(libc::IPC_PRIVATE, PAGES as i32, 0o666)?;
    let attached = Attached::new(pages, 0)?;
    for at in 0..PAGES {
        Page::of(&attached, at).complete();
        ipc::semctl(mutexes, at, libc::SETVAL, 1)?;
    }
    ledger.pages.store(pages, SeqCst);
    ledger.mutexes.store(mutexes, SeqCst);
    Ok(())
}

/// Attaches the segment, changes a few pages, detaches it.
pub(super) fn play(work: &mut Work<'_>) -> io::Result<()> {
    work.station("shmat");
    let attached = Attached::new(work.ledger.pages.load(SeqCst), 0)?;
    work.slot.done();
    for _ in 0..1 + work.chance.below(20) {
        change(work, &attached)?;
    }
    work.station("shmdt");
    drop(attached);
    work.slot.done();
    Ok(())
}

/// Changes a page in its mutex.
fn change(work: &mut Work<'_>, attached: &Attached) -> io::Result<()> {
    let (ledger, slot) = (work.ledger, work.slot);
    let at = work.chance.below(PAGES);
    let mutexes = ledger.mutexes.load(SeqCst);
    work.semop("mutex", mutexes, &[sop(at, -1, libc::SEM_UNDO)])?;
    work.station("page");
    let page = Page::of(attached, at);
    enter(ledger, page, slot.life(work.at));
    let value = page.value() + 1;
    slot.paging.store(1, SeqCst);
    page.0[1].store(value, SeqCst);
    page.complete();
    if page.value() != value || page.owner() != slot.life(work.at) {
        ledger.report(Wrong::Doubled, &format!("two in the mutex of page {at}"));
    }
    page.0[0].store(0, SeqCst);
    slot.counted.fetch_add(1, SeqCst);
    slot.paging.store(0, SeqCst);
    work.semop("mutex", mutexes, &[sop(at, 1, libc::SEM_UNDO)])
}

/// Takes a page over from whoever was there.
fn enter(ledger: &Ledger, page: Page<'_>, life: u64) {
    let before = page.owner();
    page.0[0].store(life, SeqCst);
    if before == 0 {
        if !page.is_whole() {
            ledger.report(Wrong::Torn, &format!("a page with value {}", page.value()));
        }
        return;
    }
    let at = ((before & 0xffff) as usize).wrapping_sub(1);
    let killed = ledger.slots.get(at).map(|slot| u64::from(slot.killed.load(SeqCst)));
    if killed.is_none_or(|killed| killed < before >> 16) {
        ledger
            .report(Wrong::Doubled, &format!("{life:#x} is in the mutex of {before:#x}, who was not killed"));
    }
    page.complete();
}

/// Looks at everything when nobody is left; `doubts` counts those who died while they changed a page.
pub(super) fn close(ledger: &Ledger, doubts: u64) -> io::Result<()> {
    let (pages, mutexes) = (ledger.pages.load(SeqCst), ledger.mutexes.load(SeqCst));
    let left = ipc::attached(pages)?;
    if left != 0 {
        ledger.report(Wrong::Torn, &format!("nattch is {left} when nobody is left"));
    }
    let attached = Attached::new(pages, 0)?;
    let mut sum = 0;
    for at in 0..PAGES {
        let page = Page::of(&attached, at);
        enter(ledger, page, 0);
        sum += page.value();
        let value = ipc::semctl(mutexes, at, libc::GETVAL, 0)?;
        if value != 1 {
            let wrong = if value < 1 { Wrong::Lost } else { Wrong::Doubled };
            ledger.report(wrong, &format!("mutex {at} is {value}"));
        }
        super::tokens::nobody_waits(ledger, mutexes, at)?;
    }
    let counted: u64 = ledger.slots.iter().map(|slot| slot.counted.load(SeqCst)).sum();
    if sum < counted || sum > counted + doubts {
        let wrong = if sum < counted { Wrong::Lost } else { Wrong::Doubled };
        ledger.report(wrong, &format!("{sum} changes of pages, {counted} counted, {doubts} in doubt"));
    }
    drop(attached);
    ipc::Kind::Shm.remove(pages)?;
    ipc::Kind::Sem.remove(mutexes)
}
