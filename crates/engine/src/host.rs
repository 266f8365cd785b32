//! What the engine asks of the world: the time, to park, to wake.

use crate::atomic::AtomicU32;
use ring3_abi::Pid;

/// Who calls: a process and one of its threads, as the broker numbered them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The process (thread group).
    pub pid: Pid,
    /// The thread.
    pub tid: Pid,
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

/// Where one sleeps: while `*word == expect`.
#[derive(Clone, Copy, Debug)]
pub struct Seat<'r> {
    /// The futex word.
    pub word: &'r AtomicU32,
    /// Its value for a sleeper that nobody served yet and that still looks at the word.
    pub spinning: u32,
    /// The value by which a sleeper says that it no longer looks and wants a wake-up call.
    pub parked: u32,
    /// Where the last process that served or slept here ran: its CPU number + 1, 0 unknown.
    pub cpu: &'r AtomicU32,
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

    /// Waits while the seat's word has its `spinning` value: spins first if the peer's CPU is another than one's own, then swaps
    /// `spinning` for `parked` and sleeps while that stands. Publishes the own CPU in `seat.cpu`. May return early.
    fn park(&self, seat: Seat<'_>, until: Deadline) -> Parked;

    /// Wakes up to `count` sleepers on `word`, and publishes the own CPU in `cpu`.
    fn wake(&self, word: &AtomicU32, count: u32, cpu: &AtomicU32);
}
