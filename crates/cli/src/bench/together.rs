//! The scenes of several processes: round trips, a stream, a mutex.

use super::cpus::{cpus, pin, two_cpus};
use super::gate::Gate;
use super::measure::{Figure, Work, scaled};
use super::scene::message;
use super::sysv::{self, Child, Message, Queue, Set, fork, sop};
use std::hint::black_box;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Where two processes run.
#[derive(Clone, Copy)]
enum Where {
    TwoCpus,
    OneCpu,
    Anywhere,
    Busy,
}

/// One partner's part of a round.
trait Partner {
    /// The side that begins.
    fn serve(&mut self) -> Work<()>;
    /// The side that answers.
    fn answer(&mut self) -> Work<()>;
    /// Ends the other side's sleep after a failure.
    fn give_up(&self);
}

struct BySemaphores {
    set: Set,
}

impl Partner for BySemaphores {
    fn serve(&mut self) -> Work<()> {
        self.set.op(&mut [sop(0, 1, 0)])?;
        self.set.op(&mut [sop(1, -1, 0)])
    }

    fn answer(&mut self) -> Work<()> {
        self.set.op(&mut [sop(0, -1, 0)])?;
        self.set.op(&mut [sop(1, 1, 0)])
    }

    fn give_up(&self) {
        self.set.remove();
    }
}

struct ByQueues {
    there: Queue,
    back: Queue,
    message: Message<64>,
}

impl Partner for ByQueues {
    fn serve(&mut self) -> Work<()> {
        self.there.send(&self.message)?;
        self.back.receive(&mut self.message, 0)
    }

    fn answer(&mut self) -> Work<()> {
        self.there.receive(&mut self.message, 0)?;
        self.back.send(&self.message)
    }

    fn give_up(&self) {
        self.there.remove();
        self.back.remove();
    }
}

/// Times round trips between this process and a child.
fn trip(time: Duration, place: Where, partner: &mut impl Partner) -> Figure {
    sysv::end_after(60);
    let _burners = match place {
        Where::Busy => burn()?,
        _ => Vec::new(),
    };
    let (mine, its) = match place {
        Where::TwoCpus => two_cpus().map(|[one, two]| (vec![one], vec![two]))?,
        Where::OneCpu => cpus().map(|all| (all[..1].to_vec(), all[..1].to_vec()))?,
        Where::Anywhere | Where::Busy => cpus().map(|all| (all.clone(), all))?,
    };
    pin(&mine)?;
    let gate = Gate::new()?;
    scaled(time, |rounds| {
        gate.close();
        let child = fork(|| {
            pin(&its)?;
            gate.arrive();
            let answered = (0..rounds).try_for_each(|_| partner.answer());
            answered.inspect_err(|_| partner.give_up())
        })?;
        gate.wait(0, 1);
        let start = Instant::now();
        (0..rounds).try_for_each(|_| partner.serve())?;
        let took = start.elapsed();
        child.join()?;
        Ok(took)
    })
}

/// A child on each CPU that never rests.
fn burn() -> Work<Vec<Child>> {
    let burner = |cpu| {
        fork(move || {
            pin(&[cpu])?;
            let mut value = 0_u64;
            loop {
                value = black_box(value.wrapping_add(1));
            }
        })
    };
    cpus()?.into_iter().map(burner).collect()
}

fn trip_sem(time: Duration, place: Where) -> Figure {
    trip(time, place, &mut BySemaphores { set: Set::new(2)? })
}

fn trip_msg(time: Duration, place: Where) -> Figure {
    trip(time, place, &mut ByQueues { there: Queue::new()?, back: Queue::new()?, message: message(1) })
}

/// `rt-sem-2cpu`.
pub(crate) fn trip_sem_two_cpus(time: Duration) -> Figure {
    trip_sem(time, Where::TwoCpus)
}

/// `rt-msg-2cpu`.
pub(crate) fn trip_msg_two_cpus(time: Duration) -> Figure {
    trip_msg(time, Where::TwoCpus)
}

/// `rt-sem-1cpu`.
pub(crate) fn trip_sem_one_cpu(time: Duration) -> Figure {
    trip_sem(time, Where::OneCpu)
}

/// `rt-msg-1cpu`.
pub(crate) fn trip_msg_one_cpu(time: Duration) -> Figure {
    trip_msg(time, Where::OneCpu)
}

/// `rt-sem-free`.
pub(crate) fn trip_sem_unpinned(time: Duration) -> Figure {
    trip_sem(time, Where::Anywhere)
}

/// `rt-msg-free`.
pub(crate) fn trip_msg_unpinned(time: Duration) -> Figure {
    trip_msg(time, Where::Anywhere)
}

/// `rt-sem-busy`.
pub(crate) fn trip_sem_busy(time: Duration) -> Figure {
    trip_sem(time, Where::Busy)
}

/// `rt-msg-busy`.
pub(crate) fn trip_msg_busy(time: Duration) -> Figure {
    trip_msg(time, Where::Busy)
}

/// `stream-64`: a child sends as fast as the queue takes it, this process receives.
pub(crate) fn stream(time: Duration) -> Figure {
    sysv::end_after(60);
    let queue = Queue::new()?;
    let gate = Gate::new()?;
    let [mine, its] = two_cpus()?;
    pin(&[mine])?;
    scaled(time, |rounds| {
        gate.close();
        let child = fork(|| {
            pin(&[its])?;
            let sent = message::<64>(1);
            gate.arrive();
            gate.wait(1, 1);
            (0..rounds).try_for_each(|_| queue.send(&sent)).inspect_err(|_| queue.remove())
        })?;
        gate.wait(0, 1);
        let mut received = message::<64>(0);
        // ORDERING: Release pairs with wait(): the clock was read before.
        gate.0[1].store(1, Ordering::Release);
        let start = Instant::now();
        (0..rounds).try_for_each(|_| queue.receive(&mut received, 0))?;
        let took = start.elapsed();
        child.join()?;
        Ok(took)
    })
}

/// `count` children share a semaphore as a mutex, and a counter that it guards.
fn mutex(time: Duration, count: u64, own_cpu: bool) -> Figure {
    sysv::end_after(60);
    let set = Set::new(1)?;
    set.set(0, 1)?;
    let gate = Gate::new()?;
    let both = two_cpus()?;
    scaled(time, |rounds| {
        gate.close();
        let each = rounds.div_ceil(count);
        let work = |at: u64| {
            if own_cpu {
                pin(&both[at as usize % 2..][..1])?
            } else {
                pin(&both)?
            }
            gate.arrive();
            gate.wait(1, 1);
            for _ in 0..each {
                set.op(&mut [sop(0, -1, 0)])?;
                // Load and store, not an addition: only the mutex makes the sum right.
                let value = gate.0[2].load(Ordering::Relaxed);
                gate.0[2].store(value + 1, Ordering::Relaxed);
                set.op(&mut [sop(0, 1, 0)])?;
            }
            Ok(())
        };
        let guarded = |at: u64| work(at).inspect_err(|_| set.remove());
        let children: Vec<Child> = (0..count).map(|at| fork(|| guarded(at))).collect::<Work<_>>()?;
        gate.wait(0, count);
        let start = Instant::now();
        // ORDERING: Release pairs with wait(): the clock was read before.
        gate.0[1].store(1, Ordering::Release);
        children.into_iter().try_for_each(Child::join)?;
        let took = start.elapsed();
        // ORDERING: Acquire pairs with the children's adding; they have been waited for, too.
        match gate.0[2].load(Ordering::Acquire) {
            sum if sum == each * count => Ok(took.mul_f64(rounds as f64 / sum as f64)),
            sum => Err(format!("the mutex let two in: {sum} of {} counted", each * count)),
        }
    })
}

/// `mutex-2`.
pub(crate) fn mutex_two(time: Duration) -> Figure {
    mutex(time, 2, true)
}

/// `mutex-8`.
pub(crate) fn mutex_eight(time: Duration) -> Figure {
    mutex(time, 8, false)
}
