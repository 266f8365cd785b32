//! What the engine asks of the world: the time, to park, to wake.

use crate::atomic::{AcqRel, Acquire, AtomicU32, Relaxed};
use crate::life::Life;
use ring3_abi::Pid;

/// The caller of an operation: a process and one of its threads, as the broker numbered them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The process (thread group).
    pub pid: Pid,
    /// The thread.
    pub tid: Pid,
    /// The process's life, by which others learn of its death; 0 if it has none.
    pub life: Life,
}

/// A point of CLOCK_MONOTONIC in nanoseconds; `u64::MAX` is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub u64);

impl Deadline {
    /// Never.
    pub const NEVER: Deadline = Deadline(u64::MAX);
    /// A few milliseconds from now, as the host likes: for waits that end by themselves unless somebody died.
    pub const SHORT: Deadline = Deadline(0);
}

/// The word that one waits on, and the two values by which a sleeper says how.
#[derive(Clone, Copy, Debug)]
pub struct WaitWord<'r> {
    /// The futex.
    pub(crate) word: &'r AtomicU32,
    /// Its value while one waits, is not served yet, and still looks at the word.
    pub(crate) waiting: u32,
    /// The value by which a sleeper says that it no longer looks and wants a wake-up call.
    pub(crate) parked: u32,
    /// Where the last process that served or slept here ran: its CPU number + 1, 0 unknown.
    pub(crate) cpu: &'r AtomicU32,
}

impl<'r> WaitWord<'r> {
    /// Whether one need not wait any more, or shall look again.
    #[inline]
    pub fn has_changed(&self) -> bool {
        // ORDERING: Acquire pairs with the Release of the change: what was done for the sleeper is seen.
        self.word.load(Acquire) != self.waiting
    }

    /// Whether nobody has done anything about the wait, whether one looks or sleeps.
    #[inline]
    pub fn is_untouched(&self) -> bool {
        let now = self.word.load(Relaxed);
        now == self.waiting || now == self.parked
    }

    /// Says that one no longer looks: from here on a change of the word comes with a wake-up. `false`: it has changed already.
    #[inline]
    pub fn mark_parked(&self) -> bool {
        // ORDERING: AcqRel: whoever changes the word sees that we sleep and wakes us, or we see the change.
        match self.word.compare_exchange(self.waiting, self.parked, AcqRel, Acquire) {
            Ok(_) => true,
            Err(now) => now == self.parked,
        }
    }

    /// The futex, to sleep on while it has the value [`WaitWord::parked`].
    #[inline]
    pub fn futex(&self) -> &'r AtomicU32 {
        self.word
    }

    /// The value of a word that one may sleep on.
    #[inline]
    pub fn parked(&self) -> u32 {
        self.parked
    }

    /// The cell for CPU numbers, + 1.
    #[inline]
    pub fn cpu(&self) -> &'r AtomicU32 {
        self.cpu
    }
}

/// Why a park ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    /// The word changed, or somebody called, or for no reason at all.
    Woken,
    /// The deadline has passed.
    TimedOut,
    /// A signal handler ran.
    Interrupted,
}

/// The engine's host: an agent, the broker, a test.
pub trait Host {
    /// The time in seconds since 1970 (CLOCK_REALTIME_COARSE, the clock of the kernel's stime, otime, …).
    fn now(&self) -> i64;

    /// Waits until the word has changed: looks at it for a while if that may pay, then marks it parked and sleeps. Publishes its own CPU
    /// beside the word. May return early.
    fn park(&self, word: WaitWord<'_>, until: Deadline) -> Parked;

    /// Has the kernel mark `word`, which holds the calling thread's number, when the thread ends, before anybody can know of the end (`ticket/owner.rs`);
    /// one word at a time. A host that cannot does nothing.
    fn watch(&self, _word: &AtomicU32) {}

    /// The word of [`Host::watch`] is left alone again.
    fn watch_no_more(&self) {}

    /// The number of the call that is done on somebody's behalf, and that must leave a receipt in its region; 0 none.
    #[inline(always)]
    fn receipt(&self) -> u64 {
        0
    }

    /// Wakes up to `count` sleepers on `word`, and publishes the own CPU in `cpu`.
    fn wake(&self, word: &AtomicU32, count: u32, cpu: &AtomicU32);

    /// Wakes the sleepers of several words, each of which said `served` when it was chosen: of one that says something else nobody sleeps. A host may move them to
    /// the word `gathering` first, on which nobody sleeps by himself, and wake them there together; whoever makes up for a host that died wakes that word, too.
    fn wake_together<'w>(
        &self,
        words: impl Iterator<Item = &'w AtomicU32>,
        _served: u32,
        _gathering: &AtomicU32,
        cpu: &AtomicU32,
    ) {
        words.for_each(|word| self.wake(word, 1, cpu));
    }
}
