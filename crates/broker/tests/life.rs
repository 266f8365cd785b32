//! Processes: deaths, forks, execs, hang-ups, and calls that sleep in the broker.

mod support;

use ring3_abi::ipc::IPC_CREAT;
use ring3_abi::sem::{GETNCNT, GETVAL, SEM_UNDO, SETVAL};
use ring3_abi::{Errno, IpcId, Kind};
use ring3_wire::Op;
use ring3_wire::claim::OwnPid;
use ring3_wire::request::{self, Limit};
use support::{Body, Broker, is_root};

const NEW: i32 = IPC_CREAT | 0o666;

#[test]
fn undo_and_attachments_of_the_dead_are_settled() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let set = me.get(Kind::Sem, 1, NEW, 2).expect("made");
    let segment = me.get(Kind::Shm, 1, NEW, 4096).expect("made");
    for _ in 0..20 {
        let (body, victim) = broker.embodied(1000, 1000);
        assert_eq!(me.semctl(set, 0, SETVAL, 3), Ok(0));
        assert_eq!(victim.semop(set, &[(0, -2, SEM_UNDO), (1, 1, 0)]), Ok(()));
        victim.attach(segment, 0).expect("attached");
        victim.attach(segment, 0).expect("attached");
        assert_eq!((me.semctl(set, 0, GETVAL, 0), me.segment(segment).nattch), (Ok(1), 2));
        let pid = body.kill();
        // No Settle: the very next request must find it done.
        assert_eq!(me.semctl(set, 0, GETVAL, 0), Ok(3));
        let state = me.segment(segment);
        assert_eq!((state.nattch, state.lpid), (0, pid.cast_signed()));
        assert!(state.dtime > 0);
        me.settle(pid);
    }
    assert_eq!(me.semctl(set, 1, GETVAL, 0), Ok(20));
}

#[test]
fn a_death_comes_before_a_request_that_is_met_with_it() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    me.set_limit(Limit::Shmmni, 1).expect("allowed");
    let segment = me.get(Kind::Shm, 1, NEW, 4096).expect("made");
    let (body, victim) = broker.embodied(1000, 1000);
    victim.attach(segment, 0).expect("attached");
    assert_eq!(me.remove(Kind::Shm, segment), Ok(()));
    assert_eq!(me.get(Kind::Shm, 2, NEW, 4096), Err(Errno::ENOSPC));
    broker.standing_still(|| {
        body.kill();
        let ask = request::Get { kind: Kind::Shm.into(), key: 2, flags: NEW, lease: 0, size: 4096 };
        me.send(Op::Get, &ask, &[], None);
    });
    // The dead process was the last that had the removed segment.
    assert!(me.answer().is_ok());
}

#[test]
fn a_death_wakes_who_sleeps_in_the_broker() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let set = me.get(Kind::Sem, 1, NEW, 1).expect("made");
    assert_eq!(me.semctl(set, 0, SETVAL, 1), Ok(0));
    let (body, victim) = broker.embodied(1000, 1000);
    let (_sleeper, sleeper) = broker.embodied(1001, 1001);
    assert_eq!(victim.semop(set, &[(0, -1, SEM_UNDO)]), Ok(()));
    sleeper.send_semop(set, &[(0, -1, 0)], u64::MAX);
    while me.semctl(set, 0, GETNCNT, 0) != Ok(1) {
        std::thread::yield_now();
    }
    body.kill();
    assert_eq!(sleeper.answer().map(drop), Ok(()));
    assert_eq!(me.semctl(set, 0, GETVAL, 0), Ok(0));
}

#[test]
fn sleepers_are_cancelled_timed_out_moved_and_removed() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let set = me.get(Kind::Sem, 1, NEW, 1).expect("made");
    let (_body, sleeper) = broker.embodied(1001, 1001);
    let asleep = || {
        while me.semctl(set, 0, GETNCNT, 0) != Ok(1) {
            std::thread::yield_now();
        }
    };
    sleeper.send_semop(set, &[(0, -1, 0)], u64::MAX);
    asleep();
    sleeper.note(Op::Cancel, &());
    assert_eq!(sleeper.answer().map(drop), Err(Errno::EINTR));
    assert_eq!(me.semctl(set, 0, GETNCNT, 0), Ok(0));
    sleeper.send_semop(set, &[(0, -1, 0)], 1);
    assert_eq!(sleeper.answer().map(drop), Err(Errno::EAGAIN));
    // Rights taken away while it sleeps do not end a semop.
    sleeper.send_semop(set, &[(0, -1, 0)], u64::MAX);
    asleep();
    assert_eq!(me.set(Kind::Sem, set, 0, 0, 0o600, 0), Ok(()));
    assert_eq!(me.semctl(set, 0, SETVAL, 1), Ok(0));
    assert_eq!(sleeper.answer().map(drop), Ok(()));
    assert_eq!(me.set(Kind::Sem, set, 0, 0, 0o666, 0), Ok(()));
    sleeper.send_semop(set, &[(0, -1, 0)], u64::MAX);
    asleep();
    assert_eq!(me.remove(Kind::Sem, set), Ok(()));
    assert_eq!(sleeper.answer().map(drop), Err(Errno::EIDRM));
}

#[test]
fn forks_count_whoever_speaks_first() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let segment = me.get(Kind::Shm, 1, NEW, 4096).expect("made");
    let token = me.attach(segment, 0).expect("attached").value;
    // The parent first. Its child is one indeed: this process has spawned it.
    let child = Body::new(0, 0);
    me.note(Op::Fork, &request::Fork { token: 1, shares: 0, note: 0 });
    assert_eq!(me.segment(segment).nattch, 2);
    me.note(Op::Forked, &request::Forked { token: 1, pid: OwnPid(child.pid()), pad: 0 });
    let as_child =
        support::Client { fd: me.fd.try_clone().expect("dup"), pid: child.pid(), uid: 0, gid: 0, image: 0 };
    as_child.note(Op::Born, &request::Fork { token: 1, shares: 0, note: 0 });
    assert_eq!(me.segment(segment).nattch, 2);
    child.kill();
    assert_eq!(me.segment(segment).nattch, 1);
    // The child first, and it has its parent's token.
    let child = Body::new(0, 0);
    me.note(Op::Fork, &request::Fork { token: 2, shares: 0, note: 0 });
    let as_child =
        support::Client { fd: me.fd.try_clone().expect("dup"), pid: child.pid(), uid: 0, gid: 0, image: 0 };
    as_child.note(Op::Born, &request::Fork { token: 2, shares: 0, note: 0 });
    me.note(Op::Forked, &request::Forked { token: 2, pid: OwnPid(child.pid()), pad: 0 });
    as_child.detach(token);
    assert_eq!(me.segment(segment).nattch, 1);
    assert_eq!(me.segment(segment).lpid, child.pid().cast_signed());
    // No child came of it; a stranger's number is not believed.
    me.note(Op::Fork, &request::Fork { token: 3, shares: 0, note: 0 });
    me.note(Op::Forked, &request::Forked { token: 3, pid: OwnPid(1), pad: 0 });
    assert_eq!(me.segment(segment).nattch, 2);
    me.note(Op::Forked, &request::Forked { token: 3, pid: OwnPid(0), pad: 0 });
    assert_eq!(me.segment(segment).nattch, 1);
    // A child that died and was reaped before its parent could name it.
    let dead = Body::new(0, 0).kill();
    me.note(Op::Fork, &request::Fork { token: 4, shares: 0, note: 0 });
    me.note(Op::Forked, &request::Forked { token: 4, pid: OwnPid(dead), pad: 0 });
    assert_eq!((me.segment(segment).nattch, me.segment(segment).lpid), (1, dead.cast_signed()));
}

#[test]
fn exec_drops_attachments_and_keeps_undo() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let set = me.get(Kind::Sem, 1, NEW, 1).expect("made");
    let segment = me.get(Kind::Shm, 1, NEW, 4096).expect("made");
    let (body, mut other) = broker.embodied(1000, 1000);
    assert_eq!(other.semop(set, &[(0, 4, SEM_UNDO)]), Ok(()));
    other.attach(segment, 0).expect("attached");
    // A reconnect of the same image changes nothing.
    let again = broker.client(other.pid, other.uid, other.gid);
    assert_eq!(me.segment(segment).nattch, 1);
    // Another image does.
    other = again;
    other.image += 1;
    other.hello();
    assert_eq!((me.segment(segment).nattch, me.semctl(set, 0, GETVAL, 0)), (0, Ok(4)));
    // So does the note, confirmed by hanging up; a failed exec takes it back. (A sleep has never mapped the directory, so the fallback
    // that looks into its maps would see the image gone at once: the note alone must do here.)
    other.attach(segment, 0).expect("attached");
    other.note(Op::Exec, &());
    drop(other);
    while me.segment(segment).nattch != 0 {
        std::thread::yield_now();
    }
    assert_eq!(me.semctl(set, 0, GETVAL, 0), Ok(4));
    body.kill();
    assert_eq!(me.semctl(set, 0, GETVAL, 0), Ok(0));
}

#[test]
fn segments_without_a_maker_go_when_forced() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let (body, maker) = broker.embodied(1000, 1000);
    let orphan = maker.get(Kind::Shm, 0, 0o600, 1).expect("made");
    let held = maker.get(Kind::Shm, 0, 0o666, 1).expect("made");
    let mine = me.get(Kind::Shm, 0, 0o600, 1).expect("made");
    let token = me.attach(held, 0).expect("attached").value;
    body.kill();
    let gone = |id| me.stat(Kind::Shm, id, request::StatBy::IndexAny).map(drop) == Err(Errno::EINVAL);
    assert!(!gone(orphan));
    assert_eq!(me.set_limit(Limit::ShmRmidForced, 1), Ok(()));
    assert!(gone(orphan) && !gone(held) && !gone(mine));
    me.detach(token);
    assert!(gone(held));
    let token = me.attach(mine, 0).expect("attached").value;
    me.detach(token);
    assert!(gone(mine));
}

#[test]
fn a_broken_packet_ends_its_connection_and_no_other() {
    let broker = Broker::new();
    let me = broker.own();
    let other = broker.visitor();
    rustix::net::send(&other.fd, b"nonsense", rustix::net::SendFlags::empty()).expect("sent");
    let mut byte = [0u8; 1];
    let got = rustix::io::read(&other.fd, &mut byte);
    assert!(matches!(got, Ok(0) | Err(rustix::io::Errno::CONNRESET)), "{got:?}");
    assert!(me.get(Kind::Msg, 0, 0o600, 0).is_ok());
    let stranger = broker.visitor();
    // A second Hello of the same process is a reconnect; a stranger without Hello may look, not make.
    assert!(stranger.call(Op::Limits, &()).is_ok());
}

#[test]
fn many_sets_share_few_files_and_ranges_are_zeroed() {
    let broker = Broker::new();
    let me = broker.own();
    let ids: Vec<_> = (0..500).map(|_| me.get(Kind::Sem, 0, 0o600, 2).expect("made")).collect();
    let inode = |id| {
        let fd = me.open(Kind::Sem, id).expect("open").fd.expect("a file");
        rustix::fs::fstat(fd).expect("stat").st_ino
    };
    let files: std::collections::BTreeSet<u64> = ids.iter().map(|&id| inode(id)).collect();
    assert!(files.len() <= 12, "{}", files.len());
    for &id in &ids {
        assert_eq!(me.semop(id, &[(0, 7, 0)]), Ok(()));
        assert_eq!(me.remove(Kind::Sem, id), Ok(()));
        me.note(Op::Close, &request::Object { kind: Kind::Sem.into(), id });
    }
    for _ in 0..500 {
        let id = me.get(Kind::Sem, 0, 0o600, 2).expect("made");
        assert_eq!(me.semctl(id, 0, GETVAL, 0), Ok(0));
    }
}

/// Writes the lock word of an object that `client` may map: holder 0 frees it.
fn hold_lock(client: &support::Client, set: i32, holder: u32) {
    let got = client.open(Kind::Sem, set).expect("open");
    let place: ring3_wire::reply::Opened = got.read();
    let lock = std::mem::offset_of!(ring3_engine::object::Header, lock) as u64;
    let fd = got.fd.expect("writable");
    rustix::io::pwrite(&fd, &holder.to_ne_bytes(), place.offset + lock).expect("written");
}

#[test]
fn locks_of_the_dead_and_of_nobody_are_freed() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let set = me.get(Kind::Sem, 1, NEW, 1).expect("made");
    let (body, victim) = broker.embodied(1000, 1000);
    assert_eq!(victim.semop(set, &[(0, 1, SEM_UNDO)]), Ok(()));
    hold_lock(&victim, set, victim.pid);
    let pid = body.kill();
    me.settle(pid);
    assert_eq!(me.semctl(set, 0, GETNCNT, 0), Ok(0));
    assert_eq!(me.semctl(set, 0, GETVAL, 0), Ok(0));
    hold_lock(&me, set, 4_000_000);
    assert_eq!(me.semctl(set, 0, GETNCNT, 0), Ok(0));
}

#[test]
fn a_lock_of_the_living_is_waited_for_and_holds_nobody_else_up() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let set = me.get(Kind::Sem, 1, NEW, 1).expect("made");
    let (_body, holder) = broker.embodied(1000, 1000);
    hold_lock(&holder, set, holder.pid);
    me.send(Op::SemCtl, &request::SemCtl { id: set, semnum: 0, cmd: GETNCNT, val: 0 }, &[], None);
    for _ in 0..100 {
        assert!(holder.get(Kind::Msg, 0, 0o600, 0).is_ok());
    }
    hold_lock(&holder, set, 0);
    assert_eq!(me.answer().map(|got| got.value), Ok(0));
}

#[test]
fn a_process_that_was_given_up_is_not_for_a_lock_that_it_does_not_hold() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let sets = [1, 2].map(|key| me.get(Kind::Sem, key, NEW, 1).expect("made"));
    let (_body, idle) = broker.embodied(1000, 1000);
    hold_lock(&me, sets[0], idle.pid);
    let stuck = |id| me.call(Op::Stuck, &request::Stuck { kind: Kind::Sem.into(), id, holder: idle.pid });
    let errno = loop {
        match stuck(sets[0]) {
            Ok(_) => std::thread::yield_now(),
            Err(errno) => break errno,
        }
    };
    assert_eq!(errno, Errno::ETIMEDOUT);
    assert!(stuck(sets[1]).is_ok(), "nobody holds it");
    hold_lock(&me, sets[0], 0);
    assert!(stuck(sets[0]).is_ok(), "nobody holds it any more");
}

#[test]
fn what_an_image_left_is_settled_before_the_next_one_comes_in() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let set = me.get(Kind::Sem, 1, NEW, 1).expect("made");
    let (_bodies, mut clients): (Vec<_>, Vec<_>) = (0..2).map(|_| broker.embodied(1000, 1000)).unzip();
    let (mut next, holder) = (clients.remove(0), clients.remove(0));
    assert!(next.open(Kind::Sem, set).is_ok());
    hold_lock(&holder, set, holder.pid);
    next.image += 1;
    next.hello();
    next.send(Op::Open, &request::Open { kind: Kind::Sem.into(), id: set }, &[], None);
    for _ in 0..100 {
        assert!(me.get(Kind::Msg, 0, 0o600, 0).is_ok());
    }
    assert!(!next.answers_within(0), "the lock of another keeps what the image left");
    hold_lock(&holder, set, 0);
    assert!(next.answer().is_ok());
}

#[test]
fn a_further_connection_carries_a_call_that_sleeps() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let set = me.get(Kind::Sem, 1, NEW, 1).expect("made");
    let (ours, theirs) = rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .expect("a pair");
    me.send(Op::Adopt, &(), &[], Some(&theirs));
    let second = support::Client { fd: ours, pid: me.pid, uid: me.uid, gid: me.gid, image: me.image };
    second.send_semop(set, &[(0, -1, 0)], u64::MAX);
    while me.semctl(set, 0, GETNCNT, 0) != Ok(1) {
        std::thread::yield_now();
    }
    drop(second);
    while me.semctl(set, 0, GETNCNT, 0) != Ok(0) {
        std::thread::yield_now();
    }
    assert_eq!(me.semctl(set, 0, SETVAL, 1), Ok(0));
}

/// How long it takes to remove a few queues and to let their mappings go, the best of some.
fn removals(me: &support::Client, ids: &mut Vec<i32>) -> std::time::Duration {
    let mut one = || {
        let began = std::time::Instant::now();
        for id in ids.drain(..20) {
            assert_eq!(me.remove(Kind::Msg, id), Ok(()));
            me.note(Op::Close, &request::Object { kind: Kind::Msg.into(), id });
        }
        began.elapsed()
    };
    (0..5).map(|_| one()).min().expect("five")
}

#[test]
fn what_is_in_use_does_not_slow_down_a_removal() {
    let broker = Broker::new();
    let me = broker.own();
    let make = |count| {
        let one = |_| {
            let id = me.get(Kind::Msg, 0, 0o600, 0).expect("made");
            me.open(Kind::Msg, id).expect("open");
            id
        };
        (0..count).map(one).collect::<Vec<i32>>()
    };
    let mut few = make(200);
    let alone = removals(&me, &mut few);
    let mut many = make(16_000);
    let beside = removals(&me, &mut many);
    assert!(beside < 3 * alone + std::time::Duration::from_millis(4), "{alone:?} became {beside:?}");
}

#[test]
fn what_the_dead_asked_for_is_done_before_their_end_or_never() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let key = 0x51;
    let id = me.get(Kind::Msg, key, NEW, 0).expect("made");
    let (body, victim) = broker.embodied(0, 0);
    // Whoever is new is looked at once more; that is over after another request.
    assert_eq!(me.get(Kind::Msg, key, 0, 0), Ok(id));
    broker.standing_still(|| {
        // A note puts this connection in front of the victim's, whatever follows.
        me.note(Op::Keep, &());
        victim.send(Op::Remove, &request::Object { kind: Kind::Msg.into(), id }, &[], None);
        body.kill();
        me.send(
            Op::Get,
            &request::Get { kind: Kind::Msg.into(), key, flags: 0, lease: 0, size: 0 },
            &[],
            None,
        );
    });
    let found = me.answer().map(|got| got.value as IpcId);
    match found {
        // The queue was found after the victim's end, so the victim did not remove it.
        Ok(found) => assert_eq!((found, me.remove(Kind::Msg, id)), (id, Ok(()))),
        Err(errno) => assert_eq!(errno, Errno::ENOENT),
    }
}

#[test]
fn a_signal_ends_a_call_that_the_broker_has_not_tried_yet() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let set = me.get(Kind::Sem, 1, NEW, 1).expect("made");
    let (_body, sleeper) = broker.embodied(1001, 1001);
    broker.standing_still(|| {
        sleeper.send_semop(set, &[(0, -1, 0)], u64::MAX);
        sleeper.note(Op::Cancel, &());
    });
    assert!(sleeper.answers_within(5000), "it sleeps on");
    assert_eq!(sleeper.answer().map(drop), Err(Errno::EINTR));
    // What needs no sleep is done all the same.
    broker.standing_still(|| {
        sleeper.send_semop(set, &[(0, 2, 0)], u64::MAX);
        sleeper.note(Op::Cancel, &());
    });
    assert_eq!(sleeper.answer().map(drop), Ok(()));
    assert_eq!(me.semctl(set, 0, GETVAL, 0), Ok(2));
}
