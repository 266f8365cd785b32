//! Regions in which a peer writes what it likes, before and between operations: they answer, in bounded time, and touch nothing else.

use super::{HOST, open, selection, send, text, who};
use crate::atomic::Relaxed;
use crate::error::{Error, Step};
use crate::host::Parked;
use crate::msg::{Geometry, Queue, Received, ReceivedText, ReservedMessage, Room, STAGE};
use crate::testing::Heap;
use crate::ticket::Ticket;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

/// An operation; the numbers choose among what it can be given.
#[derive(Clone, Debug)]
enum Act {
    Scribble(u64),
    Send(u32, i64, usize),
    ReservedMessage(u32, usize),
    Receive(u32, i64, usize, i32),
    Resume(u32, u32, Parked),
    Copy(u32, i64),
    Release(usize),
    Finish(usize),
    Settle(u32),
    Withdraw(u32),
    Enlarge(u64),
    Look,
    Move,
    Remove,
}

fn act() -> impl Strategy<Value = Act> {
    let who = || 1..5u32;
    let size = || prop_oneof![0..100usize, 100..1025usize, 1025..6000usize];
    let why = || prop_oneof![Just(Parked::Woken), Just(Parked::Interrupted), Just(Parked::TimedOut)];
    prop_oneof![
        4 => any::<u64>().prop_map(Act::Scribble),
        4 => (who(), 1..6i64, size()).prop_map(|(n, t, s)| Act::Send(n, t, s)),
        2 => (who(), size()).prop_map(|(n, s)| Act::ReservedMessage(n, s)),
        6 => (who(), -6..6i64, size(), any::<i32>()).prop_map(|(n, t, s, f)| Act::Receive(n, t, s, f)),
        2 => (who(), 0..10u32, why()).prop_map(|(n, t, w)| Act::Resume(n, t, w)),
        2 => (who(), -1..20i64).prop_map(|(n, i)| Act::Copy(n, i)),
        2 => (0..8usize).prop_map(Act::Release),
        2 => (0..8usize).prop_map(Act::Finish),
        1 => who().prop_map(Act::Settle),
        1 => who().prop_map(Act::Withdraw),
        1 => any::<u64>().prop_map(Act::Enlarge),
        1 => Just(Act::Look),
        1 => Just(Act::Move),
        1 => Just(Act::Remove),
    ]
}

/// What a process has got out of the region so far.
#[derive(Default)]
struct Held {
    pending: Vec<(u32, ReceivedText)>,
    reserved: Vec<(u32, ReservedMessage)>,
}

impl Held {
    fn keep(&mut self, n: u32, got: Result<Step<Received>, Error>) {
        if let Ok(Step::Done(Received { pending: Some(pending), .. })) = got {
            self.pending.push((n, pending));
        }
    }
}

fn perform(heap: &Heap, queue: Queue<'_>, held: &mut Held, act: &Act) {
    let mut out = [0; STAGE];
    match *act {
        Act::Scribble(seed) => heap.scribble(seed),
        Act::Send(n, mtype, size) => drop(send(queue, n, mtype, &text(1, size.min(STAGE)), size % 2 == 0)),
        Act::ReservedMessage(n, size) => {
            held.reserved.extend(queue.reserve(&HOST, who(n), size).ok().map(|d| (n, d)))
        }
        Act::Receive(n, t, size, flags) => {
            let room = if size % 3 == 0 { 0 } else { STAGE };
            held.keep(n, queue.receive(&HOST, who(n), selection(t, size, flags), &mut out[..room]));
        }
        Act::Resume(n, ticket, why) => {
            let ticket = Ticket(ticket);
            held.keep(n, queue.resume_receive(&HOST, who(n), ticket, selection(0, 900, 0), why, &mut out));
            let _ = queue.resume_send(&HOST, who(n), ticket, why);
            let _ = queue.wait_word(ticket);
        }
        Act::Copy(n, index) => {
            let room = Room { size: 5000, msgmax: 8192, noerror: index % 2 == 0 };
            held.keep(n, queue.copy(&HOST, who(n), index, room, &mut out).map(Step::Done));
        }
        Act::Release(i) if i < held.pending.len() => {
            let (n, pending) = held.pending.swap_remove(i);
            touch(queue.received_pieces(&pending), pending.len);
            let _ = queue.release(&HOST, who(n), &pending);
        }
        Act::Finish(i) if i < held.reserved.len() => {
            let (n, reserved) = held.reserved.swap_remove(i);
            touch(queue.reserved_pieces(&reserved), reserved.size);
            if reserved.size % 5 == 0 {
                let _ = queue.abandon(&HOST, who(n), &reserved);
            } else {
                let _ = queue.post(&HOST, who(n), &reserved, 1 + n as i64, n == 2);
            }
        }
        Act::Settle(n) => _ = queue.settle(&HOST, who(n).pid, who(0)),
        Act::Withdraw(n) => {
            let _ = queue.adopt(&HOST, who(n));
            let _ = queue.withdraw(&HOST, who(n));
        }
        Act::Enlarge(qbytes) => _ = queue.set_qbytes(&HOST, who(0), qbytes),
        Act::Look => _ = (queue.stat(&HOST, who(0)), queue.peek(), queue.sleepers(), queue.verify()),
        Act::Move => {
            let larger = queue.geometry().grown().unwrap();
            let new = Heap::new(larger.len());
            let _ = queue.move_to(&HOST, who(0), Queue::new(new.region(), larger).unwrap());
        }
        Act::Remove => _ = queue.remove(&HOST, who(0)),
        Act::Release(_) | Act::Finish(_) => {}
    }
}

/// Reads and writes what the pieces name, so that a stray one is seen by the sanitizer of one's choice, or faults.
fn touch(pieces: crate::msg::Pieces<'_>, len: usize) {
    let mut sum = 0;
    for piece in pieces.flatten() {
        sum += piece.len;
        // SAFETY: pieces are checked to lie in the region.
        #[allow(unsafe_code)]
        unsafe {
            piece.ptr.write_bytes(0x5a, piece.len);
        }
    }
    assert!(sum <= len);
}

/// `verify` answers whatever the words say: numbers that no sum of theirs fits, a free list that leads round under a count without end.
#[test]
fn is_called_what_it_is() {
    for (blocks, slots) in [(u64::MAX, None), (0, Some(u64::MAX << 32 | 1))] {
        let geometry = Geometry { tickets: 8, slots: 16, blocks: 16 };
        let heap = Heap::new(geometry.len());
        let queue = Queue::new(heap.region(), geometry).unwrap();
        queue.format(7, 6000, 1_000_000).unwrap();
        assert_eq!((send(queue, 1, 1, &text(1, 500), false), queue.verify()), (Ok(None), Ok(())));
        match slots {
            None => queue.own.blocks.store(blocks, Relaxed),
            Some(word) => {
                queue.own.slots.store(word, Relaxed);
                let first = queue.map.slots.index(0).unwrap().link();
                queue.slot(first).unwrap().free.store(first);
            }
        }
        assert!(queue.verify().is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn is_survived(acts in proptest::collection::vec(act(), 1..60)) {
        let geometry = Geometry { tickets: 8, slots: 16, blocks: 16 };
        let heap = Heap::new(geometry.len());
        let queue = Queue::new(heap.region(), geometry).unwrap();
        queue.format(7, 6000, 1_000_000).unwrap();
        let mut held = Held::default();
        for n in 1..4 {
            assert_eq!(send(queue, n, n.into(), &text(1, 500 * n as usize), false), Ok(None));
        }
        for act in &acts {
            perform(&heap, queue, &mut held, act);
        }
    }

    /// Without garbage the same operations leave a queue that is in order, and whose lost owners leave nothing behind.
    #[test]
    fn is_not_made(acts in proptest::collection::vec(act(), 1..60)) {
        let geometry = Geometry { tickets: 64, slots: 128, blocks: 512 };
        let heap = Heap::new(geometry.len());
        let queue = Queue::new(heap.region(), geometry).unwrap();
        queue.format(7, 6000, 1_000_000).unwrap();
        let mut held = Held::default();
        for act in acts.iter().filter(|act| !matches!(act, Act::Scribble(_) | Act::Remove | Act::Move)) {
            perform(&heap, queue, &mut held, act);
            queue.verify().unwrap();
        }
        for n in 0..5 {
            queue.settle(&HOST, who(n).pid, who(0)).unwrap();
            queue.verify().unwrap();
        }
        assert_eq!(queue.sleepers(), (0, 0));
        let mut out = [0; STAGE];
        while let Ok(Step::Done(got)) = queue.receive(&HOST, who(9), selection(0, 1 << 20, ring3_abi::ipc::IPC_NOWAIT), &mut out) {
            open(queue, 9, got, &out);
        }
        queue.verify().unwrap();
        assert_eq!(queue.stat(&HOST, who(0)).unwrap().cbytes, 0);
    }
}
