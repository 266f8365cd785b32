//! One semaphore, one word: value, last operation's process and time, and whether the lock rules it.
//!
//! # Invariants
//! S1. With FAST set, the word changes by compare-and-swap from anywhere. With FAST clear (*slow*), it changes only under the set's lock.
//!     Memory that a region has left is zero, hence slow: an operation there goes the way of the lock, which finds that it is no set.
//! S2. FAST is cleared and set under the lock, by one atomic operation each, through [`Taken`]: only a holder that has taken the word
//!     under the lock can set it, and does so when no ticket names the semaphore. Whether a word is slow is asked under the lock: what was
//!     seen before that may be over.
//! S3. The value is 0 to 32767; the time is seconds since the set's `otime_base`, plus 1, or 0 for never.
//!
//! # Death
//! A compare-and-swap has happened or not. A word that a dead process left slow costs speed until the next slow operation.

use crate::atomic::{AcqRel, Acquire, AtomicU64, Relaxed, Release};
use crate::error::Result;
use crate::journal::Tx;
use crate::lock::Held;
use ring3_abi::Pid;
use ring3_abi::sem::SEMVMX;

const VALUE: u64 = 0x7fff;
const FAST: u64 = 1 << 15;
const PID_SHIFT: u32 = 16;
const PID: u64 = (1 << 22) - 1;
const TIME_SHIFT: u32 = 38;
/// Largest time a word can hold.
pub const TIME_MAX: u64 = (1 << 26) - 1;

/// The zero of times for a set that is used now: the clock may be set back by a year, or run on for one.
pub fn base_for(now: i64) -> u64 {
    (now as u64).saturating_sub(TIME_MAX / 2)
}

/// A semaphore at one moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Snapshot(u64);

impl Snapshot {
    /// The value.
    #[inline]
    pub fn value(self) -> i32 {
        (self.0 & VALUE) as i32
    }

    /// Whether an operation on it must wait.
    #[inline]
    pub fn stops(self, op: i16) -> bool {
        if op == 0 { self.value() != 0 } else { self.value() + i32::from(op) < 0 }
    }

    /// The process of the last operation.
    #[inline]
    pub fn pid(self) -> Pid {
        ((self.0 >> PID_SHIFT) & PID) as Pid
    }

    /// Time of the last operation, relative and plus 1; 0 never.
    #[inline]
    pub fn time(self) -> u64 {
        self.0 >> TIME_SHIFT
    }

    /// Whether only the lock's holder may change the word.
    #[inline]
    pub fn slow(self) -> bool {
        self.0 & FAST == 0
    }

    /// The bits, for a word that nobody reaches yet.
    #[inline]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// With another value (0 to SEMVMX).
    #[inline]
    pub fn with_value(self, value: i32) -> Snapshot {
        debug_assert!((0..=SEMVMX).contains(&value));
        Snapshot(self.0 & !VALUE | (value as u64 & VALUE))
    }

    /// With another value (0 to SEMVMX) and what an operation's mark says, and slow.
    #[inline]
    pub fn marked(self, value: i32, mark: Mark) -> Snapshot {
        debug_assert!((0..=SEMVMX).contains(&value));
        Snapshot(self.0 & mark.kept | mark.bits | value as u64)
    }

    /// With another process.
    #[inline]
    pub fn with_pid(self, pid: Pid) -> Snapshot {
        Snapshot(self.0 & !(PID << PID_SHIFT) | (u64::from(pid) & PID) << PID_SHIFT)
    }

    /// With another time.
    #[inline]
    pub fn with_time(self, time: u64) -> Snapshot {
        Snapshot(self.0 & (u64::MAX >> (64 - TIME_SHIFT)) | time.min(TIME_MAX) << TIME_SHIFT)
    }
}

/// What operations leave in a word besides the value: the process, and perhaps the time.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// Which bits of the word stay.
    kept: u64,
    bits: u64,
}

impl Mark {
    /// Of a process, whose time stays as it was.
    #[inline]
    pub fn of(pid: Pid) -> Mark {
        Mark { kept: u64::MAX << TIME_SHIFT, bits: Snapshot(0).with_pid(pid).0 }
    }

    /// With a time.
    #[inline]
    pub fn at(self, time: u64) -> Mark {
        Mark { kept: 0, bits: Snapshot(self.bits).with_time(time).0 }
    }
}

impl core::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "{}{} by {} at {}",
            self.value(),
            if self.slow() { " slow" } else { "" },
            self.pid(),
            self.time()
        )
    }
}

/// Reads the word.
#[inline]
pub fn read(word: &AtomicU64) -> Snapshot {
    // ORDERING: Acquire pairs with the Release half of every change: what the last one to post did before is seen.
    Snapshot(word.load(Acquire))
}

/// Does one operation without the lock, if the word is not slow and the operation need not wait and stays in range.
/// Answers whether it did.
#[inline(always)]
pub fn operate(word: &AtomicU64, op: i16, pid: Pid, time: u64) -> bool {
    let mut seen = Snapshot(word.load(Relaxed));
    // All of a word that is not its value.
    let rest = Snapshot(FAST).with_pid(pid).with_time(time).0;
    loop {
        let value = seen.value() + i32::from(op);
        if seen.slow() || !(0..=SEMVMX).contains(&value) || (op == 0 && value != 0) {
            return false;
        }
        // ORDERING: AcqRel: a post publishes what the caller did before, a wait sees what the poster did before.
        match word.compare_exchange_weak(seen.0, rest | value as u64, AcqRel, Relaxed) {
            Ok(_) => return true,
            Err(now) => seen = Snapshot(now),
        }
    }
}

/// A word that is slow and stays so until the holder of the set's lock releases it: nobody else writes it meanwhile (S1).
#[derive(Debug)]
pub struct Taken<'l> {
    word: &'l AtomicU64,
    seen: Snapshot,
}

/// Takes the word under the lock's rule. It may be slow already: the one before may have left it so (S2).
#[inline]
pub fn take_under_lock<'l>(_: Held<'l>, word: &'l AtomicU64) -> Taken<'l> {
    let mut seen = read(word);
    if !seen.slow() {
        // ORDERING: AcqRel: no compare-and-swap succeeds after this one, and what those before it published is seen.
        seen = Snapshot(word.fetch_and(!FAST, AcqRel) & !FAST);
    }
    Taken { word, seen }
}

impl Taken<'_> {
    /// The semaphore as it stands.
    #[inline]
    pub fn seen(&self) -> Snapshot {
        self.seen
    }

    /// Writes it, in a change. The word stays slow.
    #[inline(always)]
    pub fn put(self, tx: &mut Tx<'_>, new: Snapshot) -> Result<()> {
        // It stands there still: nobody else writes a word that is taken.
        tx.replace64(self.word, self.seen.0, new.0 & !FAST)
    }

    /// Gives the word to compare-and-swaps again (S2). No ticket names the semaphore, and no change that wrote the word is under way.
    #[inline]
    pub fn release_to_cas(self) {
        // ORDERING: Release publishes what was done under the lock to those who come without it.
        self.word.fetch_or(FAST, Release);
    }
}
