//! Sleepers whose thread has ended, before anybody has settled them: no message comes to them, and theirs do not come (`ticket/owner.rs`).

use super::{HOST, receive, resume, selection, text, who};
use crate::atomic::AtomicU64;
use crate::error::Step;
use crate::host::Parked;
use crate::msg::{Geometry, Queue};
use crate::testing::Heap;
use crate::testing::mortal::{Mortal, end};
use ring3_abi::ipc::IPC_NOWAIT;

/// Runs a test with a queue of so many bytes.
fn with_queue(qbytes: u64, test: impl FnOnce(&Heap, Queue<'_>)) {
    let geometry = Geometry::for_queue(qbytes, 8192);
    let heap = Heap::new(geometry.len());
    let queue = Queue::new(heap.region(), geometry).unwrap();
    queue.format(7, qbytes, 1_000_000).unwrap();
    test(&heap, queue);
    queue.verify().unwrap();
}

/// A call that sleeps, and whose thread ends in its sleep.
fn ends_asleep(heap: &Heap, n: u32, call: impl FnOnce(&Mortal<'_, crate::testing::Still>) -> bool) {
    let named = AtomicU64::new(0);
    let host = Mortal { host: &HOST, region: heap.region(), named: &named };
    assert!(call(&host));
    end(heap.region(), &named, who(n));
}

fn receiver_ends(heap: &Heap, queue: Queue<'_>, n: u32, msgtyp: i64) {
    let wanted = selection(msgtyp, 9000, 0);
    ends_asleep(heap, n, |host| matches!(queue.receive(host, who(n), wanted, &mut []), Ok(Step::Wait(_))));
}

fn sender_ends(heap: &Heap, queue: Queue<'_>, n: u32, size: usize) {
    ends_asleep(heap, n, |host| {
        let sent = if size <= crate::msg::STAGE {
            queue.send_small(host, who(n), 1, &text(0, size), false)
        } else {
            let reserved = queue.reserve(host, who(n), size).unwrap();
            queue.post(host, who(n), &reserved, 1, false)
        };
        matches!(sent, Ok(Step::Wait(_)))
    });
}

#[test]
fn a_message_passes_receivers() {
    with_queue(16384, |heap, queue| {
        receiver_ends(heap, queue, 1, 0);
        let wanted = selection(5, 9000, 0);
        let Ok(Step::Wait(living)) = queue.receive(&HOST, who(2), wanted, &mut []) else {
            panic!("a message")
        };
        receiver_ends(heap, queue, 3, 0);
        assert_eq!(queue.sleepers(), (0, 1));
        for mtype in [5, 6] {
            assert_eq!(queue.send_small(&HOST, who(9), mtype, &text(1, 40), true), Ok(Step::Done(())));
        }
        assert_eq!(resume(queue, 2, living, wanted, Parked::Woken).unwrap().unwrap().0, 5);
        assert_eq!(receive(queue, 9, selection(0, 9000, IPC_NOWAIT)).unwrap().unwrap().0, 6);
        for n in [1, 3] {
            queue.settle(&HOST, who(n).pid, who(0)).unwrap();
        }
        assert_eq!(queue.sleepers(), (0, 0));
    });
}

#[test]
fn senders_messages_do_not_come() {
    for size in [100, 3000] {
        with_queue(size as u64, |heap, queue| {
            assert_eq!(super::send(queue, 9, 7, &text(0, size), true), Ok(None));
            sender_ends(heap, queue, 1, size);
            let living = super::send(queue, 2, 8, &text(0, size), false).unwrap().unwrap();
            sender_ends(heap, queue, 3, size);
            assert_eq!(queue.sleepers(), (1, 0));
            for mtype in [7, 8] {
                assert_eq!(receive(queue, 9, selection(0, 9000, IPC_NOWAIT)).unwrap().unwrap().0, mtype);
                queue.verify().unwrap();
            }
            assert_eq!(queue.resume_send(&HOST, who(2), living, Parked::Woken), Ok(Step::Done(())));
            assert_eq!((queue.sleepers(), queue.stat(&HOST, who(0)).unwrap().qnum), ((0, 0), 0));
        });
    }
}
