//! The lock: one at a time, and nobody sleeps on while it is free.

use super::{Kernel, Sleep, check, who};
use crate::lock::lock;
use crate::object::{Header, LIVE};
use crate::testing::Heap;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use shuttle::thread;

#[test]
fn one_at_a_time() {
    const THREADS: u32 = 3;
    const TIMES: u32 = 2;
    check(|| {
        let (heap, kernel, count) = (Heap::new(4096), Kernel::new(Sleep::Sound), AtomicU32::new(0));
        let header = heap.region().at::<Header>(0).unwrap();
        header.state.store(LIVE, Relaxed);
        let turn = |n| {
            let held = lock(header, &kernel, who(n)).unwrap();
            let seen = count.load(Relaxed);
            thread::yield_now();
            count.store(seen + 1, Relaxed);
            drop(held);
        };
        thread::scope(|scope| {
            for n in 0..THREADS {
                scope.spawn(move || (0..TIMES).for_each(|_| turn(n)));
            }
        });
        assert_eq!((count.load(Relaxed), header.lock.load(Relaxed)), (THREADS * TIMES, 0));
    });
}
