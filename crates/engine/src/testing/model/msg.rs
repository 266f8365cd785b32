//! Queues: every message comes to one receiver, those of a sender in their order, and nobody sleeps on a queue that has what he wants.

use super::{Kernel, Sleep, check, who};
use crate::error::{Error, Step};
use crate::host::{Deadline, Host};
use crate::msg::{Geometry, Queue, Selection};
use crate::testing::Heap;
use ring3_abi::Errno;
use shuttle::sync::Mutex;
use shuttle::thread;
use std::vec::Vec;

fn send(queue: &Queue<'_>, kernel: &Kernel, n: u32, mtype: i64, text: &[u8]) -> Result<(), Error> {
    let mut step = queue.send_small(kernel, who(n), mtype, text, false)?;
    while let Step::Wait(ticket) = step {
        let why = kernel.park(queue.wait_word(ticket)?, Deadline::NEVER);
        step = queue.resume_send(kernel, who(n), ticket, why)?;
    }
    Ok(())
}

fn receive(queue: &Queue<'_>, kernel: &Kernel, n: u32, msgtyp: i64) -> Result<(i64, u8), Error> {
    let (selection, mut out) = (Selection { msgtyp, size: 100, flags: 0 }, [0; 100]);
    let mut step = queue.receive(kernel, who(n), selection, &mut out)?;
    loop {
        match step {
            Step::Done(got) => {
                assert!(got.pending.is_none() && got.len == out.len());
                return Ok((got.mtype, out[0]));
            }
            Step::Wait(ticket) => {
                let why = kernel.park(queue.wait_word(ticket)?, Deadline::NEVER);
                step = queue.resume_receive(kernel, who(n), ticket, selection, why, &mut out)?;
            }
        }
    }
}

/// Runs a test with an empty queue of so many bytes, and looks afterwards whether it is whole and how many messages it holds.
fn with_queue(
    sleep: Sleep,
    qbytes: u64,
    left: u64,
    test: impl Fn(&Queue<'_>, &Kernel) + Send + Sync + Clone + 'static,
) {
    check(move || {
        let geometry = Geometry::for_queue(qbytes, 8192);
        let (heap, kernel) = (Heap::new(geometry.len()), Kernel::new(sleep));
        let queue = Queue::new(heap.region(), geometry).unwrap();
        queue.format(7, qbytes, 1_000_000).unwrap();
        test(&queue, &kernel);
        queue.verify().unwrap();
        if let Ok(state) = queue.stat(&kernel, who(99)) {
            assert_eq!((state.qnum, state.cbytes, queue.sleepers()), (left, left * 100, (0, 0)));
        }
    });
}

/// Two senders and two receivers, on a queue with this much room.
fn exchange(qbytes: u64) {
    with_queue(Sleep::Sound, qbytes, 0, |queue, kernel| {
        let got = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for n in 0..2u8 {
                let got = &got;
                let put =
                    move |k| send(queue, kernel, n.into(), i64::from(n) + 1, &[n * 16 + k; 100]).unwrap();
                let take = move |_| {
                    let message = receive(queue, kernel, 10 + u32::from(n), 0).unwrap();
                    got.lock().unwrap().push(message);
                };
                scope.spawn(move || (0..2).for_each(put));
                scope.spawn(move || (0..2).for_each(take));
            }
        });
        let mut got = got.lock().unwrap().clone();
        got.sort_unstable();
        assert_eq!(got, [(1, 0), (1, 1), (2, 16), (2, 17)]);
    });
}

#[test]
fn every_message_comes_to_one() {
    exchange(16384);
}

#[test]
fn who_finds_the_queue_full_comes_in_later() {
    exchange(100);
}

#[test]
fn a_sender_s_messages_keep_their_order() {
    with_queue(Sleep::Sound, 200, 0, |queue, kernel| {
        thread::scope(|scope| {
            scope.spawn(|| (0..4).for_each(|k| send(queue, kernel, 0, 1, &[k; 100]).unwrap()));
            scope.spawn(|| (0..4).for_each(|k| assert_eq!(receive(queue, kernel, 1, 0), Ok((1, k)))));
        });
    });
}

#[test]
fn each_type_comes_to_who_wants_it() {
    with_queue(Sleep::Sound, 200, 0, |queue, kernel| {
        thread::scope(|scope| {
            for n in 1..=2u8 {
                scope.spawn(move || {
                    assert_eq!(receive(queue, kernel, n.into(), n.into()), Ok((n.into(), n)));
                });
            }
            scope.spawn(|| [2, 1].map(|n| send(queue, kernel, 9, n.into(), &[n; 100]).unwrap()));
        });
    });
}

#[test]
fn removal_leaves_nobody_asleep() {
    with_queue(Sleep::Sound, 100, 1, |queue, kernel| {
        send(queue, kernel, 0, 1, &[1; 100]).unwrap();
        let gone =
            |why: Error| assert!(matches!(why, Error::Removed | Error::Errno(Errno::EIDRM)), "{why:?}");
        thread::scope(|scope| {
            scope.spawn(move || gone(receive(queue, kernel, 1, 2).unwrap_err()));
            scope.spawn(move || gone(send(queue, kernel, 2, 1, &[2; 100]).unwrap_err()));
            scope.spawn(|| queue.remove(kernel, who(98)).unwrap());
        });
    });
}

/// Who gets tired while he is served either has the message, or has left it to the others.
#[test]
fn a_timeout_loses_no_message() {
    with_queue(Sleep::Light, 16384, 0, |queue, kernel| {
        let got = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for n in 0..2 {
                let got = &got;
                scope.spawn(move || match receive(queue, kernel, n, 0) {
                    Ok((_, text)) => got.lock().unwrap().push(text),
                    Err(why) => assert_eq!(why, Error::Errno(Errno::EAGAIN)),
                });
            }
            scope.spawn(|| (0..2).for_each(|k| send(queue, kernel, 9, 1, &[k; 100]).unwrap()));
        });
        let mut got = got.lock().unwrap().clone();
        while got.len() < 2 {
            got.push(receive(queue, kernel, 5, 0).unwrap().1);
        }
        got.sort_unstable();
        assert_eq!(got, [0, 1]);
    });
}
