//! Clients that mean ill: each does what it can to its own objects, or to the broker, and everybody else is served as before. docs/security.md.

mod support;

use ring3_abi::ipc::IPC_CREAT;
use ring3_abi::limits::CONNECTIONS_OF_A_PROCESS;
use ring3_abi::msg::Msqid;
use ring3_abi::sem::{GETVAL, SEM_UNDO, SETVAL};
use ring3_abi::{Errno, Kind};
use ring3_wire::Op;
use ring3_wire::reply::{Detail, Opened};
use ring3_wire::request::{self, ProcFile, StatBy};
use rustix::fs::XattrFlags;
use std::fs::Permissions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use support::{Body, Broker, Client, is_root};
use zerocopy::IntoBytes;

/// Where a region's lock word is (docs/region-format.md).
const LOCK: u64 = 64;
/// The flag for waiters in it.
const WAITERS: u32 = 1 << 31;
/// What an honest request may take here, with a loaded machine's scheduling.
const PROMPT: i64 = 2000;

/// A queue's region in the file that its holder may write.
struct Region {
    file: OwnedFd,
    offset: u64,
}

impl Region {
    fn of(client: &Client, kind: Kind, id: i32) -> Region {
        let got = client.open(kind, id).expect("permitted");
        let opened: Opened = got.read();
        Region { file: got.fd.expect("read and written"), offset: opened.offset }
    }

    fn put(&self, at: u64, word: u32) {
        let wrote = rustix::io::pwrite(&self.file, &word.to_ne_bytes(), self.offset + at);
        assert_eq!(wrote, Ok(4));
    }
}

/// Asks, and does not wait for ever.
fn prompt(client: &Client) -> Result<support::Got, Errno> {
    assert!(client.answers_within(PROMPT), "no answer");
    client.answer()
}

#[test]
fn a_word_that_is_no_lock_is_spoiled_at_once() {
    let broker = Broker::new();
    let me = broker.own();
    for garbage in [WAITERS | 1 << 22 | 1, WAITERS, 1 << 30, u32::MAX] {
        let queue = me.get(Kind::Msg, 0, 0o600, 0).expect("made");
        Region::of(&me, Kind::Msg, queue).put(LOCK, garbage);
        me.send(
            Op::Stat,
            &request::Stat { kind: Kind::Msg.into(), id: queue, by: StatBy::Id.into() },
            &[],
            None,
        );
        assert_eq!(prompt(&me).map(drop), Err(Errno::EIDRM), "{garbage:#x}");
        assert_eq!(me.remove(Kind::Msg, queue), Ok(()));
    }
}

#[test]
fn who_keeps_a_lock_keeps_nobody_from_looking_and_removing() {
    let broker = Broker::new();
    let me = broker.own();
    let held: Vec<i32> = (0..40).map(|_| me.get(Kind::Msg, 0, 0o666, 0).expect("made")).collect();
    for &id in &held {
        Region::of(&me, Kind::Msg, id).put(LOCK, me.pid);
    }
    let other = broker.own();
    let ask = |index| request::Detail { kind: Kind::Msg.into(), index };
    for &id in &held {
        other.send(Op::Detail, &ask(id as u32), &[], None);
        let row: Detail = prompt(&other).expect("listed").read();
        assert_eq!(row.id, id);
    }
    let table = other.proc_text(ProcFile::SysvipcMsg);
    assert_eq!(table.lines().count(), held.len() + 1);
    other.send(Op::Info, &request::Info { kind: Kind::Msg.into(), usage: 1 }, &[], None);
    prompt(&other).expect("told");
    let state: Msqid = other.stat(Kind::Msg, held[0], StatBy::Id).expect("told").read();
    assert_eq!((state.perm.mode, state.qnum), (0o666, 0));
    for &id in &held {
        other.send(Op::Remove, &request::Object { kind: Kind::Msg.into(), id }, &[], None);
        assert_eq!(prompt(&other).map(drop), Ok(()));
        assert_eq!(other.stat(Kind::Msg, id, StatBy::Id).map(drop), Err(Errno::EINVAL));
    }
}

/// One that has ended with a lock is settled when the lock is needed; its end is heard after that, when nobody knows it any more.
#[test]
fn an_end_that_was_settled_before_it_is_heard_is_not_heard_for_ever() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let set = me.get(Kind::Sem, 0, 0o600, 1).expect("made");
    assert_eq!(me.semctl(set, 0, SETVAL, 3), Ok(0));
    let ((first, victim), (second, holder)) = (broker.embodied(0, 0), broker.embodied(0, 0));
    assert_eq!(victim.semop(set, &[(0, -2, SEM_UNDO)]), Ok(()));
    assert_eq!(holder.semop(set, &[(0, -1, SEM_UNDO)]), Ok(()));
    let region = Region::of(&me, Kind::Sem, set);
    broker.standing_still(|| {
        region.put(LOCK, holder.pid);
        first.kill();
        second.kill();
        me.send(Op::SemCtl, &request::SemCtl { id: set, semnum: 0, cmd: GETVAL, val: 0 }, &[], None);
    });
    assert_eq!(prompt(&me).map(|got| got.value), Ok(3));
}

#[test]
fn what_needs_a_lock_that_stays_taken_is_refused_in_the_end() {
    let broker = Broker::new();
    let me = broker.own();
    let queue = me.get(Kind::Msg, 0, 0o666, 0).expect("made");
    Region::of(&me, Kind::Msg, queue).put(LOCK, me.pid);
    assert_eq!(me.set(Kind::Msg, queue, 0, 0, 0o600, 100), Err(Errno::ETIMEDOUT));
    assert_eq!(me.msgsnd(queue, 1, b"text"), Err(Errno::ETIMEDOUT));
    // A signal ends the wait before.
    me.send_message(queue, 1, b"text", 0);
    // One that comes before the wait has begun is nothing to the broker: it is sent again.
    while !me.answers_within(50) {
        me.note(Op::Cancel, &());
    }
    assert_eq!(me.answer().map(drop), Err(Errno::EINTR));
    assert_eq!(me.remove(Kind::Msg, queue), Ok(()));
}

/// The time of a request of somebody who has nothing to do with it all: the best of a few, for the machine has other work as well.
fn pace(client: &Client) -> Duration {
    let one = |_| {
        let began = Instant::now();
        client.get(Kind::Sem, 77, IPC_CREAT | 0o600, 1).expect("made or there");
        began.elapsed()
    };
    let mut times: Vec<Duration> = (0..300).map(one).collect();
    times.sort_unstable();
    times[150]
}

#[test]
fn locks_that_stay_taken_cost_others_little() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let honest = broker.own();
    let before = pace(&honest);
    let (_body, me) = broker.embodied(1000, 1000);
    let queues: Vec<i32> = (0..200).map(|_| me.get(Kind::Msg, 0, 0o600, 0).expect("made")).collect();
    let lines: Vec<Client> = queues
        .iter()
        .map(|&id| {
            Region::of(&me, Kind::Msg, id).put(LOCK, me.pid);
            let line =
                Client { fd: broker.connect(), pid: me.pid, uid: me.uid, gid: me.gid, image: me.image };
            line.send_message(id, 1, b"text", 0);
            line
        })
        .collect();
    let meanwhile = pace(&honest);
    assert!(meanwhile < 3 * before + Duration::from_micros(300), "{before:?} became {meanwhile:?}");
    drop(lines);
}

/// A program of root's with the set-user-ID bit, or with a capability of its own, that sleeps.
struct Privileged(PathBuf);

impl Privileged {
    fn new(name: &str) -> Privileged {
        let path = std::env::temp_dir().join(format!("ring3-{name}-{}", std::process::id()));
        std::fs::copy("/bin/sleep", &path).expect("copied");
        Privileged(path)
    }

    fn set_user_id(self) -> Privileged {
        std::fs::set_permissions(&self.0, Permissions::from_mode(0o4755)).expect("changed");
        self
    }

    /// `None`: this file system or this root cannot.
    fn capable(self) -> Option<Privileged> {
        std::fs::set_permissions(&self.0, Permissions::from_mode(0o755)).expect("changed");
        // struct vfs_cap_data, version 2, effective: every capability below 32.
        let caps: [u32; 5] = [0x0200_0001, !(1 << 24), 0, 0, 0];
        let set = rustix::fs::setxattr(&self.0, "security.capability", caps.as_bytes(), XattrFlags::empty());
        set.is_ok().then_some(self)
    }
}

impl Drop for Privileged {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What user 1000 gets who asks for something of root's and executes a program before the broker has looked.
fn asked_and_executed(broker: &Broker, program: &Privileged, op: Op, ask: [u32; 2]) -> Result<(), Errno> {
    let body = Body::becoming(1000, 1000, &program.0);
    let client = broker.client(body.pid(), 1000, 1000);
    broker.standing_still(|| {
        client.send(op, &ask, &[], None);
        body.go_on();
    });
    client.answer().map(drop)
}

#[test]
fn rights_are_those_of_the_sender_when_it_sent() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let root = broker.own();
    let queue = root.get(Kind::Msg, 0, 0o600, 0).expect("made");
    let programs = [Some(Privileged::new("suid").set_user_id()), Privileged::new("capable").capable()];
    for program in programs.iter().flatten() {
        let ask = [Kind::Msg as u32, queue.cast_unsigned()];
        assert_eq!(
            asked_and_executed(&broker, program, Op::Open, ask),
            Err(Errno::EACCES),
            "{:?}",
            program.0
        );
        assert_eq!(
            asked_and_executed(&broker, program, Op::Remove, ask),
            Err(Errno::EPERM),
            "{:?}",
            program.0
        );
    }
    assert!(root.stat(Kind::Msg, queue, StatBy::Id).is_ok());
}

#[test]
fn nobody_changes_the_size_of_a_file_of_regions() {
    let broker = Broker::new();
    let me = broker.own();
    for kind in [Kind::Msg, Kind::Sem] {
        let first = me.get(kind, 0, 0o640, 10).expect("made");
        let region = Region::of(&me, kind, first);
        for size in [0, 4096, 1 << 40] {
            assert_eq!(rustix::fs::ftruncate(&region.file, size), Err(rustix::io::Errno::PERM));
        }
        let more = rustix::fs::FallocateFlags::KEEP_SIZE;
        assert!(rustix::fs::fallocate(&region.file, more, 1 << 40, 4096).is_err());
        // More than the first file has room for.
        let ids: Vec<i32> = (0..64).map(|_| me.get(kind, 0, 0o640, 10).expect("room")).collect();
        for id in ids {
            assert!(me.open(kind, id).expect("permitted").fd.is_some());
            assert_eq!(me.remove(kind, id), Ok(()));
        }
    }
}

#[test]
fn who_has_lost_a_right_keeps_a_dead_copy() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let (_body, other) = broker.embodied(1000, 1000);
    for kind in [Kind::Msg, Kind::Sem] {
        let id = me.get(kind, 0, 0o666, 1).expect("made");
        let old = Region::of(&other, kind, id);
        assert_eq!(me.set(kind, id, 0, 0, 0o600, 16384), Ok(()));
        assert_eq!(other.open(kind, id).map(drop), Err(Errno::EACCES));
        // State, lock, journal, lists.
        (0..512).step_by(4).for_each(|at| old.put(at, u32::MAX));
        assert!(me.stat(kind, id, StatBy::Id).is_ok(), "{kind:?}");
        if kind == Kind::Sem {
            assert_eq!(me.semctl(id, 0, GETVAL, 0), Ok(0));
        }
        assert_eq!(me.remove(kind, id), Ok(()));
    }
}

#[test]
fn a_flood_of_notes_is_one_clients_loss() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let honest = broker.own();
    let segment = honest.get(Kind::Shm, 0, 0o666, 4096).expect("made");
    let before = pace(&honest);
    let (_body, me) = broker.embodied(1000, 1000);
    // Its other end stays: the broker would hear at once of one that is gone.
    let (kept, _end) = rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .expect("a pair");
    for _ in 0..20_000 {
        me.send(Op::Adopt, &(), &[], Some(&kept));
    }
    assert!(me.stat(Kind::Shm, segment, StatBy::Id).is_ok(), "the broker has room still");
    // The broker is this process; others of its tests have some descriptors, too.
    let open = std::fs::read_dir("/proc/self/fd").expect("readable").count();
    assert!(open < CONNECTIONS_OF_A_PROCESS + 2000, "{open} descriptors");
    let (_other, fresh) = broker.embodied(1001, 1001);
    assert!(fresh.stat(Kind::Shm, segment, StatBy::Id).is_ok());
    // Says that it executes something, and does not.
    me.note(Op::Exec, &request::Exec { alone: 0 });
    let meanwhile = pace(&honest);
    assert!(meanwhile < 3 * before + Duration::from_micros(300), "{before:?} became {meanwhile:?}");
    // More forks than anybody has children.
    assert!(me.attach(segment, 0).is_ok());
    let fork = |token: u64| request::Fork { token, shares: 0, note: 0 };
    let sent = (0..100_000).take_while(|&token| me.try_note(Op::Fork, &fork(token))).count();
    assert!(sent < 100_000);
    let began = Instant::now();
    while honest.segment(segment).nattch > 1 {
        assert!(began.elapsed() < Duration::from_secs(2), "{}", honest.segment(segment).nattch);
    }
}
