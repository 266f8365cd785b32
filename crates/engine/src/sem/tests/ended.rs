//! Sleepers whose thread has ended, before anybody has settled them: they get nothing, and nobody counts them (`ticket/owner.rs`).

use super::{HOST, op, values, who};
use crate::atomic::{AtomicU64, Relaxed};
use crate::error::{Error, Step};
use crate::host::{Caller, Host, Parked};
use crate::object::Header;
use crate::sem::{Geometry, Set, Undo};
use crate::testing::Heap;
use crate::testing::mortal::{Mortal, end};
use crate::testing::steps::{Shared, step_through};
use crate::ticket::Ticket;
use ring3_abi::Errno;
use ring3_abi::ipc::IPC_NOWAIT;
use ring3_abi::sem::{SEM_UNDO, Sembuf};

const SIZES: Geometry = Geometry { nsems: 2, rows: 64, tickets: 8, ops: 8 };
/// The process that ends. Its thread has another number.
const DYING: Caller = Caller { pid: 150, tid: 250, life: 0 };

fn with_set(test: impl FnOnce(&Heap, Set<'_>)) {
    let heap = Heap::new(SIZES.len());
    let set = Set::new(heap.region(), SIZES).unwrap();
    set.format(7, 1_000_000).unwrap();
    test(&heap, set);
    set.verify().unwrap();
}

/// A call that sleeps, and whose thread ends in its sleep.
fn ends_asleep(heap: &Heap, set: Set<'_>, n: u32, ops: &[Sembuf]) {
    let named = AtomicU64::new(0);
    let host = Mortal { host: &HOST, region: heap.region(), named: &named };
    assert!(matches!(set.semop(&host, who(n), ops), Ok(Step::Wait(_))));
    end(heap.region(), &named, who(n));
}

fn sleeps(set: Set<'_>, n: u32, ops: &[Sembuf]) -> Ticket {
    match set.semop(&HOST, who(n), ops) {
        Ok(Step::Wait(ticket)) => ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_post_passes_them() {
    with_set(|heap, set| {
        for n in [1, 2, 4] {
            ends_asleep(heap, set, n, &[op(0, -1, 0), op(1, 1, SEM_UNDO.into())]);
            if n == 2 {
                sleeps(set, 3, &[op(0, -1, 0)]);
            }
        }
        assert_eq!(set.sleepers(), 1);
        assert_eq!(set.semop(&HOST, who(9), &[op(0, 1, 0)]), Ok(Step::Done(())));
        assert_eq!(values(set), [0, 0]);
        assert_eq!(set.getpid(&HOST, who(0), 0), Ok(who(3).pid));
        assert_eq!(set.semop(&HOST, who(9), &[op(0, 1, 0), op(0, -1, IPC_NOWAIT)]), Ok(Step::Done(())));
    });
}

#[test]
fn nobody_counts_them() {
    with_set(|heap, set| {
        let living = sleeps(set, 1, &[op(0, -1, 0)]);
        ends_asleep(heap, set, 2, &[op(0, -2, 0)]);
        set.setval(&HOST, who(0), 1, 1).unwrap();
        ends_asleep(heap, set, 3, &[op(1, 0, 0)]);
        assert_eq!((set.sleepers(), set.counts(&HOST, who(0), 0)), (1, Ok((1, 0))));
        assert_eq!(set.counts(&HOST, who(0), 1), Ok((0, 0)));
        // Settled later, nothing is left of them; the living one sleeps on.
        for n in [2, 3] {
            set.settle(&HOST, who(n).pid, who(0), Undo::Apply).unwrap();
        }
        assert_eq!(set.resume(&HOST, who(1), living, Parked::Interrupted), Err(Error::Errno(Errno::EINTR)));
        assert_eq!(set.sleepers(), 0);
    });
}

#[test]
fn waiters_for_zero_get_nothing() {
    with_set(|heap, set| {
        set.setval(&HOST, who(0), 0, 1).unwrap();
        ends_asleep(heap, set, 1, &[op(0, 0, 0), op(1, 1, 0)]);
        let living = sleeps(set, 2, &[op(0, 0, 0), op(1, 4, 0)]);
        assert_eq!(set.semop(&HOST, who(9), &[op(0, -1, 0)]), Ok(Step::Done(())));
        assert_eq!(values(set), [0, 4]);
        assert_eq!(set.resume(&HOST, who(2), living, Parked::Woken), Ok(Step::Done(())));
    });
}

/// The mark is about the sleeper: its ticket's next owner lives.
#[test]
fn a_ticket_s_next_owner_lives() {
    with_set(|heap, set| {
        ends_asleep(heap, set, 1, &[op(0, -1, 0)]);
        assert_eq!(set.counts(&HOST, who(0), 0), Ok((0, 0)));
        let next = sleeps(set, 2, &[op(0, -1, 0)]);
        assert_eq!(set.counts(&HOST, who(0), 0), Ok((1, 0)));
        assert_eq!(set.semop(&HOST, who(9), &[op(0, 1, 0)]), Ok(Step::Done(())));
        assert_eq!(set.resume(&HOST, who(2), next, Parked::Woken), Ok(Step::Done(())));
    });
}

/// A call that falls asleep and comes back for this reason, as a thread does it that may end.
fn sleep_and_go_on(set: Set<'_>, host: &impl Host, why: Parked) {
    let ops = [op(0, -1, 0), op(1, 0, SEM_UNDO.into())];
    if let Ok(Step::Wait(ticket)) = set.semop(host, DYING, &ops) {
        let _ = set.resume(host, DYING, ticket, why);
    }
}

/// What others find at once when the thread ends after a change that it made: if the lock is its own they wait until it is settled, else nobody has to.
fn look(shared: &Shared) {
    let (heap, len) = (Heap::new(shared.len()), SIZES.len());
    shared.region().copy_to(heap.region(), 0, 0, shared.len()).unwrap();
    let (set, named) = (Set::new(heap.region(), SIZES).unwrap(), heap.region().at(len).unwrap());
    end(heap.region(), named, DYING);
    if heap.region().at::<Header>(0).unwrap().lock.load(Relaxed) != 0 {
        set.settle(&HOST, DYING.pid, who(0), Undo::Apply).unwrap();
    }
    assert_eq!((set.sleepers(), set.counts(&HOST, who(0), 0)), (0, Ok((0, 0))));
    assert_eq!(set.semop(&HOST, who(9), &[op(0, 1, 0)]), Ok(Step::Done(())));
    assert_eq!(set.semop(&HOST, who(9), &[op(0, -1, IPC_NOWAIT)]), Ok(Step::Done(())));
    set.settle(&HOST, DYING.pid, who(0), Undo::Apply).unwrap();
    set.verify().unwrap();
}

#[test]
fn at_any_moment_of_a_sleep() {
    for why in [Parked::Interrupted, Parked::TimedOut] {
        // The name of the word lies behind the set, where each change of it is seen.
        let shared = Shared::new(SIZES.len() + 4096);
        let set = Set::new(shared.region(), SIZES).unwrap();
        set.format(7, 1_000_000).unwrap();
        let named = shared.region().at(SIZES.len()).unwrap();
        let host = Mortal { host: &HOST, region: shared.region(), named };
        let mut points = 0;
        step_through(
            &shared,
            || sleep_and_go_on(set, &host, why),
            || {
                look(&shared);
                points += 1;
            },
        );
        assert!(points > 20 && named.load(Relaxed) == 0, "{points}");
    }
}

/// Somebody who meets one and dies in the middle of that leaves it to the next.
#[test]
fn met_by_one_who_dies() {
    let shared = Shared::new(SIZES.len());
    let set = Set::new(shared.region(), SIZES).unwrap();
    set.format(7, 1_000_000).unwrap();
    let named = AtomicU64::new(0);
    let host = Mortal { host: &HOST, region: shared.region(), named: &named };
    assert!(matches!(set.semop(&host, who(1), &[op(0, -1, 0)]), Ok(Step::Wait(_))));
    let living = sleeps(set, 2, &[op(0, -1, 0)]);
    end(shared.region(), &named, who(1));
    let post = || drop(set.semop(&HOST, DYING, &[op(0, 1, 0)]));
    step_through(&shared, post, || {
        let heap = Heap::new(shared.len());
        shared.region().copy_to(heap.region(), 0, 0, shared.len()).unwrap();
        let set = Set::new(heap.region(), SIZES).unwrap();
        set.settle(&HOST, DYING.pid, who(0), Undo::Apply).unwrap();
        set.verify().unwrap();
        // The post has happened and the living one has it, or it has not.
        let has_it = set.resume(&HOST, who(2), living, Parked::Woken) == Ok(Step::Done(()));
        assert_eq!((values(set)[0], set.counts(&HOST, who(0), 0)), (0, Ok((u32::from(!has_it), 0))));
        set.verify().unwrap();
    });
}
