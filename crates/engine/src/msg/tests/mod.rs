//! Queues against a plain model, and regions full of garbage, on heap memory with a host that never really sleeps.

mod death;
mod ended;
mod garbage;

use super::{Geometry, Queue, Received, Room, Selection};
use crate::error::{Error, Step};
use crate::host::{Caller, Parked};
use crate::testing::{Heap, Still};
use crate::ticket::Ticket;
use proptest::prelude::*;
use ring3_abi::Errno;
use ring3_abi::ipc::IPC_NOWAIT;
use ring3_abi::msg::{MSG_EXCEPT, MSG_NOERROR};
use std::vec;
use std::vec::Vec;

const HOST: Still = Still(1_000_000);

fn who(n: u32) -> Caller {
    Caller { pid: 100 + n, tid: 200 + n, life: 0 }
}

fn with_queue(qbytes: u64, test: impl FnOnce(Queue<'_>)) {
    let geometry = Geometry::for_queue(qbytes, 8192);
    let heap = Heap::new(geometry.len());
    let queue = Queue::new(heap.region(), geometry).unwrap();
    queue.format(7, qbytes, 1_000_000).unwrap();
    test(queue);
    queue.verify().unwrap();
}

fn text(seed: usize, size: usize) -> Vec<u8> {
    (0..size).map(|i| (seed * 31 + i * 7) as u8).collect()
}

fn send_at_once(queue: Queue<'_>, caller: Caller, mtype: i64, text: &[u8]) -> bool {
    let mut letter = [mtype.cast_unsigned(), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (n, byte) in text.iter().take(super::SHORT).enumerate() {
        letter[1 + n / 8] |= u64::from(*byte) << (n % 8 * 8);
    }
    queue.send_at_once(&HOST, caller, 1_000_000, &letter, text.len())
}

fn receive_at_once(queue: Queue<'_>, caller: Caller, selection: Selection) -> Option<Message> {
    let mut letter = [0; _];
    let len = queue.receive_at_once(&HOST, caller, 1_000_000, selection, &mut letter)?;
    let text = letter[1..].iter().flat_map(|word| word.to_le_bytes()).take(len).collect();
    Some((letter[0].cast_signed(), text))
}

fn send(queue: Queue<'_>, n: u32, mtype: i64, text: &[u8], nowait: bool) -> Result<Option<Ticket>, Error> {
    if send_at_once(queue, who(n), mtype, text) {
        return Ok(None);
    }
    let step = if text.len() <= super::STAGE {
        queue.send_small(&HOST, who(n), mtype, text, nowait)?
    } else {
        let reserved = queue.reserve(&HOST, who(n), text.len())?;
        let mut at = 0;
        for piece in queue.reserved_pieces(&reserved) {
            let piece = piece?;
            // SAFETY: the piece lies in the heap's memory, and nobody else is here.
            #[allow(unsafe_code)]
            unsafe {
                core::ptr::copy_nonoverlapping(text[at..].as_ptr(), piece.ptr, piece.len);
            }
            at += piece.len;
        }
        assert_eq!(at, text.len());
        queue.post(&HOST, who(n), &reserved, mtype, nowait)?
    };
    Ok(match step {
        Step::Done(()) => None,
        Step::Wait(ticket) => Some(ticket),
    })
}

/// Unpacks what a receive answered.
fn open(queue: Queue<'_>, n: u32, got: Received, out: &[u8]) -> (i64, Vec<u8>) {
    let Some(pending) = got.pending else { return (got.mtype, out[..got.len].to_vec()) };
    let mut all = vec![0; got.len];
    let mut at = 0;
    for piece in queue.received_pieces(&pending) {
        let piece = piece.unwrap();
        // SAFETY: as in send().
        #[allow(unsafe_code)]
        unsafe {
            core::ptr::copy_nonoverlapping(piece.ptr, all[at..].as_mut_ptr(), piece.len);
        }
        at += piece.len;
    }
    assert_eq!(at, got.len);
    queue.release(&HOST, who(n), &pending).unwrap();
    (got.mtype, all)
}

type Message = (i64, Vec<u8>);
/// What a finished call answered; a send has no message.
type Outcome = Result<Option<Message>, Errno>;
type Answer = Result<Message, Errno>;

fn receive(
    queue: Queue<'_>,
    n: u32,
    selection: Selection,
) -> Result<Option<Message>, (Errno, Option<Ticket>)> {
    if let Some(message) = receive_at_once(queue, who(n), selection) {
        return Ok(Some(message));
    }
    let mut out = [0; 1024];
    match queue.receive(&HOST, who(n), selection, &mut out) {
        Ok(Step::Done(got)) => Ok(Some(open(queue, n, got, &out))),
        Ok(Step::Wait(ticket)) => Err((Errno::EAGAIN, Some(ticket))),
        Err(Error::Errno(errno)) => Err((errno, None)),
        Err(other) => panic!("{other:?}"),
    }
}

fn resume(queue: Queue<'_>, n: u32, ticket: Ticket, selection: Selection, why: Parked) -> Option<Answer> {
    let mut out = [0; 1024];
    match queue.resume_receive(&HOST, who(n), ticket, selection, why, &mut out) {
        Ok(Step::Done(got)) => Some(Ok(open(queue, n, got, &out))),
        Ok(Step::Wait(_)) => None,
        Err(Error::Errno(errno)) => Some(Err(errno)),
        Err(other) => panic!("{other:?}"),
    }
}

fn selection(msgtyp: i64, size: usize, flags: i32) -> Selection {
    Selection { msgtyp, size, flags }
}

#[test]
fn types_choose_as_the_manual_says() {
    with_queue(16384, |queue| {
        for (seed, mtype) in [3, 1, 2, 1, 9].into_iter().enumerate() {
            assert_eq!(send(queue, 1, mtype, &text(seed, 10), false), Ok(None));
        }
        let got = |msgtyp, flags| {
            receive(queue, 2, selection(msgtyp, 100, flags | IPC_NOWAIT)).map(|m| m.map(|m| (m.0, m.1[0])))
        };
        assert_eq!(got(-2, 0), Ok(Some((1, text(1, 1)[0]))));
        assert_eq!(got(-2, 0), Ok(Some((1, text(3, 1)[0]))));
        assert_eq!(got(3, MSG_EXCEPT), Ok(Some((2, text(2, 1)[0]))));
        assert_eq!(got(7, 0), Err((Errno::ENOMSG, None)));
        assert_eq!(got(i64::MIN, 0), Ok(Some((3, text(0, 1)[0]))));
        assert_eq!(got(0, 0), Ok(Some((9, text(4, 1)[0]))));
        assert_eq!(got(0, 0), Err((Errno::ENOMSG, None)));
    });
}

#[test]
fn long_texts_keep_their_bytes() {
    with_queue(1 << 20, |queue| {
        for size in [0, 1, 79, 80, 81, 1023, 1024, 1025, 8192, 5000] {
            assert_eq!(send(queue, 1, 5, &text(size, size), false), Ok(None));
        }
        for size in [0, 1, 79, 80, 81, 1023, 1024, 1025, 8192] {
            assert_eq!(receive(queue, 2, selection(5, 8192, 0)), Ok(Some((5, text(size, size)))));
        }
        assert_eq!(receive(queue, 2, selection(5, 4999, 0)), Err((Errno::E2BIG, None)));
        let mut out = [0; 1024];
        let room = Room { size: 8192, msgmax: 8192, noerror: false };
        let copied = queue.copy(&HOST, who(3), 0, room, &mut out).unwrap();
        assert_eq!(open(queue, 3, copied, &out), (5, text(5000, 5000)));
        assert_eq!(queue.copy(&HOST, who(3), 1, room, &mut out).err(), Some(Error::Errno(Errno::ENOMSG)));
        assert_eq!(receive(queue, 2, selection(5, 3000, MSG_NOERROR)), Ok(Some((5, text(5000, 3000)))));
        assert_eq!(queue.stat(&HOST, who(1)).unwrap().qnum, 0);
    });
}

#[test]
fn a_message_goes_straight_to_a_receiver_and_a_sender_is_let_in() {
    with_queue(100, |queue| {
        let Err((_, Some(short))) = receive(queue, 1, selection(2, 5, 0)) else { panic!() };
        let Err((_, Some(fits))) = receive(queue, 2, selection(0, 50, 0)) else { panic!() };
        assert_eq!(send(queue, 3, 2, &text(1, 20), false), Ok(None));
        assert_eq!(resume(queue, 1, short, selection(2, 5, 0), Parked::Woken), Some(Err(Errno::E2BIG)));
        assert_eq!(
            resume(queue, 2, fits, selection(0, 50, 0), Parked::Interrupted),
            Some(Ok((2, text(1, 20))))
        );
        let stat = queue.stat(&HOST, who(1)).unwrap();
        assert_eq!((stat.qnum, stat.lspid, stat.lrpid, stat.rtime), (0, 103, 202, 1_000_000));
        assert_eq!(send(queue, 3, 2, &text(1, 100), false), Ok(None));
        assert_eq!(send(queue, 3, 2, &text(1, 1), true), Err(Error::Errno(Errno::EAGAIN)));
        let first = send(queue, 4, 4, &text(4, 60), false).unwrap().unwrap();
        let second = send(queue, 5, 5, &text(5, 50), false).unwrap().unwrap();
        assert_eq!(receive(queue, 1, selection(0, 100, 0)), Ok(Some((2, text(1, 100)))));
        assert_eq!(queue.resume_send(&HOST, who(4), first, Parked::Interrupted), Ok(Step::Done(())));
        assert_eq!(queue.resume_send(&HOST, who(5), second, Parked::Woken), Ok(Step::Wait(second)));
        queue.set_qbytes(&HOST, who(0), 200).unwrap();
        assert_eq!(queue.resume_send(&HOST, who(5), second, Parked::Woken), Ok(Step::Done(())));
    });
}

#[test]
fn the_dead_leave_nothing_and_take_nothing() {
    with_queue(100, |queue| {
        assert_eq!(send(queue, 1, 1, &text(1, 90), false), Ok(None));
        send(queue, 2, 2, &text(2, 80), false).unwrap().unwrap();
        let third = send(queue, 3, 3, &text(3, 10), false);
        assert_eq!(third, Ok(None));
        let reserved = queue.reserve(&HOST, who(2), 5000).unwrap();
        assert_eq!(reserved.size, 5000);
        queue.settle(&HOST, 102, who(0)).unwrap();
        assert_eq!(queue.sleepers(), (0, 0));
        assert_eq!(receive(queue, 1, selection(0, 100, 0)), Ok(Some((1, text(1, 90)))));
        assert_eq!(receive(queue, 1, selection(0, 100, 0)), Ok(Some((3, text(3, 10)))));
    });
}

#[test]
fn removal_ends_every_call_but_what_was_received() {
    with_queue(100, |queue| {
        let Err((_, Some(served))) = receive(queue, 1, selection(1, 50, 0)) else { panic!() };
        let Err((_, Some(asleep))) = receive(queue, 2, selection(1, 50, 0)) else { panic!() };
        assert_eq!(send(queue, 3, 1, &text(1, 20), false), Ok(None));
        assert_eq!(send(queue, 3, 2, &text(1, 90), false), Ok(None));
        let sender = send(queue, 4, 3, &text(1, 50), false).unwrap().unwrap();
        for _ in 0..2 {
            queue.remove(&HOST, who(0)).unwrap();
        }
        let gone = Error::Errno(Errno::EIDRM);
        assert_eq!(resume(queue, 1, served, selection(1, 50, 0), Parked::Woken), Some(Ok((1, text(1, 20)))));
        assert_eq!(resume(queue, 2, asleep, selection(1, 50, 0), Parked::Woken), Some(Err(Errno::EIDRM)));
        assert_eq!(queue.resume_send(&HOST, who(4), sender, Parked::Interrupted), Err(gone));
        assert_eq!(send(queue, 3, 1, &text(1, 20), false), Err(Error::Removed));
        assert_eq!(queue.stat(&HOST, who(3)), Err(Error::Removed));
        assert_eq!(queue.peek(), None);
    });
}

#[test]
fn a_moved_queue_keeps_messages_and_sleepers() {
    let small = Geometry::for_queue(100, 8192);
    let large = small.grown().unwrap();
    let (old_heap, new_heap) = (Heap::new(small.len()), Heap::new(large.len()));
    let old = Queue::new(old_heap.region(), small).unwrap();
    let new = Queue::new(new_heap.region(), large).unwrap();
    old.format(7, 100, 1_000_000).unwrap();
    assert_eq!(send(old, 1, 1, &text(1, 95), false), Ok(None));
    let waiting = send(old, 2, 2, &text(2, 90), false).unwrap().unwrap();
    let reserved = old.reserve(&HOST, who(3), 2000).unwrap();
    old.move_to(&HOST, who(0), new).unwrap();
    assert_eq!(old.post(&HOST, who(3), &reserved, 1, false), Err(Error::Moved));
    assert_eq!(old.resume_send(&HOST, who(2), waiting, Parked::Woken), Err(Error::Moved));
    // Who was about to park in the old region does not: nobody would wake it there any more.
    let wait_word = old.wait_word(waiting).unwrap();
    assert!(wait_word.has_changed() && !wait_word.is_untouched() && !wait_word.mark_parked());
    assert_eq!(new.adopt(&HOST, who(2)), Ok(Some(waiting)));
    assert_eq!(receive(new, 4, selection(0, 100, 0)), Ok(Some((1, text(1, 95)))));
    assert_eq!(new.resume_send(&HOST, who(2), waiting, Parked::Woken), Ok(Step::Done(())));
    assert_eq!(receive(new, 4, selection(0, 100, 0)), Ok(Some((2, text(2, 90)))));
    new.verify().unwrap();
}

#[derive(Clone, Debug)]
enum Act {
    Send(u32, i64, usize),
    Receive(u32, i64, usize, i32),
    Interrupt(u32),
    Die(u32),
}

fn act() -> impl Strategy<Value = Act> {
    let size = prop_oneof![0..60usize, 60..1200usize, 1200..3000usize];
    let flags = prop_oneof![3 => Just(0), 1 => Just(MSG_EXCEPT), 1 => Just(MSG_NOERROR)];
    prop_oneof![
        5 => (1..6u32, 1..5i64, size.clone()).prop_map(|(n, t, s)| Act::Send(n, t, s)),
        5 => (1..6u32, -5..5i64, size, flags).prop_map(|(n, t, s, f)| Act::Receive(n, t, s, f)),
        1 => (1..6u32).prop_map(Act::Interrupt),
        1 => (1..6u32).prop_map(Act::Die),
    ]
}

#[derive(Clone, Debug, PartialEq)]
enum Call {
    Send(i64, Vec<u8>),
    Receive(Selection),
}

/// The kernel's rules, written down as plainly as possible.
#[derive(Default)]
struct Model {
    queue: Vec<(i64, Vec<u8>)>,
    asleep: Vec<(u32, Call)>,
    answers: Vec<(u32, Outcome)>,
}

const QBYTES: usize = 4000;

impl Model {
    fn fits(&self, size: usize) -> bool {
        self.queue.iter().map(|m| m.1.len()).sum::<usize>() + size <= QBYTES && self.queue.len() < QBYTES
    }

    fn deliver(&mut self, mtype: i64, text: Vec<u8>) {
        let mut i = 0;
        while i < self.asleep.len() {
            let (n, call) = self.asleep[i].clone();
            if let Call::Receive(selection) = call
                && selection.accepts(mtype)
            {
                self.asleep.remove(i);
                if selection.is_too_long(text.len()) {
                    self.answers.push((n, Err(Errno::E2BIG)));
                    continue;
                }
                let len = text.len().min(selection.size);
                self.answers.push((n, Ok(Some((mtype, text[..len].to_vec())))));
                return;
            }
            i += 1;
        }
        self.queue.push((mtype, text));
    }

    fn find(&self, selection: Selection) -> Option<usize> {
        let all = || self.queue.iter().enumerate().filter(|(_, m)| selection.accepts(m.0));
        if selection.msgtyp < 0 {
            all().min_by_key(|(i, m)| (m.0, *i)).map(|m| m.0)
        } else {
            all().next().map(|m| m.0)
        }
    }

    fn receive(&mut self, n: u32, selection: Selection) {
        let Some(i) = self.find(selection) else { return self.asleep.push((n, Call::Receive(selection))) };
        if selection.is_too_long(self.queue[i].1.len()) {
            return self.answers.push((n, Err(Errno::E2BIG)));
        }
        let (mtype, mut text) = self.queue.remove(i);
        text.truncate(selection.size);
        self.answers.push((n, Ok(Some((mtype, text)))));
        self.admit();
    }

    /// kernel: ss_wakeup(), then the woken senders in their order.
    fn admit(&mut self) {
        let fits = |model: &Model, call: &Call| matches!(call, Call::Send(_, text) if model.fits(text.len()));
        let senders = |call: &Call| matches!(call, Call::Send(..));
        let woken: Vec<_> = self.asleep.iter().filter(|s| fits(self, &s.1)).cloned().collect();
        let (tail, head) = core::mem::take(&mut self.asleep)
            .into_iter()
            .partition::<Vec<_>, _>(|s| senders(&s.1) && !woken.iter().any(|w| w.0 == s.0));
        self.asleep = head;
        self.asleep.extend(tail);
        for (n, call) in woken {
            self.asleep.retain(|s| s.0 != n);
            match call {
                Call::Send(mtype, text) if self.fits(text.len()) => {
                    self.answers.push((n, Ok(None)));
                    self.deliver(mtype, text);
                }
                call => self.asleep.push((n, call)),
            }
        }
    }
}

fn play(queue: Queue<'_>, acts: &[Act]) {
    let mut model = Model::default();
    let mut asleep: Vec<(u32, Ticket, Call)> = Vec::new();
    for (seed, a) in acts.iter().enumerate() {
        let mut answers = Vec::new();
        match *a {
            Act::Send(n, mtype, size) if !asleep.iter().any(|s| s.0 == n) => {
                let bytes = text(seed, size);
                match send(queue, n, mtype, &bytes, false).unwrap() {
                    None => answers.push((n, Ok(None))),
                    Some(ticket) => asleep.push((n, ticket, Call::Send(mtype, bytes.clone()))),
                }
                if model.fits(size) {
                    model.answers.push((n, Ok(None)));
                    model.deliver(mtype, bytes);
                } else {
                    model.asleep.push((n, Call::Send(mtype, bytes)));
                }
            }
            Act::Receive(n, msgtyp, size, flags) if !asleep.iter().any(|s| s.0 == n) => {
                let w = selection(msgtyp, size, flags);
                match receive(queue, n, w) {
                    Ok(got) => answers.push((n, Ok(got))),
                    Err((_, Some(ticket))) => asleep.push((n, ticket, Call::Receive(w))),
                    Err((errno, None)) => answers.push((n, Err(errno))),
                }
                model.receive(n, w);
            }
            Act::Interrupt(n) | Act::Die(n) => {
                let was = model.asleep.iter().position(|s| s.0 == n).map(|i| model.asleep.remove(i));
                let ours = asleep.iter().position(|s| s.0 == n).map(|i| asleep.remove(i));
                assert_eq!(was.is_some(), ours.is_some());
                if let Act::Die(_) = a {
                    queue.settle(&HOST, who(n).pid, who(0)).unwrap();
                } else if let Some((_, ticket, Call::Receive(w))) = ours {
                    assert_eq!(resume(queue, n, ticket, w, Parked::Interrupted), Some(Err(Errno::EINTR)));
                } else if let Some((_, ticket, _)) = ours {
                    let got = queue.resume_send(&HOST, who(n), ticket, Parked::Interrupted);
                    assert_eq!(got, Err(Error::Errno(Errno::EINTR)));
                }
            }
            _ => {}
        }
        let mut still = Vec::new();
        for (n, ticket, call) in asleep {
            match &call {
                Call::Send(..) => match queue.resume_send(&HOST, who(n), ticket, Parked::Woken).unwrap() {
                    Step::Done(()) => answers.push((n, Ok(None))),
                    Step::Wait(_) => still.push((n, ticket, call)),
                },
                Call::Receive(w) => match resume(queue, n, ticket, *w, Parked::Woken) {
                    Some(answer) => answers.push((n, answer.map(Some))),
                    None => still.push((n, ticket, call)),
                },
            }
        }
        asleep = still;
        let mut wanted = core::mem::take(&mut model.answers);
        answers.sort_by_key(|a| a.0);
        wanted.sort_by_key(|a| a.0);
        assert_eq!(answers, wanted, "{a:?}");
        let stat = queue.stat(&HOST, who(0)).unwrap();
        assert_eq!(stat.qnum as usize, model.queue.len());
        queue.verify().unwrap();
    }
}

#[test]
fn sleeping_senders_go_in_the_kernels_order() {
    with_queue(100, |queue| {
        assert_eq!(send(queue, 1, 1, &text(1, 90), false), Ok(None));
        assert_eq!(send(queue, 1, 2, &text(2, 10), false), Ok(None));
        let sizes = [10, 10, 100, 10];
        let tickets: Vec<_> = (0..4)
            .map(|i| {
                send(queue, 2 + i, 10 + i64::from(i), &text(0, sizes[i as usize]), false).unwrap().unwrap()
            })
            .collect();
        let left = |queue: Queue<'_>| -> Vec<usize> {
            (0..4).filter(|&i| queue.tickets().get(tickets[i]).unwrap().state().waits()).collect()
        };
        let order = |queue: Queue<'_>| -> Vec<u32> {
            queue.tickets().walk(&queue.own.senders).map(|item| item.unwrap().1.pid() - 102).collect()
        };
        // Room for one of ten bytes: the first goes, the long one moves behind, then those whose room was taken.
        assert_eq!(receive(queue, 1, selection(2, 100, 0)), Ok(Some((2, text(2, 10)))));
        assert_eq!(left(queue), [1, 2, 3]);
        assert_eq!(order(queue), [2, 1, 3]);
        // Room for all but the long one.
        assert_eq!(receive(queue, 1, selection(1, 100, 0)), Ok(Some((1, text(1, 90)))));
        assert_eq!(order(queue), [2]);
        let types: Vec<i64> =
            (0..3).map(|_| receive(queue, 1, selection(0, 100, 0)).unwrap().unwrap().0).collect();
        assert_eq!(types, [10, 11, 13]);
        assert_eq!(order(queue), [] as [u32; 0]);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn random_calls_do_what_the_model_does(acts in proptest::collection::vec(act(), 1..60)) {
        with_queue(QBYTES as u64, |queue| play(queue, &acts));
    }
}
