//! Death between any two instructions of a call on a set: a child does it one instruction at a time (`testing/steps.rs`), and each
//! state of the region on the way is what a death at that moment leaves. Settled, the call has happened wholly or not at all, whoever
//! slept is served or sleeps rightly, and the set works.

use super::{HOST, op, values, who};
use crate::error::{Error, Step};
use crate::host::{Caller, Parked};
use crate::sem::{Geometry, Set, Undo};
use crate::testing::Heap;
use crate::testing::steps::{Shared, step_through};
use crate::ticket::Ticket;
use ring3_abi::Errno;
use ring3_abi::ipc::IPC_NOWAIT;
use ring3_abi::sem::{SEM_UNDO, Sembuf};
use std::vec::Vec;

/// The process that dies.
const DYING: Caller = Caller { pid: 150, tid: 250, life: 0 };
const SIZES: Geometry = Geometry { nsems: 3, rows: 64, tickets: 8, ops: 8 };
const UNDO: i32 = SEM_UNDO as i32;

/// A call that slept before the dying process came.
type Asleep = (u32, Ticket);

/// What everybody else can see of a set: values, processes, how many wait for what, the times, and what became of the sleepers.
#[derive(Clone, Debug, PartialEq)]
struct View {
    sems: Vec<(u16, u32, (u32, u32))>,
    otime: i64,
    sleepers: Vec<Result<bool, Errno>>,
    /// Values once everybody else has ended.
    settled: Vec<u16>,
}

fn look(set: Set<'_>, asleep: &[Asleep]) -> View {
    let sems = values(set)
        .into_iter()
        .zip(0..)
        .map(|(v, n)| (v, set.getpid(&HOST, who(0), n).unwrap(), set.counts(&HOST, who(0), n).unwrap()))
        .collect();
    let sleepers = asleep
        .iter()
        .map(|&(n, ticket)| match set.resume(&HOST, who(n), ticket, Parked::Woken) {
            Ok(step) => Ok(step == Step::Done(())),
            Err(Error::Errno(errno)) => Err(errno),
            Err(other) => panic!("{other:?}"),
        })
        .collect();
    View { sems, otime: set.stat().unwrap().otime, sleepers, settled: Vec::new() }
}

/// Settles a copy of the region, says what everybody sees then, and uses the set.
fn aftermath(shared: &Shared, asleep: &[Asleep], undo: Undo) -> View {
    let heap = Heap::new(shared.len());
    shared.region().copy_to(heap.region(), 0, 0, shared.len()).unwrap();
    let set = Set::new(heap.region(), SIZES).unwrap();
    for _ in 0..2 {
        set.settle(&HOST, DYING.pid, who(0), undo).unwrap();
        set.verify().unwrap();
    }
    let mut view = look(set, asleep);
    set.verify().unwrap();
    for pid in (1..6).map(|n| who(n).pid).chain([DYING.pid]) {
        set.settle(&HOST, pid, who(0), Undo::Apply).unwrap();
        set.verify().unwrap();
    }
    view.settled = values(set);
    // The process's number may come again.
    set.setall(&HOST, who(0), |_| 9).unwrap();
    set.verify().unwrap();
    assert_eq!(set.semop(&HOST, DYING, &[op(0, -1, UNDO), op(1, 1, 0)]), Ok(Step::Done(())));
    set.settle(&HOST, DYING.pid, who(0), Undo::Apply).unwrap();
    for n in 0..3 {
        assert_eq!(set.semop(&HOST, who(9), &[op(n, -1, IPC_NOWAIT)]), Ok(Step::Done(())));
        set.verify().unwrap();
    }
    view
}

/// Checks every death in `act`, after `before` prepared the set. The views change `turns` times at most: once for the call itself, once more
/// for each of its later steps that are calls of their own. Answers how many deaths were looked at.
fn check(before: impl Fn(Set<'_>) -> Vec<Asleep>, act: impl Fn(Set<'_>), undo: Undo, turns: usize) -> usize {
    let shared = Shared::new(SIZES.len());
    let set = Set::new(shared.region(), SIZES).unwrap();
    set.format(7, 1_000_000).unwrap();
    let asleep = before(set);
    set.verify().unwrap();
    let mut views: Vec<View> = Vec::new();
    step_through(&shared, || act(set), || views.push(aftermath(&shared, &asleep, undo)));
    let turned: Vec<_> = (1..views.len()).filter(|&n| views[n] != views[n - 1]).collect();
    assert!(turned.len() <= turns, "the view turns after {turned:?} of {}: {views:#?}", views.len());
    views.len()
}

fn both(before: impl Fn(Set<'_>) -> Vec<Asleep>, act: impl Fn(Set<'_>)) -> usize {
    check(&before, &act, Undo::Keep, 1) + check(&before, &act, Undo::Apply, 1)
}

/// Values 2, 1, 0; process 5 has an adjustment.
fn filled(set: Set<'_>) -> Vec<Asleep> {
    set.setall(&HOST, who(0), |n| 2 - n as u16).unwrap();
    assert_eq!(set.semop(&HOST, who(5), &[op(1, 2, UNDO), op(1, -2, 0)]), Ok(Step::Done(())));
    // With nobody asleep this ends the lock's rule over the words.
    values(set);
    Vec::new()
}

/// The same, and the dying process has one too.
fn with_adjustments(set: Set<'_>) -> Vec<Asleep> {
    filled(set);
    assert_eq!(set.semop(&HOST, DYING, &[op(0, 5, UNDO), op(0, -5, 0)]), Ok(Step::Done(())));
    Vec::new()
}

/// The dying process alone has one.
fn alone(set: Set<'_>) -> Vec<Asleep> {
    set.setall(&HOST, who(0), |n| 2 - n as u16).unwrap();
    assert_eq!(set.semop(&HOST, DYING, &[op(0, 5, UNDO), op(0, -5, 0)]), Ok(Step::Done(())));
    Vec::new()
}

fn sleep(set: Set<'_>, n: u32, ops: &[Sembuf]) -> Asleep {
    match set.semop(&HOST, who(n), ops).unwrap() {
        Step::Wait(ticket) => (n, ticket),
        Step::Done(()) => panic!("it did not sleep"),
    }
}

fn call<const N: usize>(ops: [Sembuf; N]) -> impl Fn(Set<'_>) {
    move |set| drop(set.semop(&HOST, DYING, &ops))
}

fn call_at_once<const N: usize>(ops: [Sembuf; N]) -> impl Fn(Set<'_>) {
    move |set| {
        super::at_once(set, DYING, &ops);
    }
}

#[test]
fn in_a_call_that_is_done_at_once() {
    const MIXED: [Sembuf; 5] = [op(0, -2, UNDO), op(1, 3, UNDO), op(2, 0, 0), op(0, 7, 0), op(0, -1, UNDO)];
    // Its row was emptied, and stays linked.
    let emptied = |set: Set<'_>| {
        let asleep = alone(set);
        assert_eq!(set.semop(&HOST, DYING, &[op(0, 5, 0), op(0, -5, UNDO)]), Ok(Step::Done(())));
        asleep
    };
    let mut points = 0;
    for before in [with_adjustments, alone] {
        points += both(before, call_at_once([op(0, 1, UNDO)]));
        points += both(before, call_at_once(MIXED));
    }
    // Its row empties beside another, and is unlinked.
    points += both(with_adjustments, call_at_once([op(0, 5, 0), op(0, -5, UNDO)]));
    points += both(emptied, call_at_once([op(0, 1, UNDO)]));
    points += both(filled, call_at_once([op(0, -2, 0), op(1, 3, 0), op(2, 0, 0)]));
    // What must wait is not done.
    points += both(with_adjustments, call_at_once([op(0, -2, UNDO), op(1, 3, 0), op(2, -1, 0)]));
    assert!(points > 200, "{points}");
}

#[test]
fn in_a_call() {
    let mut points = both(filled, |set| assert!(set.fast(DYING.pid, HOST.0, &op(0, 1, 0))));
    points += both(filled, call([op(0, -1, 0)]));
    points += both(filled, call([op(0, -1, UNDO)]));
    points +=
        both(filled, call([op(0, -2, UNDO), op(1, 3, UNDO), op(2, 0, 0), op(0, 7, 0), op(0, -1, UNDO)]));
    points += both(with_adjustments, call([op(0, -1, UNDO)]));
    points += both(
        with_adjustments,
        call([op(0, -2, UNDO), op(1, 3, UNDO), op(2, 0, 0), op(0, 7, 0), op(0, -1, UNDO)]),
    );
    // Refused after some of it was done.
    points += both(with_adjustments, call([op(0, -2, UNDO), op(1, 3, 0), op(2, -1, IPC_NOWAIT)]));
    points += both(filled, call([op(0, -2, UNDO), op(1, 3, 0), op(2, -1, IPC_NOWAIT)]));
    points += both(filled, call([op(0, 32000, 0), op(0, 32000, 0)]));
    // It sleeps.
    points += both(filled, call([op(1, 3, UNDO), op(2, -1, 0)]));
    points += both(filled, call([op(0, 0, 0)]));
    assert!(points > 200, "{points}");
}

#[test]
fn in_a_call_that_serves_sleepers() {
    let sleepers = |set: Set<'_>| {
        filled(set);
        Vec::from([
            sleep(set, 1, &[op(0, 0, 0)]),
            sleep(set, 2, &[op(0, -3, UNDO), op(2, 2, 0)]),
            sleep(set, 3, &[op(2, -1, 0)]),
            sleep(set, 4, &[op(2, -1, UNDO)]),
            // It has an adjustment already.
            sleep(set, 5, &[op(2, -1, UNDO), op(1, -4, IPC_NOWAIT)]),
            sleep(set, 5, &[op(0, -3, 0), op(1, -1, UNDO)]),
        ])
    };
    let mut points = both(sleepers, call([op(0, 1, 0)]));
    points += both(sleepers, call([op(0, 4, UNDO), op(0, -3, 0)]));
    points += both(sleepers, call([op(0, -2, UNDO)]));
    points += both(sleepers, call([op(0, -2, 0), op(2, 1, UNDO)]));
    assert!(points > 400, "{points}");
}

#[test]
fn in_ctl() {
    let sleepers = |set: Set<'_>| {
        filled(set);
        assert_eq!(set.semop(&HOST, DYING, &[op(0, -1, UNDO)]), Ok(Step::Done(())));
        Vec::from([sleep(set, 1, &[op(0, -3, 0)]), sleep(set, 2, &[op(1, 0, 0)])])
    };
    // In both, the time of the sleepers' success is a change of its own.
    let mut points = check(sleepers, |set| assert!(set.setval(&HOST, DYING, 0, 5).is_ok()), Undo::Keep, 2);
    points += check(sleepers, |set| assert!(set.setall(&HOST, DYING, |_| 0).is_ok()), Undo::Keep, 2);
    points += check(sleepers, |set| assert!(set.getall(&HOST, DYING, |_, _| {}).is_ok()), Undo::Apply, 1);
    points += check(
        sleepers,
        |set| assert!(set.settle(&HOST, DYING.pid, DYING, Undo::Apply).is_ok()),
        Undo::Apply,
        1,
    );
    assert!(points > 100, "{points}");
}

#[test]
fn in_going_on() {
    let mut points = 0;
    for (why, served) in [(Parked::Woken, true), (Parked::Interrupted, true), (Parked::Interrupted, false)] {
        let shared = Shared::new(SIZES.len());
        let set = Set::new(shared.region(), SIZES).unwrap();
        set.format(7, 1_000_000).unwrap();
        let Ok(Step::Wait(ticket)) = set.semop(&HOST, DYING, &[op(0, -1, UNDO)]) else {
            panic!("it did not sleep")
        };
        let other = sleep(set, 1, &[op(1, -1, 0)]);
        if served {
            assert_eq!(set.semop(&HOST, who(2), &[op(0, 1, 0)]), Ok(Step::Done(())));
        }
        let mut views = Vec::new();
        step_through(
            &shared,
            || drop(set.resume(&HOST, DYING, ticket, why)),
            || views.push(aftermath(&shared, &[other], Undo::Apply)),
        );
        assert!(views.iter().all(|view| *view == views[0]));
        assert_eq!(views[0].sems[0].0, u16::from(served));
        points += views.len();
    }
    assert!(points > 20, "{points}");
}
