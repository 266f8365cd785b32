//! The engine's host in the broker: it never sleeps for long.

use ring3_engine::atomic::{AtomicU32, Relaxed};
use ring3_engine::{Caller, Deadline, Host, Parked, WaitWord};
use rustix::fs::Timespec;
use rustix::thread::futex;
use rustix::time::{ClockId, clock_gettime};

/// How long the broker waits for a region's lock at a time. The engine asks a few times, then gives up.
const SLICE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000 };

/// The broker as a host and as a caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BrokerHost {
    /// The broker's own process and thread: holder of locks that it takes.
    pub(crate) me: Caller,
}

impl BrokerHost {
    /// This process and thread.
    pub(crate) fn new() -> BrokerHost {
        let number = |pid: rustix::process::Pid| pid.as_raw_nonzero().get().cast_unsigned();
        BrokerHost {
            me: Caller {
                pid: number(rustix::process::getpid()),
                tid: number(rustix::thread::gettid()),
                life: 0,
            },
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
        if !word.mark_parked() {
            return Parked::Woken;
        }
        match futex::wait(word.futex(), futex::Flags::empty(), word.parked(), Some(&SLICE)) {
            Err(rustix::io::Errno::TIMEDOUT) => Parked::TimedOut,
            _ => Parked::Woken,
        }
    }

    fn wake(&self, word: &AtomicU32, count: u32, cpu: &AtomicU32) {
        cpu.store(u32::try_from(rustix::thread::sched_getcpu()).map_or(0, |cpu| cpu + 1), Relaxed);
        // Nobody there, or a word that is no longer mapped: nothing to do about it.
        let _ = futex::wake(word, futex::Flags::empty(), count);
    }
}
