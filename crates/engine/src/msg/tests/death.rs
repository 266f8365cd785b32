//! Death between any two instructions. A child does an operation on a shared region, one instruction at a time; whenever the region
//! has changed, a copy of it is what a death at that moment leaves. In each of them, once settled, the operation has happened wholly or not
//! at all, everything is in its place, and the queue works.
#![allow(unsafe_code)]

use super::{HOST, Message, Outcome, open, selection, send, text, who};
use crate::error::{Error, Step};
use crate::host::{Caller, Parked};
use crate::msg::{Geometry, Queue, Room, STAGE, Selection, Stat};
use crate::testing::Heap;
use crate::testing::steps::{Shared, step_through};
use crate::ticket::Ticket;
use ring3_abi::ipc::IPC_NOWAIT;
use ring3_abi::msg::{MSG_EXCEPT, MSG_NOERROR};
use std::vec::Vec;

/// The process that dies.
const DYING: Caller = Caller { pid: 150, tid: 250, life: 0 };
const SIZES: Geometry = Geometry { tickets: 8, slots: 16, blocks: 40 };
const QBYTES: u64 = 5000;

/// What everybody else can see of a queue. Sleepers: who, and what they were answered, if they were.
#[derive(Clone, Debug, PartialEq)]
struct View {
    stat: Stat,
    messages: Vec<Message>,
    sleepers: Vec<(u32, Option<Outcome>)>,
}

/// A call of another process that slept before the dying one came.
#[derive(Clone, Copy)]
enum Asleep {
    Send(u32, Ticket),
    Receive(u32, Ticket, Selection),
}

fn look(queue: Queue<'_>, asleep: &[Asleep]) -> View {
    let stat = queue.stat(&HOST, who(0)).unwrap();
    let mut out = [0; STAGE];
    let room = Room { size: 1 << 20, msgmax: 1 << 20, noerror: false };
    let messages = (0..stat.qnum as i64)
        .map(|n| open(queue, 0, queue.copy(&HOST, who(0), n, room, &mut out).unwrap(), &out))
        .collect();
    let sleepers = asleep.iter().map(|call| ask(queue, *call, &mut out)).collect();
    View { stat, messages, sleepers }
}

fn ask(queue: Queue<'_>, call: Asleep, out: &mut [u8]) -> (u32, Option<Outcome>) {
    match call {
        Asleep::Send(n, ticket) => match queue.resume_send(&HOST, who(n), ticket, Parked::Woken) {
            Ok(Step::Done(())) => (n, Some(Ok(None))),
            Ok(Step::Wait(_)) => (n, None),
            Err(Error::Errno(errno)) => (n, Some(Err(errno))),
            Err(other) => panic!("{other:?}"),
        },
        Asleep::Receive(n, ticket, w) => {
            match queue.resume_receive(&HOST, who(n), ticket, w, Parked::Woken, out) {
                Ok(Step::Done(got)) => (n, Some(Ok(Some(open(queue, n, got, out))))),
                Ok(Step::Wait(_)) => (n, None),
                Err(Error::Errno(errno)) => (n, Some(Err(errno))),
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

/// Settles a copy of the region, and says what is left there, after some use.
fn aftermath(shared: &Shared, asleep: &[Asleep], deaths: &[u32]) -> View {
    let heap = Heap::new(shared.len());
    shared.region().copy_to(heap.region(), 0, 0, shared.len()).unwrap();
    let queue = Queue::new(heap.region(), SIZES).unwrap();
    for _ in 0..2 {
        for &dead in deaths {
            queue.settle(&HOST, dead, who(0)).unwrap();
            queue.verify().unwrap();
        }
    }
    let view = look(queue, asleep);
    queue.verify().unwrap();
    queue.set_qbytes(&HOST, who(0), 1 << 20).unwrap();
    for (n, size) in [5, 300, 1500].into_iter().enumerate() {
        assert_eq!(send(queue, 9, 77 + n as i64, &text(n, size), true), Ok(None));
        queue.verify().unwrap();
    }
    let mut out = [0; STAGE];
    while let Ok(Step::Done(got)) = queue.receive(&HOST, who(9), selection(0, 1 << 20, IPC_NOWAIT), &mut out)
    {
        open(queue, 9, got, &out);
        queue.verify().unwrap();
    }
    view
}

/// Checks every death in `act`, after `before` has prepared the queue: a new one, and one that was in use, so that slots, blocks and nodes
/// come from the free lists. Answers how many deaths were looked at.
fn check(before: impl Fn(Queue<'_>) -> Vec<Asleep>, act: impl Fn(Queue<'_>)) -> usize {
    let used = |queue: Queue<'_>| {
        use_up(queue);
        before(queue)
    };
    check_deaths(&before, &act, &[DYING.pid]) + check_deaths(used, &act, &[DYING.pid])
}

/// Sends messages of many types and sizes, and receives them in another order.
fn use_up(queue: Queue<'_>) {
    for (n, (mtype, size)) in
        [(7, 90), (3, 2000), (9, 50), (1, 1500), (5, 0), (2, 400)].into_iter().enumerate()
    {
        assert_eq!(send(queue, 8, mtype, &text(n, size), true), Ok(None));
    }
    for (mtype, size) in [(3, 2000), (9, 50), (2, 400), (1, 1500), (5, 0), (7, 90)] {
        assert_eq!(super::receive(queue, 8, selection(mtype, size, 0)).unwrap().unwrap().0, mtype);
    }
}

fn check_deaths(before: impl Fn(Queue<'_>) -> Vec<Asleep>, act: impl Fn(Queue<'_>), deaths: &[u32]) -> usize {
    let shared = Shared::new(SIZES.len());
    let queue = Queue::new(shared.region(), SIZES).unwrap();
    queue.format(7, QBYTES, 1_000_000).unwrap();
    let asleep = before(queue);
    queue.verify().unwrap();
    let mut views = Vec::new();
    step_through(&shared, || act(queue), || views.push(aftermath(&shared, &asleep, deaths)));
    let (first, last) = (views[0].clone(), views[views.len() - 1].clone());
    let turn = views.iter().position(|view| *view != first).unwrap_or(views.len());
    for (n, view) in views.iter().enumerate() {
        assert_eq!(view, if n < turn { &first } else { &last }, "after change {n} of {}", views.len());
    }
    views.len()
}

/// Messages of these types and sizes, and nobody asleep.
fn filled(messages: &'static [(i64, usize)]) -> impl Fn(Queue<'_>) -> Vec<Asleep> {
    move |queue| {
        for (n, &(mtype, size)) in messages.iter().enumerate() {
            assert_eq!(send(queue, 1, mtype, &text(n, size), true), Ok(None));
        }
        Vec::new()
    }
}

fn asleep_sending(queue: Queue<'_>, n: u32, mtype: i64, size: usize) -> Asleep {
    Asleep::Send(n, send(queue, n, mtype, &text(n as usize, size), false).unwrap().unwrap())
}

fn asleep_receiving(queue: Queue<'_>, n: u32, w: Selection) -> Asleep {
    match queue.receive(&HOST, who(n), w, &mut []).unwrap() {
        Step::Wait(ticket) => Asleep::Receive(n, ticket, w),
        Step::Done(_) => panic!("a message came at once"),
    }
}

const SHORT: [u8; 40] = [7; 40];
const LONG: [u8; 2500] = [9; 2500];

fn send_short(mtype: i64) -> impl Fn(Queue<'_>) {
    move |queue| drop(queue.send_small(&HOST, DYING, mtype, &SHORT, false))
}

fn send_short_at_once(mtype: i64) -> impl Fn(Queue<'_>) {
    move |queue| {
        super::send_at_once(queue, DYING, mtype, &SHORT);
    }
}

fn receive_at_once(msgtyp: i64) -> impl Fn(Queue<'_>) {
    move |queue| drop(super::receive_at_once(queue, DYING, selection(msgtyp, 100, 0)))
}

#[test]
fn in_what_is_done_at_once() {
    let mut points = check(filled(&[]), send_short_at_once(3));
    points += check(filled(&[(3, 10)]), send_short_at_once(3));
    points += check(filled(&[(1, 10), (9, 300), (3, 0)]), send_short_at_once(3));
    points += check(filled(&[(1, 10)]), receive_at_once(0));
    points += check(filled(&[(3, 10), (1, 5), (3, 80), (3, 7)]), receive_at_once(3));
    points += check(filled(&[(3, 10), (1, 5), (3, 80)]), receive_at_once(-3));
    assert!(points > 60, "{points}");
}

fn send_long(mtype: i64) -> impl Fn(Queue<'_>) {
    move |queue| {
        let Ok(reserved) = queue.reserve(&HOST, DYING, LONG.len()) else { return };
        let mut at = 0;
        for piece in queue.reserved_pieces(&reserved).flatten() {
            // SAFETY: the piece lies in the mapping.
            unsafe { core::ptr::copy_nonoverlapping(LONG.as_ptr().add(at), piece.ptr, piece.len) };
            at += piece.len;
        }
        let _ = queue.post(&HOST, DYING, &reserved, mtype, false);
    }
}

fn receive(msgtyp: i64, size: usize, flags: i32) -> impl Fn(Queue<'_>) {
    move |queue| {
        let mut out = [0; STAGE];
        let got = queue.receive(&HOST, DYING, selection(msgtyp, size, flags), &mut out);
        if let Ok(Step::Done(got)) = got
            && let Some(pending) = got.pending
        {
            let _ = queue.release(&HOST, DYING, &pending);
        }
    }
}

#[test]
fn in_a_send() {
    let mut points = check(filled(&[]), send_short(3));
    points += check(filled(&[(3, 10)]), send_short(3));
    points += check(filled(&[(1, 10), (9, 300), (2, 0)]), send_short(5));
    points += check(filled(&[]), send_long(3));
    points += check(filled(&[(3, 1200), (4, 10)]), send_long(3));
    // No room: it sleeps.
    points += check(filled(&[(1, 4990)]), send_short(2));
    points += check(filled(&[(1, 4990)]), send_long(2));
    assert!(points > 200, "{points}");
}

#[test]
fn in_a_send_to_sleepers() {
    let sleepers = |queue: Queue<'_>| {
        [selection(8, 100, 0), selection(3, 10, 0), selection(-4, 3000, 0), selection(0, 20, MSG_NOERROR)]
            .into_iter()
            .zip(1..)
            .map(|(w, n)| asleep_receiving(queue, n, w))
            .collect()
    };
    assert!(check(sleepers, send_short(3)) > 30);
    assert!(check(sleepers, send_long(3)) > 60);
    // Nobody but the one for whom it is too long.
    assert!(check(|queue| [asleep_receiving(queue, 1, selection(3, 10, 0))].into(), send_short(3)) > 30);
}

#[test]
fn in_a_receive() {
    let three = || filled(&[(5, 40), (2, 2500), (5, 0), (3, 100)]);
    let mut points = 0;
    for act in [
        receive(0, 100, 0),
        receive(2, 3000, 0),
        receive(2, 30, MSG_NOERROR),
        receive(2, 30, 0),
        receive(-4, 3000, 0),
        receive(5, 100, MSG_EXCEPT),
        receive(3, 100, 0),
        receive(9, 100, IPC_NOWAIT),
        receive(9, 100, 0),
    ] {
        points += check(three(), act);
    }
    points += check(filled(&[(1, 10)]), receive(0, 100, 0));
    assert!(points > 200, "{points}");
}

#[test]
fn in_a_receive_that_makes_room() {
    let full = |queue: Queue<'_>| {
        assert_eq!(send(queue, 1, 1, &text(1, 4000), true), Ok(None));
        assert_eq!(send(queue, 1, 2, &text(2, 990), true), Ok(None));
        [(2, 3, 200), (3, 4, 4500), (4, 5, 900), (5, 6, 700)]
            .map(|(n, mtype, size)| asleep_sending(queue, n, mtype, size))
            .into()
    };
    let mut points = check(full, receive(2, 1000, 0));
    points += check(full, receive(1, 5000, 0));
    points += check(full, |queue| assert!(queue.set_qbytes(&HOST, DYING, 6000).is_ok()));
    assert!(points > 150, "{points}");
}

#[test]
fn in_going_on() {
    let mut points = 0;
    for size in [60, 1500] {
        for why in [Parked::Woken, Parked::Interrupted] {
            // Interrupted asleep, or served: with a message in its hands, or sent.
            for served in [false, true] {
                points += going_on_receiving(size, why, served);
                points += going_on_sending(size, why, served);
            }
        }
    }
    assert!(points > 50, "{points}");
}

fn going_on_receiving(size: usize, why: Parked, served: bool) -> usize {
    let w = selection(0, 5000, 0);
    let before = move |queue: Queue<'_>| {
        assert!(matches!(queue.receive(&HOST, DYING, w, &mut []), Ok(Step::Wait(Ticket(0)))));
        if served {
            assert_eq!(send(queue, 1, 1, &text(1, size), true), Ok(None));
        }
        Vec::new()
    };
    check(before, |queue| {
        let mut out = [0; STAGE];
        if let Ok(Step::Done(got)) = queue.resume_receive(&HOST, DYING, Ticket(0), w, why, &mut out)
            && let Some(pending) = got.pending
        {
            let _ = queue.release(&HOST, DYING, &pending);
        }
    })
}

fn going_on_sending(size: usize, why: Parked, served: bool) -> usize {
    let before = move |queue: Queue<'_>| {
        assert_eq!(send(queue, 1, 1, &text(1, 5000), true), Ok(None));
        let text = text(2, size);
        let step = if size <= STAGE {
            queue.send_small(&HOST, DYING, 2, &text, false).unwrap()
        } else {
            let reserved = queue.reserve(&HOST, DYING, size).unwrap();
            queue.post(&HOST, DYING, &reserved, 2, false).unwrap()
        };
        let Step::Wait(ticket) = step else { panic!("there was room") };
        if served {
            receive(0, 5000, 0)(queue);
        }
        assert_eq!(ticket.0, 0);
        Vec::new()
    };
    check(before, |queue| drop(queue.resume_send(&HOST, DYING, Ticket(0), why)))
}

#[test]
fn in_settling() {
    // The one who settles dies, too; the next one settles both.
    let broker = Caller { pid: 160, tid: 160, life: 0 };
    let before = |queue: Queue<'_>| {
        assert_eq!(send(queue, 1, 1, &text(1, 4950), true), Ok(None));
        let reserved = queue.reserve(&HOST, DYING, 3000).unwrap();
        assert!(matches!(queue.send_small(&HOST, DYING, 2, &SHORT, false), Ok(Step::Done(()))));
        assert!(matches!(queue.send_small(&HOST, DYING, 2, &LONG[..900], false), Ok(Step::Wait(_))));
        let other = asleep_sending(queue, 2, 3, 500);
        assert_eq!(reserved.size, 3000);
        [other].into()
    };
    let points = check_deaths(
        before,
        |queue| assert!(queue.settle(&HOST, DYING.pid, broker).is_ok()),
        &[broker.pid, DYING.pid],
    );
    assert!(points > 30, "{points}");
}
