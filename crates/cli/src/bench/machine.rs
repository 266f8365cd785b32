//! What the machine itself takes: a compare-and-swap, a cache line on its way from one CPU to another and back, a copy, a system call, a wake-up.
//! The rows of both sides are made of these.

use super::cpus::{pin, two_cpus};
use super::measure::{Figure, Work, alone, scaled};
use rustix::thread::futex::{self, Flags};
use serde::Serialize;
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The machine's own limits, nanoseconds; `None` where it cannot show one.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Machine {
    /// A compare-and-swap on a line that nobody else wants.
    compare_and_swap: Option<f64>,
    /// A line to another CPU and back.
    line_round_trip: Option<f64>,
    /// A copy of 64 bytes.
    copy_64: Option<f64>,
    /// A copy of 8 KiB.
    copy_8k: Option<f64>,
    /// A system call that does nothing.
    system_call: Option<f64>,
    /// A round trip of two threads that sleep on futexes, on two CPUs.
    futex_round_trip: Option<f64>,
}

impl Machine {
    /// Measures each for about so long.
    pub(crate) fn measure(time: Duration) -> Machine {
        Machine {
            compare_and_swap: compare_and_swap(time).ok(),
            line_round_trip: trip(time, LOOKING).ok(),
            copy_64: copy::<64>(time).ok(),
            copy_8k: copy::<8192>(time).ok(),
            system_call: alone(time, || {
                black_box(rustix::process::getppid());
                Ok(())
            })
            .ok(),
            futex_round_trip: trip(time, ASLEEP).ok(),
        }
    }

    /// The same with names, in order.
    pub(crate) fn lines(&self) -> [(&'static str, Option<f64>); 6] {
        [
            ("compare-and-swap", self.compare_and_swap),
            ("cache line to another CPU and back", self.line_round_trip),
            ("copy of 64 B", self.copy_64),
            ("copy of 8 KiB", self.copy_8k),
            ("system call", self.system_call),
            ("round trip by futexes, two CPUs", self.futex_round_trip),
        ]
    }
}

fn compare_and_swap(time: Duration) -> Figure {
    let word = AtomicU64::new(0);
    let mut value = 0;
    alone(time, || {
        // ORDERING: the order that a lock has, for which it is measured.
        let done = word.compare_exchange(value, value + 1, Ordering::AcqRel, Ordering::Relaxed);
        value = black_box(done.map_or(0, |old| old + 1));
        Ok(())
    })
}

fn copy<const N: usize>(time: Duration) -> Figure {
    let (from, mut to) = (vec![1_u8; N], vec![0_u8; N]);
    alone(time, || {
        black_box(&mut to).copy_from_slice(black_box(&from));
        Ok(())
    })
}

/// How two threads wait for each other.
#[derive(Clone, Copy)]
struct Way {
    /// Waits until the word has this value.
    wait: fn(&AtomicU32, u32),
    /// Wakes who may be waiting.
    wake: fn(&AtomicU32),
}

/// By looking.
const LOOKING: Way = Way {
    wait: |word, value| {
        // ORDERING: Acquire pairs with the other thread's Release.
        while word.load(Ordering::Acquire) != value {
            spin_loop();
        }
    },
    wake: |_| {},
};

/// By futexes.
const ASLEEP: Way = Way {
    wait: |word, value| {
        loop {
            // ORDERING: Acquire pairs with the other thread's Release.
            let now = word.load(Ordering::Acquire);
            if now == value {
                return;
            }
            // Woken, or changed before it slept: either way the word is looked at again.
            let _ = futex::wait(word, Flags::PRIVATE, now, None);
        }
    },
    wake: |word| {
        // Nobody may be asleep.
        let _ = futex::wake(word, Flags::PRIVATE, 1);
    },
};

/// Two threads on two CPUs that hand a word to each other.
fn trip(time: Duration, way: Way) -> Figure {
    let [mine, its] = two_cpus()?;
    let back = rustix::thread::sched_getaffinity(None).map_err(|why| why.to_string())?;
    pin(&[mine])?;
    let figure = scaled(time, |rounds| handed(rounds, its, way));
    rustix::thread::sched_setaffinity(None, &back).map_err(|why| why.to_string())?;
    figure
}

fn handed(rounds: u64, cpu: usize, way: Way) -> Work<Duration> {
    let word = AtomicU32::new(0);
    let hand = |value| {
        // ORDERING: Release pairs with the Acquire of who waits.
        word.store(value, Ordering::Release);
        (way.wake)(&word);
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            pin(&[cpu])?;
            hand(2);
            for _ in 0..rounds {
                (way.wait)(&word, 1);
                hand(2);
            }
            Ok(())
        });
        (way.wait)(&word, 2);
        let start = Instant::now();
        for _ in 0..rounds {
            hand(1);
            (way.wait)(&word, 2);
        }
        let took = start.elapsed();
        other.join().map_err(|_| "a thread failed".to_string())?.map(|()| took)
    })
}
