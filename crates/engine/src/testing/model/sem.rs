//! Semaphores: who waits is served, values are what the done operations make them, and each is done whole.

use super::{Kernel, Sleep, check, who};
use crate::atomic::AtomicU64;
use crate::error::{Error, Step};
use crate::host::{Deadline, Host};
use crate::sem::{Geometry, Set, Undo};
use crate::testing::Heap;
use crate::testing::mortal::{Mortal, end};
use crate::ticket::Ticket;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use ring3_abi::Errno;
use ring3_abi::sem::{SEM_UNDO, Sembuf};
use shuttle::thread;
use std::vec::Vec;

pub(super) fn op(num: u16, add: i16) -> Sembuf {
    Sembuf { sem_num: num, sem_op: add, sem_flg: 0 }
}

/// semop(2) as callers make it: without the lock where that will do, asleep until it is over.
pub(super) fn semop(set: Set<'_>, kernel: &Kernel, n: u32, ops: &[Sembuf]) -> Result<(), Error> {
    if let [one] = ops
        && one.sem_flg == 0
        && set.fast(who(n).pid, kernel.now(), one)
    {
        return Ok(());
    }
    match set.semop(kernel, who(n), ops)? {
        Step::Done(()) => Ok(()),
        Step::Wait(ticket) => go_on(set, kernel, n, ticket),
    }
}

/// Sleeps until the call is over.
pub(super) fn go_on(set: Set<'_>, kernel: &Kernel, n: u32, ticket: Ticket) -> Result<(), Error> {
    let mut step = Step::Wait(ticket);
    while let Step::Wait(ticket) = step {
        let why = kernel.park(set.wait_word(ticket)?, Deadline::NEVER);
        step = set.resume(kernel, who(n), ticket, why)?;
    }
    Ok(())
}

/// Runs a test with a set of these values, and looks whether it is whole afterwards and has these.
fn with_set(
    sleep: Sleep,
    values: &'static [u16],
    after: &'static [u16],
    test: impl Fn(Set<'_>, &Kernel) + Send + Sync + Clone + 'static,
) {
    check(move || {
        let geometry = Geometry::for_set(values.len() as u32, 16);
        let (heap, kernel) = (Heap::new(geometry.len()), Kernel::new(sleep));
        let set = Set::new(heap.region(), geometry).unwrap();
        set.format(7, 1_000_000).unwrap();
        set.setall(&kernel, who(99), |n| values[n as usize]).unwrap();
        test(set, &kernel);
        set.verify().unwrap();
        let mut left = Vec::new();
        if set.getall(&kernel, who(99), |_, value| left.push(value)).is_ok() {
            assert_eq!((left.as_slice(), set.sleepers()), (after, 0));
        }
    });
}

#[test]
fn many_are_woken_together() {
    with_set(Sleep::Sound, &[0, 0], &[0, 3], |set, kernel| {
        thread::scope(|scope| {
            for n in 0..3 {
                scope.spawn(move || {
                    semop(set, kernel, n, &[op(0, -1)]).unwrap();
                    semop(set, kernel, n, &[op(1, 1)]).unwrap();
                });
            }
            scope.spawn(move || semop(set, kernel, 3, &[op(0, 3)]).unwrap());
        });
    });
}

#[test]
fn turns_are_taken() {
    with_set(Sleep::Sound, &[1, 0], &[1, 0], |set, kernel| {
        thread::scope(|scope| {
            for (n, mine, other) in [(0, 0, 1), (1, 1, 0)] {
                let turn = move |_| {
                    semop(set, kernel, n, &[op(mine, -1)]).unwrap();
                    semop(set, kernel, n, &[op(other, 1)]).unwrap();
                };
                scope.spawn(move || (0..2).for_each(turn));
            }
        });
    });
}

#[test]
fn a_mutex_has_one_holder() {
    with_set(Sleep::Sound, &[1], &[1], |set, kernel| {
        let holders = AtomicU32::new(0);
        thread::scope(|scope| {
            for n in 0..3 {
                let holders = &holders;
                scope.spawn(move || {
                    semop(set, kernel, n, &[op(0, -1)]).unwrap();
                    assert_eq!(holders.fetch_add(1, Relaxed), 0);
                    thread::yield_now();
                    holders.fetch_sub(1, Relaxed);
                    semop(set, kernel, n, &[op(0, 1)]).unwrap();
                });
            }
        });
    });
}

#[test]
fn zero_is_noticed() {
    with_set(Sleep::Sound, &[2, 0], &[0, 0], |set, kernel| {
        thread::scope(|scope| {
            scope.spawn(|| semop(set, kernel, 0, &[op(0, 0), op(1, 1)]).unwrap());
            scope.spawn(|| semop(set, kernel, 1, &[op(0, -1)]).unwrap());
            scope.spawn(|| semop(set, kernel, 2, &[op(0, -1)]).unwrap());
            scope.spawn(|| semop(set, kernel, 3, &[op(1, -1)]).unwrap());
        });
    });
}

#[test]
fn philosophers_eat() {
    with_set(Sleep::Sound, &[1, 1, 1], &[1, 1, 1], |set, kernel| {
        thread::scope(|scope| {
            for n in 0..3u16 {
                let forks = [n, (n + 1) % 3];
                scope.spawn(move || {
                    semop(set, kernel, n.into(), &forks.map(|fork| op(fork, -1))).unwrap();
                    semop(set, kernel, n.into(), &forks.map(|fork| op(fork, 1))).unwrap();
                });
            }
        });
    });
}

/// One dies with what it has taken; whoever waits for that gets it from the settlement, be it before, in the middle or after.
#[test]
fn the_dead_give_back() {
    with_set(Sleep::Sound, &[1], &[0], |set, kernel| {
        let undo = Sembuf { sem_num: 0, sem_op: -1, sem_flg: SEM_UNDO };
        semop(set, kernel, 0, &[undo]).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| semop(set, kernel, 1, &[op(0, -1)]).unwrap());
            scope.spawn(|| set.settle(kernel, who(0).pid, who(98), Undo::Apply).unwrap());
        });
    });
}

/// A thread ends in its sleep. Whoever knows of that and posts has not posted to the dead, and whoever counts does not count them.
#[test]
fn the_ended_take_nothing() {
    check(|| {
        let geometry = Geometry::for_set(1, 16);
        let (heap, kernel) = (Heap::new(geometry.len()), Kernel::new(Sleep::Sound));
        let region = heap.region();
        let set = Set::new(region, geometry).unwrap();
        set.format(7, 1_000_000).unwrap();
        let (named, ended) = (AtomicU64::new(0), AtomicU32::new(0));
        let host = Mortal { host: &kernel, region, named: &named };
        let change = |n, add| semop(set, &kernel, n, &[op(0, add)]).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                assert!(matches!(set.semop(&host, who(0), &[op(0, -1)]), Ok(Step::Wait(_))));
                end(region, &named, who(0));
                ended.store(1, Relaxed);
                [1, -1, 1].into_iter().for_each(|add| change(5, add));
            });
            scope.spawn(|| [-1, 1].into_iter().for_each(|add| change(1, add)));
            scope.spawn(|| {
                let most = 2 - ended.load(Relaxed);
                let counted = set.counts(&kernel, who(2), 0).unwrap().0;
                assert!(counted <= most, "{counted} of {most}");
            });
        });
        set.verify().unwrap();
        assert_eq!((set.getval(&kernel, who(99), 0), set.sleepers()), (Ok(1), 0));
    });
}

/// Whoever looks without the lock meets each process that had adjustments before the look and has them after it.
#[test]
fn nobody_with_adjustments_is_overlooked() {
    with_set(Sleep::Sound, &[0], &[1], |set, kernel| {
        let undo = |add| [Sembuf { sem_num: 0, sem_op: add, sem_flg: SEM_UNDO }];
        semop(set, kernel, 3, &undo(1)).unwrap();
        semop(set, kernel, 0, &undo(1)).unwrap();
        semop(set, kernel, 1, &undo(1)).unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                // One that stands between the others, and the first.
                for n in [0, 1, 0, 1] {
                    let has = set.doubtful(|_| false).any(|pid| pid == who(n).pid);
                    semop(set, kernel, n, &undo(1 - 2 * i16::from(has))).unwrap();
                }
            });
            scope.spawn(move || {
                (0..3).for_each(|_| assert!(set.doubtful(|_| false).any(|pid| pid == who(3).pid)))
            });
        });
        for n in [0, 1] {
            semop(set, kernel, n, &undo(-1)).unwrap();
        }
    });
}

#[test]
fn removal_leaves_nobody_asleep() {
    with_set(Sleep::Sound, &[0, 1], &[0, 1], |set, kernel| {
        thread::scope(|scope| {
            for n in 0..3 {
                let ops = [op(0, -1), op(1, 0)];
                scope.spawn(move || {
                    let answer = semop(set, kernel, n, &ops[n as usize % 2..][..1]);
                    assert!(matches!(answer, Err(Error::Removed | Error::Errno(Errno::EIDRM))), "{answer:?}");
                });
            }
            scope.spawn(|| set.remove(kernel, who(98)).unwrap());
        });
    });
}

/// Who gets tired while he is served either has what he waited for, or has left it.
#[test]
fn a_timeout_loses_nothing() {
    with_set(Sleep::Light, &[0, 0], &[0, 2], |set, kernel| {
        let done = AtomicU32::new(0);
        thread::scope(|scope| {
            for n in 0..2 {
                let done = &done;
                scope.spawn(move || match semop(set, kernel, n, &[op(0, -1), op(1, 1)]) {
                    Ok(()) => done.store(done.load(Relaxed) + 1, Relaxed),
                    Err(why) => assert_eq!(why, Error::Errno(Errno::EAGAIN)),
                });
            }
            scope.spawn(|| semop(set, kernel, 2, &[op(0, 2)]).unwrap());
        });
        let left = 2 - done.load(Relaxed) as i16;
        if left > 0 {
            semop(set, kernel, 3, &[op(0, -left), op(1, left)]).unwrap();
        }
    });
}
