//! A broker that is forgotten, and another that goes on from its state: everybody finds what was there.

mod support;

use ring3_abi::{Errno, Kind};
use support::{Broker, is_root};

const CREATE: i32 = 0o1000 | 0o600;

#[test]
fn objects_and_their_names_stay() {
    let broker = Broker::new();
    let me = broker.own();
    let queue = me.get(Kind::Msg, 5, CREATE, 0).expect("made");
    let set = me.get(Kind::Sem, 6, CREATE, 3).expect("made");
    let segment = me.get(Kind::Shm, 7, CREATE, 8192).expect("made");
    me.open(Kind::Sem, set).expect("opened");
    let token = me.attach(segment, 0).expect("attached").value;
    broker.replace();
    assert_eq!(me.get(Kind::Msg, 5, 0, 0), Ok(queue));
    assert_eq!(me.get(Kind::Sem, 6, 0, 3), Ok(set));
    assert_eq!(me.segment(segment).nattch, 1);
    me.detach(token);
    assert_eq!(me.segment(segment).nattch, 0);
    broker.replace();
    assert_eq!(me.segment(segment).nattch, 0);
    for (kind, id) in [(Kind::Msg, queue), (Kind::Sem, set), (Kind::Shm, segment)] {
        me.remove(kind, id).expect("removed");
    }
    broker.replace();
    assert_eq!(me.get(Kind::Msg, 5, 0, 0), Err(Errno::ENOENT));
    // The next identifiers are those that would have come.
    let next = [Kind::Msg, Kind::Sem, Kind::Shm].map(|kind| me.get(kind, 0, CREATE, 1).expect("made"));
    assert_eq!(next, [1, 1, 1]);
}

#[test]
fn messages_and_values_stay_and_sleepers_sleep_on() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    // Those who may write and not read are served by the broker.
    let (_body, other) = broker.embodied(1000, 1000);
    let queue = me.get(Kind::Msg, 0, 0o666, 0).expect("made");
    let set = me.get(Kind::Sem, 0, 0o666, 1).expect("made");
    assert_eq!(other.msgsnd(queue, 3, b"before"), Ok(()));
    broker.replace();
    assert_eq!(me.msgrcv(queue, 0, 100, 0), Ok((3, b"before".to_vec())));
    other.send_receive(queue, 9, 100, 0);
    assert!(!other.answers_within(20));
    broker.replace();
    assert_eq!(me.msgsnd(queue, 9, b"after"), Ok(()));
    assert_eq!(other.message(), Ok((9, b"after".to_vec())));
    other.send_semop(set, &[(0, -2, 0)], u64::MAX);
    assert!(!other.answers_within(20));
    broker.replace();
    assert_eq!(me.semop(set, &[(0, 3, 0)]), Ok(()));
    assert!(other.answer().is_ok());
    broker.replace();
    assert_eq!(me.semctl(set, 0, ring3_abi::sem::GETVAL, 0), Ok(1));
}

#[test]
fn a_death_that_nobody_saw_is_settled() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let set = me.get(Kind::Sem, 0, 0o666, 1).expect("made");
    let segment = me.get(Kind::Shm, 0, 0o666, 4096).expect("made");
    let (body, other) = broker.embodied(0, 0);
    other.attach(segment, 0).expect("attached");
    assert_eq!(other.semop(set, &[(0, 5, ring3_abi::sem::SEM_UNDO)]), Ok(()));
    assert_eq!(me.semctl(set, 0, ring3_abi::sem::GETVAL, 0), Ok(5));
    let dead = broker.standing_still(|| body.kill());
    broker.replace();
    me.settle(dead);
    assert_eq!(me.semctl(set, 0, ring3_abi::sem::GETVAL, 0), Ok(0));
    assert_eq!(me.segment(segment).nattch, 0);
}
