//! Words of semaphores: whatever else is called meanwhile, no post and no wait that went by compare-and-swap is lost.
//!
//! Every call that writes a semaphore's word takes part: semop without and with the lock, GETVAL, GETPID, GETALL, IPC_STAT, SETVAL,
//! SETALL, adjustments of the dead, a move to another region, a clock that jumps.

use super::sem::{op, semop};
use super::{Kernel, Sleep, check, who};
use crate::error::Error;
use crate::host::Host;
use crate::sem::{Geometry, Set, Undo};
use crate::testing::Heap;
use core::sync::atomic::Ordering::Relaxed;
use ring3_abi::sem::{SEM_UNDO, Sembuf};
use shuttle::rand::Rng;
use shuttle::thread;
use std::vec::Vec;

/// A set that may move: its regions, in the order in which it lives in them.
#[derive(Clone, Copy)]
struct Homes<'r>([Set<'r>; 2]);

impl<'r> Homes<'r> {
    /// Calls where the set is now.
    fn call<T>(self, act: impl Fn(Set<'r>) -> Result<T, Error>) -> T {
        for set in self.0 {
            match act(set) {
                Err(Error::Moved) => {}
                other => return other.unwrap_or_else(|why| panic!("{why:?}")),
            }
        }
        panic!("the set is nowhere");
    }

    /// semop by thread `n`, wherever the set is now.
    fn semop(self, kernel: &Kernel, n: u32, ops: &[Sembuf]) {
        for (place, set) in self.0.into_iter().enumerate() {
            match semop(set, kernel, n, ops) {
                Err(Error::Moved) if place == 0 => {
                    // Either the call slept, and its ticket has moved, or nothing has happened.
                    if let Some(ticket) = self.0[1].adopt(kernel, who(n)).unwrap() {
                        return super::sem::go_on(self.0[1], kernel, n, ticket).unwrap();
                    }
                }
                other => return other.unwrap(),
            }
        }
    }
}

/// Runs a test with a set of one semaphore that is 0, and a second region for it. Answers what is left to `after`.
fn with_homes(
    test: impl Fn(Homes<'_>, &Kernel) + Send + Sync + Clone + 'static,
    after: impl Fn(u16) -> bool + Send + Sync + Clone + 'static,
) {
    check(move || {
        let geometry = Geometry { rows: 4, tickets: 8, ..Geometry::for_set(1, 16) };
        let (old, new) = (Heap::new(geometry.len()), Heap::new(geometry.len()));
        let kernel = Kernel::new(Sleep::Sound);
        let homes = Homes([&old, &new].map(|heap| Set::new(heap.region(), geometry).unwrap()));
        homes.0[0].format(7, kernel.now()).unwrap();
        homes.0[0].setall(&kernel, who(99), |_| 0).unwrap();
        test(homes, &kernel);
        homes.call(|set| {
            let mut left = Vec::new();
            set.getall(&kernel, who(99), |_, value| left.push(value))?;
            set.verify().unwrap();
            assert!(left.len() == 1 && after(left[0]), "{left:?} is left");
            assert_eq!(set.sleepers(), 0);
            Ok(())
        });
    });
}

/// How many kinds of calls leave the value as it is at every moment; one more does so in the end.
const LOOKS: u32 = 8;

/// A call that leaves the semaphore's value as it is, one of so many kinds.
fn look(homes: Homes<'_>, kernel: &Kernel, n: u32, kinds: u32) {
    let undo = |add| Sembuf { sem_flg: SEM_UNDO, ..op(0, add) };
    match shuttle::rand::thread_rng().gen_range(0..kinds) {
        0 => assert!(homes.call(|set| set.getval(kernel, who(n), 0)) >= 0),
        1 => assert!(homes.call(|set| set.getpid(kernel, who(n), 0)) >= 100),
        2 => homes.call(|set| set.getall(kernel, who(n), |_, _| {})),
        3 => assert_eq!(homes.call(|set| set.counts(kernel, who(n), 0)).1, 0),
        4 => homes.semop(kernel, n, &[op(0, 1), op(0, -1)]),
        5 => {
            homes.call(|set| set.claim_row(kernel, who(n)));
            homes.call(|set| set.settle(kernel, who(n).pid, who(98), Undo::Keep));
        }
        6 => {
            homes.call(|set| set.stat());
        }
        7 => {
            kernel.clock.fetch_add(1 << 26, Relaxed);
            homes.semop(kernel, n, &[op(0, 1), op(0, -1)]);
        }
        _ => {
            homes.semop(kernel, n, &[undo(1)]);
            homes.call(|set| set.settle(kernel, who(n).pid, who(98), Undo::Apply));
        }
    }
}

/// Two who only ask for the value give the word back to those who come without the lock; only one of them may have to.
#[test]
fn two_looks_lose_no_post() {
    let test = |homes: Homes<'_>, kernel: &Kernel| {
        thread::scope(|scope| {
            for n in 0..2 {
                scope.spawn(move || homes.call(|set| set.getval(kernel, who(n), 0)));
            }
            scope.spawn(move || (0..3).for_each(|_| homes.semop(kernel, 2, &[op(0, 1)])));
        });
    };
    with_homes(test, |left| left == 3);
}

/// Two who call anything, and so many posts and waits.
fn posts_and_waits(posts: u32, waits: u32, kinds: u32) {
    let test = move |homes: Homes<'_>, kernel: &Kernel| {
        thread::scope(|scope| {
            for n in 0..2 {
                scope.spawn(move || (0..2).for_each(|_| look(homes, kernel, n, kinds)));
            }
            scope.spawn(move || (0..posts).for_each(|_| homes.semop(kernel, 2, &[op(0, 1)])));
            for n in 0..waits {
                scope.spawn(move || homes.semop(kernel, 3 + n, &[op(0, -1)]));
            }
        });
    };
    with_homes(test, move |left| u32::from(left) == posts - waits);
}

#[test]
fn no_call_loses_a_post() {
    posts_and_waits(3, 0, LOOKS + 1);
}

/// Without the adjustments of the dead: a value that they lend for a moment may be waited for, and cannot be taken back then.
#[test]
fn no_call_loses_a_wait() {
    posts_and_waits(3, 2, LOOKS);
}

/// What is posted before the value is set is overwritten, what is posted later is added.
#[test]
fn a_value_is_set_once() {
    fn post(homes: Homes<'_>, kernel: &Kernel) -> i32 {
        homes.semop(kernel, 2, &[op(0, 1)]);
        homes.call(|set| set.getval(kernel, who(2), 0))
    }
    fn set(set: Set<'_>, kernel: &Kernel, all: bool) -> Result<(), Error> {
        if all { set.setall(kernel, who(1), |_| 10) } else { set.setval(kernel, who(1), 0, 10) }
    }
    for all in [false, true] {
        let test = move |homes: Homes<'_>, kernel: &Kernel| {
            thread::scope(|scope| {
                scope.spawn(move || look(homes, kernel, 0, LOOKS));
                scope.spawn(move || homes.call(|home| set(home, kernel, all)));
                scope.spawn(move || {
                    let seen = [0; 3].map(|_| post(homes, kernel));
                    assert!(seen.windows(2).all(|two| two[0] < two[1]), "{seen:?}");
                });
            });
        };
        with_homes(test, |left| (10..=13).contains(&left));
    }
}

/// A set moves while it is used: every post and every sleeper comes along.
#[test]
fn a_move_takes_everybody_along() {
    let test = |homes: Homes<'_>, kernel: &Kernel| {
        thread::scope(|scope| {
            scope.spawn(move || homes.0[0].move_to(kernel, who(98), homes.0[1]).unwrap());
            scope.spawn(move || look(homes, kernel, 0, LOOKS));
            scope.spawn(move || (0..2).for_each(|_| homes.semop(kernel, 1, &[op(0, 1)])));
            for n in 2..4 {
                scope.spawn(move || homes.semop(kernel, n, &[op(0, -1)]));
            }
        });
    };
    with_homes(test, |left| left == 0);
}
