//! The engine's host in a program: the clock, sleeping, waking.
//!
//! A call that must wait first tries to get by without the kernel's wake-up (`patience.rs`), then parks.

use crate::patience;
use crate::section::{self, Waiting};
use core::ptr::null_mut;
use core::sync::atomic::{
    AtomicPtr, AtomicU32,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    fence,
};
use ring3_abi::Errno;
use ring3_engine::wait::{PARKED, WAITING};
use ring3_engine::{Deadline, Host, Parked, Seat};
use ring3_os::arch;
use ring3_os::futex::{self, Reach};
use ring3_os::{time, vdso};

/// The host of calls in a section: what it waits for there is a lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Agent;

/// A short wait, nanoseconds ([`Deadline::SHORT`]).
const SHORT: u64 = 5_000_000;
impl Host for Agent {
    #[inline]
    fn now(&self) -> i64 {
        time::coarse_seconds()
    }

    fn park(&self, seat: Seat<'_>, until: Deadline) -> Parked {
        if !mark_parked(&seat) {
            return Parked::Woken;
        }
        let ns = if until == Deadline::SHORT { SHORT } else { until.0.saturating_sub(time::monotonic()) };
        seat.cpu.store(vdso::cpu() + 1, Relaxed);
        match futex::wait(seat.word, seat.parked, ns.min(SHORT), Reach::Shared) {
            Err(Errno::ETIMEDOUT) => Parked::TimedOut,
            _ => Parked::Woken,
        }
    }

    #[inline]
    fn wake(&self, word: &AtomicU32, count: u32, cpu: &AtomicU32) {
        cpu.store(vdso::cpu() + 1, Relaxed);
        futex::wake(word.as_ptr(), count, Reach::Shared);
    }
}

/// Says that we no longer look. `false`: the word has changed already.
fn mark_parked(seat: &Seat<'_>) -> bool {
    // ORDERING: AcqRel: who serves sees PARKED and wakes, or we see that he served.
    match seat.word.compare_exchange(seat.spinning, seat.parked, AcqRel, Acquire) {
        Ok(_) => true,
        Err(now) => now == seat.parked,
    }
}

/// Sleeps outside of any section until the seat's word changes, the deadline passes, or a handler has concluded the call.
pub(crate) fn sleep(seat: Seat<'_>, until: Deadline, waiting: *mut Waiting, perch: Option<&Perch>) -> Parked {
    // SAFETY: the caller's record lives until it disarms it.
    let concluded = unsafe { &(*waiting).concluded };
    if patience::wait(&seat, concluded) || concluded.load(Relaxed) != 0 {
        return Parked::Woken;
    }
    if let Some(perch) = perch {
        perch.take(&seat);
    }
    let parked = mark_parked(&seat);
    if perch.is_some() {
        // ORDERING: SeqCst pairs with poke(): either poke() sees the perch and the parked word, or we see the cancellation.
        fence(SeqCst);
        section::cancel_point(waiting);
    }
    if !parked {
        return Parked::Woken;
    }
    // SAFETY: both words live through the call.
    let raw = unsafe { arch::park(seat.word.as_ptr(), seat.parked, until.0, concluded.as_ptr()) };
    match Errno::decode(raw) {
        Err(Errno::ETIMEDOUT) => Parked::TimedOut,
        Err(Errno::EINTR) => Parked::Interrupted,
        _ => Parked::Woken,
    }
}

/// How many sleeping calls pthread_cancel finds at one time. Others notice their cancellation when they wake.
const PERCHES: usize = 256;
static PERCHED: [AtomicPtr<u32>; PERCHES] = [const { AtomicPtr::new(null_mut()) }; PERCHES];

/// A place in the table of sleeping calls; in the call's record, so that whoever concludes the call gives it back.
#[derive(Debug)]
pub(crate) struct Perch(AtomicPtr<AtomicPtr<u32>>);

impl Perch {
    /// No place yet.
    pub(crate) const fn new() -> Perch {
        Perch(AtomicPtr::new(null_mut()))
    }

    fn take(&self, seat: &Seat<'_>) {
        let word = seat.word.as_ptr();
        let free = |p: &&AtomicPtr<u32>| p.compare_exchange(null_mut(), word, AcqRel, Relaxed).is_ok();
        if let Some(place) = PERCHED.iter().find(free) {
            self.0.store(core::ptr::from_ref(place).cast_mut(), Relaxed);
        }
    }

    /// Gives the place back, if there is one.
    pub(crate) fn leave(&self) {
        // SAFETY: null, or a place of the static table.
        if let Some(place) = unsafe { self.0.swap(null_mut(), Relaxed).as_ref() } {
            place.store(null_mut(), Release);
        }
    }
}

/// Makes every call that sleeps at a cancellation point look whether it was cancelled.
pub fn poke() {
    // ORDERING: SeqCst: see sleep().
    fence(SeqCst);
    for place in &PERCHED {
        let word = place.load(Acquire);
        if word.is_null() {
            continue;
        }
        // SAFETY: a perch names a word of a region, and regions stay mapped (objects.rs, O3).
        let atomic = unsafe { AtomicU32::from_ptr(word) };
        let _ = atomic.compare_exchange(PARKED, WAITING, AcqRel, Relaxed);
        futex::wake(word, u32::MAX >> 1, Reach::Shared);
    }
}
