//! The engine's host in the broker: it never sleeps for long, and for a small part of the time altogether.
//!
//! # Invariants
//! P1. Who may write a lock's word can keep it from coming free. So all that the broker does about locks that others hold (sleeping for them,
//!     finding out about their holders) together takes at most one [`SHARE`]th of its time, but for the first [`MOST`] after a rest.

use crate::life::Movers;
use crate::policy::quota::Quota;
use crate::state::Hand;
use ring3_engine::atomic::{AtomicU32, Relaxed};
use ring3_engine::{Caller, Deadline, Host, Parked, WaitWord};
use rustix::fs::Timespec;
use rustix::thread::futex;
use rustix::time::{ClockId, clock_gettime};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// How long the broker waits for a region's lock at a time, nanoseconds. The engine asks a few times, then gives up.
const SLICE: i64 = 200_000;
/// Which part of the time may go to other people's locks.
const SHARE: u64 = 10;
/// How much of it may be saved, nanoseconds.
const MOST: i64 = 2_000_000;
/// How much may be owed: one look at a holder can take longer than there is time for.
const DEBT: i64 = -100_000_000;

/// The time that the broker has for other people's locks (P1).
#[derive(Debug)]
pub(crate) struct Patience {
    left: Cell<i64>,
    /// When `left` was true.
    at: Cell<u64>,
}

impl Patience {
    fn new() -> Patience {
        Patience { left: Cell::new(MOST), at: Cell::new(monotonic()) }
    }

    /// How much there is now.
    fn left(&self) -> i64 {
        let now = monotonic();
        let gained = now.saturating_sub(self.at.replace(now)) / SHARE;
        let left = self.left.get().saturating_add_unsigned(gained).min(MOST);
        self.left.set(left);
        left
    }

    /// Whether there is any.
    pub(crate) fn is_there(&self) -> bool {
        self.left() > 0
    }

    /// Takes the time that something needs.
    pub(crate) fn spend<T>(&self, on: impl FnOnce() -> T) -> T {
        let began = monotonic();
        let value = on();
        let spent = i64::try_from(monotonic().saturating_sub(began)).unwrap_or(i64::MAX);
        self.left.set(self.left.get().saturating_sub(spent).max(DEBT));
        value
    }
}

/// The broker as a host and as a caller.
#[derive(Clone, Debug)]
pub(crate) struct BrokerHost {
    /// The broker's own process and thread: holder of locks that it takes.
    pub(crate) me: Caller,
    /// One for all namespaces of a broker.
    pub(crate) patience: Rc<Patience>,
    /// Likewise.
    pub(crate) movers: Rc<RefCell<Movers>>,
    /// Likewise.
    pub(crate) hand: Rc<Hand>,
    /// Likewise.
    pub(crate) quota: Quota,
}

impl BrokerHost {
    /// This process and thread.
    pub(crate) fn new(hand: Rc<Hand>, quota: Quota) -> BrokerHost {
        let number = |pid: rustix::process::Pid| pid.as_raw_nonzero().get().cast_unsigned();
        BrokerHost {
            me: Caller {
                pid: number(rustix::process::getpid()),
                tid: number(rustix::thread::gettid()),
                life: 0,
            },
            patience: Rc::new(Patience::new()),
            movers: Rc::default(),
            hand,
            quota,
        }
    }
}

/// CLOCK_MONOTONIC in nanoseconds.
pub(crate) fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

impl Host for BrokerHost {
    fn now(&self) -> i64 {
        clock_gettime(ClockId::RealtimeCoarse).tv_sec
    }

    fn park(&self, word: WaitWord<'_>, _until: Deadline) -> Parked {
        let left = self.patience.left();
        if left <= 0 {
            return Parked::TimedOut;
        }
        if !word.mark_parked() {
            return Parked::Woken;
        }
        let slice = Timespec { tv_sec: 0, tv_nsec: left.min(SLICE) };
        let wait = || futex::wait(word.futex(), futex::Flags::empty(), word.parked(), Some(&slice));
        match self.patience.spend(wait) {
            Err(rustix::io::Errno::TIMEDOUT) => Parked::TimedOut,
            _ => Parked::Woken,
        }
    }

    fn receipt(&self) -> u64 {
        self.hand.call()
    }

    fn wake(&self, word: &AtomicU32, count: u32, cpu: &AtomicU32) {
        cpu.store(u32::try_from(rustix::thread::sched_getcpu()).map_or(0, |cpu| cpu + 1), Relaxed);
        // Nobody there, or a word that is no longer mapped: nothing to do about it.
        let _ = futex::wake(word, futex::Flags::empty(), count);
    }
}
