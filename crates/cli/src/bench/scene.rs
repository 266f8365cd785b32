//! The scenes behind the rows: what is done, by how many processes, where.

use super::measure::{Figure, Work, alone, scaled};
use super::sysv::{self, Child, Message, Queue, Segment, Set, Sop, fork, sop};
use rustix::thread::CpuSet;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A key for the row that looks one up; the worker's namespace is its own or removes it again.
const KEY: i32 = 0x3352_b001;
/// Bytes in the segments that are attached.
const SEGMENT: usize = 1 << 20;

/// One process takes a semaphore down and up again.
fn down_up(time: Duration, flags: i32) -> Figure {
    let set = Set::new(1)?;
    set.set(0, 1)?;
    let (mut down, mut up) = ([sop(0, -1, flags)], [sop(0, 1, flags)]);
    alone(time, || {
        set.op(&mut down)?;
        set.op(&mut up)
    })
}

/// `sem-pair`.
pub(crate) fn sem_pair(time: Duration) -> Figure {
    down_up(time, 0)
}

/// `sem-undo`.
pub(crate) fn sem_undo(time: Duration) -> Figure {
    down_up(time, libc::SEM_UNDO)
}

/// `sem-8`.
pub(crate) fn sem_eight(time: Duration) -> Figure {
    let set = Set::new(8)?;
    let all = |add: i16| -> [Sop; 8] { std::array::from_fn(|at| sop(at as u16, add, 0)) };
    let (mut down, mut up) = (all(-1), all(1));
    set.op(&mut up)?;
    alone(time, || {
        set.op(&mut down)?;
        set.op(&mut up)
    })
}

fn message<const N: usize>(mtype: libc::c_long) -> Message<N> {
    Message { mtype, text: [0x5a; N] }
}

/// One process sends to itself.
fn send_receive<const N: usize>(time: Duration, queue: &Queue, mtype: libc::c_long) -> Figure {
    let (sent, mut received) = (message::<N>(mtype), message::<N>(0));
    alone(time, || {
        queue.send(&sent)?;
        queue.receive(&mut received, mtype)
    })
}

/// `msg-64`.
pub(crate) fn msg_small(time: Duration) -> Figure {
    send_receive::<64>(time, &Queue::new()?, 1)
}

/// `msg-8k`.
pub(crate) fn msg_large(time: Duration) -> Figure {
    send_receive::<8192>(time, &Queue::new()?, 1)
}

/// `msg-type`.
pub(crate) fn msg_by_type(time: Duration) -> Figure {
    let queue = Queue::new()?;
    for at in 0..10_000 {
        queue.send(&message::<1>(1 + at % 100))?;
    }
    send_receive::<64>(time, &queue, 1000)
}

/// Where two processes run.
#[derive(Clone, Copy)]
enum Where {
    TwoCpus,
    OneCpu,
    Anywhere,
    Busy,
}

/// The CPUs that this process may use.
fn cpus() -> Work<Vec<usize>> {
    let set = rustix::thread::sched_getaffinity(None).map_err(|why| format!("sched_getaffinity: {why}"))?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
}

/// Keeps this process on these CPUs.
fn pin(cpus: &[usize]) -> Work<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu);
    }
    rustix::thread::sched_setaffinity(None, &set).map_err(|why| format!("sched_setaffinity: {why}"))
}

/// Two CPUs, if there are.
fn two_cpus() -> Work<[usize; 2]> {
    match cpus()?[..] {
        [one, two, ..] => Ok([one, two]),
        _ => Err("needs two CPUs".to_string()),
    }
}

/// Lets children and parent begin together.
struct Gate(&'static [AtomicU64; 8]);

impl Gate {
    fn new() -> Work<Gate> {
        sysv::shared_words().map(Gate)
    }

    /// A child is there.
    fn arrive(&self) {
        self.0[0].fetch_add(1, Ordering::AcqRel);
    }

    fn wait(&self, word: usize, count: u64) {
        while self.0[word].load(Ordering::Acquire) < count {
            // The other may need this very CPU.
            std::thread::yield_now();
        }
    }

    /// Forgets the last run.
    fn close(&self) {
        for word in self.0 {
            word.store(0, Ordering::Release);
        }
    }
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
        gate.0[1].store(1, Ordering::Release);
        children.into_iter().try_for_each(Child::join)?;
        let took = start.elapsed();
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

/// `getval`.
pub(crate) fn getval(time: Duration) -> Figure {
    let set = Set::new(1)?;
    alone(time, || set.get().map(|value| _ = black_box(value)))
}

/// `stat-sem`.
pub(crate) fn stat_sem(time: Duration) -> Figure {
    let set = Set::new(1)?;
    alone(time, || set.stat())
}

/// `stat-msg`.
pub(crate) fn stat_msg(time: Duration) -> Figure {
    let queue = Queue::new()?;
    alone(time, || queue.stat())
}

/// `stat-shm`.
pub(crate) fn stat_shm(time: Duration) -> Figure {
    let segment = Segment::new(4096)?;
    alone(time, || segment.stat())
}

/// `get`.
pub(crate) fn get_existing(time: Duration) -> Figure {
    let _set = Set::with_key(KEY)?;
    alone(time, || Set::look_up(KEY))
}

/// `shm-attach`.
pub(crate) fn attach_untouched(time: Duration) -> Figure {
    let segment = Segment::new(SEGMENT)?;
    alone(time, || segment.attach().map(drop))
}

/// `shm-touch`.
pub(crate) fn attach_touched(time: Duration) -> Figure {
    let segment = Segment::new(SEGMENT)?;
    alone(time, || segment.attach().map(|attached| attached.touch()))
}

/// `new-sem`.
pub(crate) fn new_set(time: Duration) -> Figure {
    alone(time, || Set::new(1).map(drop))
}

/// `new-msg`.
pub(crate) fn new_queue(time: Duration) -> Figure {
    alone(time, || Queue::new().map(drop))
}

/// `new-shm`.
pub(crate) fn new_segment(time: Duration) -> Figure {
    alone(time, || Segment::new(4096).map(drop))
}

/// `fork-10`.
pub(crate) fn fork_attached(time: Duration) -> Figure {
    let segments: Vec<Segment> = (0..10).map(|_| Segment::new(SEGMENT)).collect::<Work<_>>()?;
    let attached = segments.iter().map(Segment::attach).collect::<Work<Vec<_>>>()?;
    attached.iter().for_each(|one| one.touch());
    alone(time, sysv::fork_and_reap)
}

/// `fork-0`.
pub(crate) fn fork_plain(time: Duration) -> Figure {
    alone(time, sysv::fork_and_reap)
}

/// `spawn-true`.
pub(crate) fn spawn_true(time: Duration) -> Figure {
    alone(time, sysv::spawn_true)
}
