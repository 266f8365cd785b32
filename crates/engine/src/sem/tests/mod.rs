//! Sets against a plain model, and the cases of the manual page, on heap memory with a host that never really sleeps.

mod death;
mod ended;

use super::{Geometry, Set, Undo};
use crate::atomic::AtomicU32;
use crate::error::{Error, Step};
use crate::host::{Caller, Deadline, Host, Parked, WaitWord};
use crate::region::Region;
use crate::testing::{Heap, Still};
use crate::ticket::Ticket;
use core::cell::RefCell;
use proptest::prelude::*;
use ring3_abi::Errno;
use ring3_abi::ipc::IPC_NOWAIT;
use ring3_abi::sem::{SEM_UNDO, Sembuf};
use std::vec::Vec;

const HOST: Still = Still(1_000_000);

fn who(n: u32) -> Caller {
    Caller { pid: 100 + n, tid: 100 + n, life: 0 }
}

const fn op(num: u16, add: i16, flags: i32) -> Sembuf {
    Sembuf { sem_num: num, sem_op: add, sem_flg: flags as i16 }
}

fn with_set(nsems: u32, test: impl FnOnce(Set<'_>)) {
    let geometry = Geometry::for_set(nsems, 500);
    let heap = Heap::new(geometry.len());
    let set = Set::new(heap.region(), geometry).unwrap();
    set.format(7, 1_000_000).unwrap();
    test(set);
    set.verify().unwrap();
}

/// For what cannot be done without the lock.
fn at_once(set: Set<'_>, caller: Caller, ops: &[Sembuf]) -> bool {
    if ops.iter().any(|op| op.sem_flg & SEM_UNDO != 0) {
        set.semop_at_once::<true, _>(&HOST, caller, HOST.0, ops)
    } else {
        ops.len() > 1 && set.semop_at_once::<false, _>(&HOST, caller, HOST.0, ops)
    }
}

fn go(set: Set<'_>, n: u32, ops: &[Sembuf]) -> Result<Option<Ticket>, Error> {
    let step = if let [one] = ops
        && one.sem_flg == 0
        && set.fast(who(n).pid, HOST.0, one)
    {
        Step::Done(())
    } else if at_once(set, who(n), ops) {
        Step::Done(())
    } else {
        set.semop(&HOST, who(n), ops)?
    };
    Ok(match step {
        Step::Done(()) => None,
        Step::Wait(ticket) => Some(ticket),
    })
}

fn values(set: Set<'_>) -> Vec<u16> {
    let mut all = Vec::new();
    set.getall(&HOST, who(0), |_, v| all.push(v)).unwrap();
    all
}

#[test]
fn operations_are_all_done_or_none() {
    with_set(3, |set| {
        assert_eq!(go(set, 1, &[op(0, 2, 0), op(1, 1, 0)]), Ok(None));
        assert_eq!(go(set, 1, &[op(0, -2, 0), op(2, -1, IPC_NOWAIT)]), Err(Error::Errno(Errno::EAGAIN)));
        assert_eq!(values(set), [2, 1, 0]);
        assert_eq!(go(set, 1, &[op(0, -1, 0), op(0, -1, 0), op(0, 0, 0), op(0, 5, 0)]), Ok(None));
        assert_eq!(values(set), [5, 1, 0]);
        assert_eq!(set.getpid(&HOST, who(0), 0), Ok(101));
        assert_eq!(set.getpid(&HOST, who(0), 2), Ok(0));
    });
}

#[test]
fn ranges_are_the_kernels() {
    with_set(1, |set| {
        assert_eq!(go(set, 1, &[op(1, 1, 0)]), Err(Error::Errno(Errno::EFBIG)));
        assert_eq!(go(set, 1, &[op(0, 32767, 0)]), Ok(None));
        assert_eq!(go(set, 1, &[op(0, 1, 0)]), Err(Error::Errno(Errno::ERANGE)));
        assert_eq!(set.setval(&HOST, who(1), 0, 32768), Err(Error::Errno(Errno::ERANGE)));
        assert_eq!(set.setval(&HOST, who(1), 1, 0), Err(Error::Errno(Errno::EINVAL)));
        assert_eq!(set.setval(&HOST, who(1), 0, 0), Ok(()));
        // The adjustment goes down to -32768 and no further.
        assert_eq!(go(set, 1, &[op(0, 32767, SEM_UNDO.into())]), Ok(None));
        assert_eq!(go(set, 1, &[op(0, -32767, 0)]), Ok(None));
        assert_eq!(go(set, 1, &[op(0, 1, SEM_UNDO.into())]), Ok(None));
        assert_eq!(go(set, 1, &[op(0, 1, SEM_UNDO.into())]), Err(Error::Errno(Errno::ERANGE)));
    });
}

#[test]
fn a_sleeper_is_served_by_who_makes_it_possible() {
    with_set(2, |set| {
        let first = go(set, 1, &[op(0, -2, 0)]).unwrap().unwrap();
        let second = go(set, 2, &[op(0, -1, 0)]).unwrap().unwrap();
        assert_eq!(set.counts(&HOST, who(0), 0), Ok((2, 0)));
        assert_eq!(set.resume(&HOST, who(1), first, Parked::Woken), Ok(Step::Wait(first)));
        assert_eq!(go(set, 3, &[op(0, 1, 0)]), Ok(None));
        assert_eq!(set.resume(&HOST, who(2), second, Parked::Interrupted), Ok(Step::Done(())));
        assert_eq!(set.getpid(&HOST, who(0), 0), Ok(102));
        assert_eq!(set.resume(&HOST, who(1), first, Parked::Interrupted), Err(Error::Errno(Errno::EINTR)));
        assert_eq!(values(set), [0, 0]);
    });
}

#[test]
fn waiters_for_zero_go_before_those_who_change() {
    with_set(1, |set| {
        assert_eq!(go(set, 1, &[op(0, 1, 0)]), Ok(None));
        let zero = go(set, 2, &[op(0, 0, 0)]).unwrap().unwrap();
        let complex = go(set, 3, &[op(0, 0, 0), op(0, 3, 0)]).unwrap().unwrap();
        assert_eq!(set.counts(&HOST, who(0), 0), Ok((0, 2)));
        assert_eq!(go(set, 4, &[op(0, -1, 0)]), Ok(None));
        assert_eq!(set.resume(&HOST, who(2), zero, Parked::Woken), Ok(Step::Done(())));
        assert_eq!(set.resume(&HOST, who(3), complex, Parked::Woken), Ok(Step::Done(())));
        assert_eq!(values(set), [3]);
    });
}

/// A post for more sleepers than are kept by their number: each is woken once, and the lock is free by then.
#[test]
fn wake_ups_come_after_the_lock() {
    struct Waking<'r>(Region<'r>, RefCell<Vec<*const u32>>);
    impl Host for Waking<'_> {
        fn now(&self) -> i64 {
            HOST.0
        }
        fn park(&self, word: WaitWord<'_>, until: Deadline) -> Parked {
            HOST.park(word, until)
        }
        fn wake(&self, word: &AtomicU32, _: u32, _: &AtomicU32) {
            assert_eq!(crate::lock::named(self.0).unwrap().process(), 0);
            self.1.borrow_mut().push(word.as_ptr());
        }
    }
    let geometry = Geometry::for_set(2, 500);
    let heap = Heap::new(geometry.len());
    let set = Set::new(heap.region(), geometry).unwrap();
    set.format(7, 1_000_000).unwrap();
    // Every third still looks when it is served; two wait for something else.
    let sleepers: Vec<_> = (1..60)
        .map(|n| (n, go(set, n, &[op(u16::from(n == 20 || n == 59), -1, 0)]).unwrap().unwrap()))
        .collect();
    let parked =
        |n: u32| !n.is_multiple_of(3) && set.wait_word(sleepers[n as usize - 1].1).unwrap().mark_parked();
    let words: Vec<_> = sleepers
        .iter()
        .filter(|(n, _)| parked(*n) && ![20, 59].contains(n))
        .map(|(_, ticket)| set.wait_word(*ticket).unwrap().futex().as_ptr().cast_const())
        .collect();
    let host = Waking(heap.region(), RefCell::default());
    assert_eq!(set.semop(&host, who(70), &[op(0, 57, 0)]), Ok(Step::Done(())));
    let mut woken = host.1.take();
    woken.sort_unstable();
    woken.dedup();
    assert!(words.iter().all(|word| woken.contains(word)), "{} of {} were woken", woken.len(), words.len());
    for (n, ticket) in sleepers {
        let waits = n == 20 || n == 59;
        let step = if waits { Step::Wait(ticket) } else { Step::Done(()) };
        assert_eq!(set.resume(&HOST, who(n), ticket, Parked::Woken), Ok(step));
    }
    set.verify().unwrap();
}

#[test]
fn who_posts_to_one_semaphore_serves_those_who_want_several() {
    with_set(3, |set| {
        let both = go(set, 1, &[op(0, -1, 0), op(1, 1, 0)]).unwrap().unwrap();
        let one = go(set, 2, &[op(1, -1, 0)]).unwrap().unwrap();
        let other = go(set, 3, &[op(0, -1, 0)]).unwrap().unwrap();
        // The post is spent by the first, whose own post is not what was touched.
        assert_eq!(go(set, 4, &[op(0, 1, 0)]), Ok(None));
        for (n, ticket) in [(1, both), (2, one)] {
            assert_eq!(set.resume(&HOST, who(n), ticket, Parked::Woken), Ok(Step::Done(())));
        }
        assert_eq!(set.resume(&HOST, who(3), other, Parked::Woken), Ok(Step::Wait(other)));
        assert_eq!(go(set, 4, &[op(0, 1, 0), op(2, 1, 0)]), Ok(None));
        assert_eq!(set.resume(&HOST, who(3), other, Parked::Woken), Ok(Step::Done(())));
        assert_eq!(values(set), [0, 0, 1]);
    });
}

#[test]
fn a_death_applies_its_adjustments_once() {
    with_set(2, |set| {
        assert_eq!(go(set, 1, &[op(0, 3, 0), op(1, 1, 0)]), Ok(None));
        assert_eq!(go(set, 2, &[op(0, -3, SEM_UNDO.into())]), Ok(None));
        let waiting = go(set, 3, &[op(0, -2, 0)]).unwrap().unwrap();
        let own = go(set, 2, &[op(1, -9, SEM_UNDO.into())]).unwrap().unwrap();
        for _ in 0..2 {
            set.settle(&HOST, 102, who(0), Undo::Apply).unwrap();
            assert_eq!(values(set), [1, 1]);
        }
        assert_eq!(set.resume(&HOST, who(3), waiting, Parked::Woken), Ok(Step::Done(())));
        assert_eq!(set.resume(&HOST, who(2), own, Parked::Woken), Err(Error::Spoiled));
        assert_eq!(set.stat().unwrap().otime, 1_000_000);
    });
}

#[test]
fn those_with_adjustments_are_doubted_until_their_life_is_held() {
    let undo = SEM_UNDO.into();
    let named = |n: u32| Caller { life: n, ..who(n) };
    with_set(2, |set| {
        let doubted = |held: &[u32]| {
            let mut pids: Vec<_> = set.doubtful(|life| held.contains(&life)).collect();
            pids.sort_unstable();
            set.verify().unwrap();
            assert!(set.has_adjustments() || set.doubtful(|_| false).count() == 0);
            pids
        };
        assert_eq!(doubted(&[]), []);
        for n in 1..5 {
            assert_eq!(set.semop(&HOST, named(n), &[op(0, 2, undo), op(1, 1, undo)]), Ok(Step::Done(())));
        }
        assert_eq!((doubted(&[]), doubted(&[1, 2, 4])), (Vec::from([101, 102, 103, 104]), Vec::from([103])));
        // One that is back at 0, one that goes on without a life of its own, one that ends, one whose adjustments are cleared.
        assert_eq!(set.semop(&HOST, named(2), &[op(0, -2, undo), op(1, -1, undo)]), Ok(Step::Done(())));
        assert_eq!(set.semop(&HOST, who(3), &[op(0, 1, undo)]), Ok(Step::Done(())));
        set.settle(&HOST, 104, who(0), Undo::Apply).unwrap();
        assert_eq!((doubted(&[]), doubted(&[3])), (Vec::from([101, 103]), Vec::from([101])));
        set.setval(&HOST, who(0), 0, 1).unwrap();
        assert_eq!(doubted(&[]), [101, 103]);
        set.setval(&HOST, who(0), 1, 1).unwrap();
        assert_eq!(doubted(&[]), []);
        // SETALL, and a new life.
        assert_eq!(set.semop(&HOST, who(1), &[op(0, 2, undo)]), Ok(Step::Done(())));
        set.setall(&HOST, who(0), |_| 5).unwrap();
        assert_eq!(doubted(&[]), []);
        assert_eq!(set.semop(&HOST, Caller { life: 9, ..who(1) }, &[op(1, -2, undo)]), Ok(Step::Done(())));
        assert_eq!((doubted(&[1]), doubted(&[9])), (Vec::from([101]), Vec::new()));
    });
}

#[test]
fn a_call_that_waits_leaves_the_rows_as_they_were() {
    let undo = SEM_UNDO.into();
    with_set(3, |set| {
        assert_eq!(go(set, 1, &[op(2, 2, undo)]), Ok(None));
        assert_eq!(go(set, 2, &[op(1, 1, undo)]), Ok(None));
        // Its row loses its last adjustment, gets another, and then the call must wait.
        let waits = [op(2, -2, undo), op(0, 1, undo), op(0, 0, 0)];
        assert!(go(set, 1, &waits).unwrap().is_some());
        set.verify().unwrap();
    });
}

#[test]
fn setting_a_value_clears_adjustments_and_wakes() {
    with_set(2, |set| {
        assert_eq!(go(set, 1, &[op(0, 5, SEM_UNDO.into()), op(1, 5, SEM_UNDO.into())]), Ok(None));
        let waiting = go(set, 3, &[op(0, -7, 0)]).unwrap().unwrap();
        set.setval(&HOST, who(2), 0, 9).unwrap();
        assert_eq!(set.resume(&HOST, who(3), waiting, Parked::Woken), Ok(Step::Done(())));
        set.settle(&HOST, 101, who(0), Undo::Apply).unwrap();
        assert_eq!(values(set), [2, 0]);
        assert_eq!(go(set, 4, &[op(1, 4, SEM_UNDO.into())]), Ok(None));
        set.setall(&HOST, who(2), |n| n as u16 + 1).unwrap();
        set.settle(&HOST, 104, who(0), Undo::Apply).unwrap();
        assert_eq!(values(set), [1, 2]);
    });
}

#[test]
fn removal_ends_every_call() {
    let geometry = Geometry::for_set(2, 500);
    let heap = Heap::new(geometry.len());
    let set = Set::new(heap.region(), geometry).unwrap();
    set.format(7, 1_000_000).unwrap();
    assert_eq!(go(set, 1, &[op(1, 1, 0)]), Ok(None));
    assert!(set.fast(who(1).pid, HOST.0, &op(1, 1, 0)));
    let waiting = go(set, 1, &[op(0, -1, 0)]).unwrap().unwrap();
    set.remove(&HOST, who(0)).unwrap();
    assert_eq!(set.resume(&HOST, who(1), waiting, Parked::Woken), Err(Error::Errno(Errno::EIDRM)));
    // Nobody slept on the second one, which compare-and-swaps ruled.
    for num in 0..2 {
        assert_eq!(go(set, 1, &[op(num, 1, 0)]), Err(Error::Removed), "{num}");
    }
}

#[test]
fn a_moved_set_keeps_values_sleepers_and_debts() {
    let (small, large) = (Geometry::for_set(2, 500), Geometry::for_set(2, 500).grown(500).unwrap());
    let (old_heap, new_heap) = (Heap::new(small.len()), Heap::new(large.len()));
    let old = Set::new(old_heap.region(), small).unwrap();
    let new = Set::new(new_heap.region(), large).unwrap();
    old.format(7, 1_000_000).unwrap();
    assert_eq!(go(old, 1, &[op(1, 4, SEM_UNDO.into())]), Ok(None));
    let waiting = go(old, 2, &[op(0, -1, SEM_UNDO.into())]).unwrap().unwrap();
    old.move_to(&HOST, who(0), new).unwrap();
    assert_eq!(old.resume(&HOST, who(2), waiting, Parked::Woken), Err(Error::Moved));
    assert_eq!(go(old, 1, &[op(0, 1, 0)]), Err(Error::Moved));
    assert_eq!(new.adopt(&HOST, who(2)), Ok(Some(waiting)));
    assert_eq!(go(new, 3, &[op(0, 1, 0)]), Ok(None));
    assert_eq!(new.resume(&HOST, who(2), waiting, Parked::Woken), Ok(Step::Done(())));
    new.settle(&HOST, 101, who(0), Undo::Apply).unwrap();
    new.settle(&HOST, 102, who(0), Undo::Apply).unwrap();
    assert_eq!(values(new), [1, 0]);
    new.verify().unwrap();
}

#[derive(Clone, Debug)]
enum Act {
    Op(u32, Vec<Op>),
    Set(u16, u16),
    Interrupt(u32),
    Die(u32),
}

fn act() -> impl Strategy<Value = Act> {
    let ops = proptest::collection::vec((0..3u16, -3..4i16, any::<bool>()), 1..4);
    prop_oneof![
        6 => (1..5u32, ops).prop_map(|(n, ops)| Act::Op(n, ops)),
        1 => (0..3u16, 0..5u16).prop_map(|(n, v)| Act::Set(n, v)),
        1 => (1..5u32).prop_map(Act::Interrupt),
        1 => (1..5u32).prop_map(Act::Die),
    ]
}

/// One operation: semaphore, what to add, whether to undo.
type Op = (u16, i16, bool);

/// The kernel's rules, written down as plainly as possible.
#[derive(Default)]
struct Model {
    values: [i32; 3],
    adjustments: [[i32; 3]; 6],
    waiting: Vec<(u32, Vec<Op>)>,
}

impl Model {
    fn attempt(&mut self, n: u32, ops: &[Op]) -> bool {
        let (mut values, mut adjustments) = (self.values, self.adjustments[n as usize]);
        for &(num, add, undo) in ops {
            let v = &mut values[num as usize];
            if (add == 0 && *v != 0) || *v + i32::from(add) < 0 {
                return false;
            }
            *v += i32::from(add);
            adjustments[num as usize] -= if undo { i32::from(add) } else { 0 };
        }
        (self.values, self.adjustments[n as usize]) = (values, adjustments);
        true
    }

    fn scan(&mut self) {
        while self.serve_one(false) || self.serve_one(true) {}
    }

    /// Serves the first who can go on, of those who change values or of those who only wait for zero.
    fn serve_one(&mut self, alters: bool) -> bool {
        for i in 0..self.waiting.len() {
            let (n, ops) = self.waiting[i].clone();
            if ops.iter().any(|op| op.1 != 0) == alters && self.attempt(n, &ops) {
                self.waiting.remove(i);
                return true;
            }
        }
        false
    }

    fn end(&mut self, n: u32) {
        for num in 0..3 {
            let adjustments = core::mem::take(&mut self.adjustments[n as usize][num]);
            self.values[num] = (self.values[num] + adjustments).clamp(0, 32767);
        }
        self.scan();
    }
}

fn play(set: Set<'_>, acts: &[Act]) {
    let mut model = Model::default();
    let mut tickets: [Option<Ticket>; 6] = [None; 6];
    for a in acts {
        match a {
            Act::Op(n, ops) if tickets[*n as usize].is_none() => {
                let call: Vec<_> = ops
                    .iter()
                    .map(|&(num, add, undo)| op(num, add, if undo { SEM_UNDO.into() } else { 0 }))
                    .collect();
                tickets[*n as usize] = go(set, *n, &call).unwrap();
                if model.attempt(*n, ops) { model.scan() } else { model.waiting.push((*n, ops.clone())) }
            }
            Act::Set(num, v) => {
                set.setval(&HOST, who(0), (*num).into(), (*v).into()).unwrap();
                model.values[*num as usize] = (*v).into();
                model.adjustments.iter_mut().for_each(|o| o[*num as usize] = 0);
                model.scan();
            }
            Act::Interrupt(n) | Act::Die(n) => {
                let waited = model.waiting.iter().any(|w| w.0 == *n);
                model.waiting.retain(|w| w.0 != *n);
                if let Act::Die(_) = a {
                    set.settle(&HOST, who(*n).pid, who(0), Undo::Apply).unwrap();
                    tickets[*n as usize] = None;
                    model.end(*n);
                } else if let Some(ticket) = tickets[*n as usize].take() {
                    let want = if waited { Err(Error::Errno(Errno::EINTR)) } else { Ok(Step::Done(())) };
                    assert_eq!(set.resume(&HOST, who(*n), ticket, Parked::Interrupted), want);
                }
            }
            Act::Op(..) => {}
        }
        for n in 1..6u32 {
            if let Some(ticket) = tickets[n as usize]
                && !model.waiting.iter().any(|w| w.0 == n)
            {
                assert_eq!(set.resume(&HOST, who(n), ticket, Parked::Woken), Ok(Step::Done(())));
                tickets[n as usize] = None;
            }
        }
        assert_eq!(values(set), model.values.map(|v| v as u16));
        set.verify().unwrap();
    }
    assert_eq!(set.sleepers() as usize, model.waiting.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn random_calls_do_what_the_model_does(acts in proptest::collection::vec(act(), 1..40)) {
        with_set(3, |set| play(set, &acts));
    }

    #[test]
    fn garbage_is_survived(seed in any::<u64>(), acts in proptest::collection::vec((1..5u32, 0..4u16, -2..3i16), 1..20)) {
        let geometry = Geometry { nsems: 3, rows: 64, tickets: 8, ops: 4 };
        let heap = Heap::new(geometry.len());
        let set = Set::new(heap.region(), geometry).unwrap();
        set.format(7, 1_000_000).unwrap();
        let _ = go(set, 1, &[op(0, -1, 0)]);
        heap.scribble(seed);
        for (n, num, add) in acts {
            let _ = set.semop(&HOST, who(n), &[op(num, add, SEM_UNDO.into())]);
            let _ = set.resume(&HOST, who(n), Ticket(n), Parked::Interrupted);
            let _ = set.counts(&HOST, who(n), num.into());
            let _ = set.settle(&HOST, who(n).pid, who(0), Undo::Apply);
            let _ = set.verify();
        }
    }
}

#[test]
fn adjustments_change_hands_and_are_applied_once() {
    with_set(2, |set| {
        let undo = i32::from(SEM_UNDO);
        set.setval(&HOST, who(0), 0, 10).unwrap();
        assert_eq!(go(set, 1, &[op(0, -2, undo)]), Ok(None));
        assert_eq!(go(set, 2, &[op(0, -3, undo), op(1, 4, undo)]), Ok(None));
        set.hand_over(&HOST, who(1).pid, who(2).pid, who(0)).unwrap();
        set.settle(&HOST, who(1).pid, who(0), Undo::Apply).unwrap();
        assert_eq!(values(set), [5, 4]);
        // Again, and to a process without a row.
        set.hand_over(&HOST, who(1).pid, who(2).pid, who(0)).unwrap();
        set.hand_over(&HOST, who(2).pid, who(3).pid, who(0)).unwrap();
        set.verify().unwrap();
        set.settle(&HOST, who(2).pid, who(0), Undo::Apply).unwrap();
        assert_eq!(values(set), [5, 4]);
        set.settle(&HOST, who(3).pid, who(0), Undo::Apply).unwrap();
        assert_eq!(values(set), [10, 0]);
    });
}
