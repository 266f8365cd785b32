//! The scenes of many processes on one object.

use super::gate::Gate;
use super::measure::{Figure, Work, scaled};
use super::scene::message;
use super::sysv::{self, Child, Queue, Set, fork, sop};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How many wait.
const WAITERS: u64 = 100;
/// How many send, and how many receive.
const HANDS: u64 = 4;

/// `waiters-100`: one post for a hundred sleepers, until each has answered.
pub(crate) fn waiters(time: Duration) -> Figure {
    sysv::end_after(60);
    let set = Set::new(2)?;
    let gate = Gate::new()?;
    scaled(time, |rounds| {
        gate.close();
        let wait = || {
            // A process's first call opens the set, which is not what is measured.
            set.get()?;
            gate.arrive();
            for _ in 0..rounds {
                set.op(&mut [sop(0, -1, 0)])?;
                set.op(&mut [sop(1, 1, 0)])?;
            }
            Ok(())
        };
        let guarded = || wait().inspect_err(|_| set.remove());
        let children: Vec<Child> = (0..WAITERS).map(|_| fork(guarded)).collect::<Work<_>>()?;
        gate.wait(0, WAITERS);
        let start = Instant::now();
        for _ in 0..rounds {
            set.op(&mut [sop(0, WAITERS as i16, 0)])?;
            set.op(&mut [sop(1, -(WAITERS as i16), 0)])?;
        }
        let took = start.elapsed();
        children.into_iter().try_for_each(Child::join)?;
        Ok(took)
    })
}

/// `four-four`: four senders and four receivers on one queue, 64 bytes.
pub(crate) fn four_and_four(time: Duration) -> Figure {
    sysv::end_after(60);
    let queue = Queue::new()?;
    let gate = Gate::new()?;
    scaled(time, |rounds| {
        gate.close();
        let each = rounds.div_ceil(HANDS);
        let work = |sends: bool| {
            let mut text = message::<64>(1);
            gate.arrive();
            gate.wait(1, 1);
            (0..each).try_for_each(|_| if sends { queue.send(&text) } else { queue.receive(&mut text, 0) })
        };
        let guarded = |sends: bool| work(sends).inspect_err(|_| queue.remove());
        let children: Vec<Child> =
            (0..2 * HANDS).map(|at| fork(|| guarded(at % 2 == 0))).collect::<Work<_>>()?;
        gate.wait(0, 2 * HANDS);
        let start = Instant::now();
        // ORDERING: Release pairs with wait(): the clock was read before.
        gate.0[1].store(1, Ordering::Release);
        children.into_iter().try_for_each(Child::join)?;
        Ok(start.elapsed().mul_f64(rounds as f64 / (each * HANDS) as f64))
    })
}
