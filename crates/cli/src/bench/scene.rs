//! The scenes of one process: calls that find nobody else, and what a process begins and ends with.

use super::measure::{Figure, Work, alone};
use super::sysv::{self, Message, Queue, Segment, Set, Sop, sop};
use std::hint::black_box;
use std::time::Duration;

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

pub(super) fn message<const N: usize>(mtype: libc::c_long) -> Message<N> {
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

/// `shm-1000`: a thousand segments in turn, each of which was attached before.
pub(crate) fn attach_many(time: Duration) -> Figure {
    let segments: Vec<Segment> = (0..1000).map(|_| Segment::new(4096)).collect::<Work<_>>()?;
    for _ in 0..2 {
        segments.iter().try_for_each(|segment| segment.attach().map(drop))?;
    }
    let mut turn = segments.iter().cycle();
    alone(time, || turn.next().map_or(Ok(()), |segment| segment.attach().map(drop)))
}

/// `walk-shm`: what `ipcs` does with a thousand segments.
pub(crate) fn walk_segments(time: Duration) -> Figure {
    let _segments: Vec<Segment> = (0..1000).map(|_| Segment::new(4096)).collect::<Work<_>>()?;
    alone(time, || (0..=sysv::highest_segment()?).try_for_each(sysv::stat_segment_at))
}

/// `new-key`.
pub(crate) fn new_with_key(time: Duration) -> Figure {
    alone(time, || Set::with_key(KEY).map(drop))
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
