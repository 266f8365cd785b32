//! get, stat, set, remove: results and errno as Linux 6.18 gave them for the same calls.

mod support;

use ring3_abi::ipc::{IPC_CREAT, IPC_EXCL};
use ring3_abi::limits::Limits;
use ring3_abi::msg::{Msginfo, Msqid};
use ring3_abi::sem::{Semid, Seminfo};
use ring3_abi::shm::{SHM_DEST, SHM_LOCKED, ShmInfo, Shmid, Shminfo};
use ring3_abi::{Errno, Kind};
use ring3_wire::Op;
use ring3_wire::request::{self, Limit, ProcFile, StatBy};
use support::{Broker, is_capable, is_root};

const NEW: i32 = IPC_CREAT | 0o600;

#[test]
fn keys_flags_and_sizes() {
    let broker = Broker::new();
    let me = broker.own();
    assert_eq!(me.get(Kind::Msg, 5, 0, 0), Err(Errno::ENOENT));
    let queue = me.get(Kind::Msg, 5, NEW, 0).expect("made");
    assert_eq!(me.get(Kind::Msg, 5, 0, 0), Ok(queue));
    assert_eq!(me.get(Kind::Msg, 5, NEW | IPC_EXCL, 0), Err(Errno::EEXIST));
    for size in [-1, 32001] {
        assert_eq!(me.get(Kind::Sem, 77, NEW, size), Err(Errno::EINVAL), "{size}");
    }
    assert_eq!(me.get(Kind::Sem, 0, 0o600, 0), Err(Errno::EINVAL));
    let set = me.get(Kind::Sem, 77, NEW, 3).expect("made");
    assert_eq!(me.get(Kind::Sem, 77, 0, 4), Err(Errno::EINVAL));
    assert_eq!(me.get(Kind::Sem, 77, 0, 0), Ok(set));
    assert_eq!(me.get(Kind::Sem, 77, 0, -1), Err(Errno::EINVAL));
    assert_eq!(me.get(Kind::Sem, 77, IPC_CREAT | IPC_EXCL, 4), Err(Errno::EEXIST));
    for size in [0, -(1 << 24) + 1, -(1 << 24) - 1, i64::MIN] {
        assert_eq!(me.get(Kind::Shm, 0, 0o600, size), Err(Errno::EINVAL), "{size}");
    }
    assert_eq!(me.get(Kind::Shm, 0, 0o600, 1 << 62), Err(Errno::ENOMEM));
    assert_eq!(me.get(Kind::Shm, 0, 0o4600 | 13 << 26, 1), Err(Errno::EINVAL));
    let segment = me.get(Kind::Shm, 9, NEW, 5000).expect("made");
    assert_eq!(me.get(Kind::Shm, 9, 0, 5001), Err(Errno::EINVAL));
    assert_eq!(me.get(Kind::Shm, 9, 0, 1), Ok(segment));
    assert_eq!(me.remove(Kind::Msg, queue + 32768), Err(Errno::EINVAL));
    assert_eq!(me.remove(Kind::Msg, queue), Ok(()));
    assert_eq!(me.remove(Kind::Msg, queue), Err(Errno::EINVAL));
    assert_eq!(me.get(Kind::Msg, 5, 0, 0), Err(Errno::ENOENT));
}

#[test]
fn limits_end_in_enospc_and_wished_identifiers_count_once() {
    let limits = Limits { msgmni: 2, semmns: 10, shmall: 3, ..Limits::default() };
    let broker = Broker::with(limits);
    let me = broker.own();
    assert_eq!([me.get(Kind::Msg, 0, 0o600, 0), me.get(Kind::Msg, 0, 0o600, 0)], [Ok(0), Ok(1)]);
    assert_eq!(me.get(Kind::Msg, 0, 0o600, 0), Err(Errno::ENOSPC));
    assert_eq!(me.get(Kind::Sem, 0, 0o600, 11), Err(Errno::ENOSPC));
    assert_eq!(me.get(Kind::Sem, 0, 0o600, 10), Ok(0));
    assert_eq!(me.get(Kind::Sem, 0, 0o600, 1), Err(Errno::ENOSPC));
    assert_eq!(me.get(Kind::Shm, 0, 0o600, 4 * 4096), Err(Errno::ENOSPC));
    assert_eq!(me.get(Kind::Shm, 0, 0o600, 3 * 4096), Ok(0));
    assert_eq!(me.remove(Kind::Shm, 0), Ok(()));
    assert_eq!(me.set_limit(Limit::ShmNextId, 5 * 32768 + 9), Ok(()));
    assert_eq!(me.get(Kind::Shm, 0, 0o600, 1), Ok(5 * 32768 + 9));
    assert_eq!(me.get(Kind::Shm, 0, 0o600, 1), Ok(1));
    assert_eq!(me.set_limit(Limit::Semmni, 32769), Err(Errno::ERANGE));
    assert_eq!(me.set_limit(Limit::Msgmax, -1), Err(Errno::EINVAL));
    let told: Limits = me.call(Op::Limits, &()).expect("told").read();
    assert_eq!(told, Limits { shm_next_id: -1, ..limits });
}

#[test]
fn states_and_their_changes() {
    let broker = Broker::new();
    let me = broker.own();
    let set = me.get(Kind::Sem, 77, 0o640 | IPC_CREAT, 3).expect("made");
    let state: Semid = me.stat(Kind::Sem, set, StatBy::Id).expect("readable").read();
    assert_eq!((state.nsems, state.otime, state.perm.mode, state.perm.key), (3, 0, 0o640, 77));
    assert!(state.ctime > 0);
    assert_eq!(me.set(Kind::Sem, set, u32::MAX, 0, 0, 0), Err(Errno::EINVAL));
    assert_eq!(me.semop(set, &[(0, 5, 0)]), Ok(()));
    assert_eq!(me.set(Kind::Sem, set, 5, 6, 0o7777, 0), Ok(()));
    let state: Semid = me.stat(Kind::Sem, set, StatBy::IndexAny).expect("there").read();
    assert_eq!((state.perm.uid, state.perm.gid, state.perm.cuid, state.perm.mode), (5, 6, me.uid, 0o777));
    assert_eq!(me.semctl(set, 0, ring3_abi::sem::GETVAL, 0), Ok(5), "the value has moved along");
    let queue = me.get(Kind::Msg, 8, NEW, 0).expect("made");
    assert_eq!(me.set(Kind::Msg, queue, me.uid, me.gid, 0o600, 100), Ok(()));
    let state: Msqid = me.stat(Kind::Msg, queue, StatBy::Id).expect("readable").read();
    assert_eq!((state.qbytes, state.qnum, state.lspid), (100, 0, 0));
    let big = me.set(Kind::Msg, queue, me.uid, me.gid, 0o600, 1 << 20);
    assert_eq!(big, if is_capable(24) { Ok(()) } else { Err(Errno::EPERM) }, "CAP_SYS_RESOURCE");
    assert_eq!(me.set_limit(Limit::Msgmnb, 1 << 20), Ok(()));
    assert_eq!(me.set(Kind::Msg, queue, me.uid, me.gid, 0o600, 1 << 20), Ok(()));
    let state: Msqid = me.stat(Kind::Msg, queue, StatBy::Id).expect("readable").read();
    assert_eq!(state.qbytes, 1 << 20);
    assert_eq!(me.stat(Kind::Msg, queue, StatBy::Index).map(|got| got.value), Ok(i64::from(queue)));
    assert_eq!(me.stat(Kind::Msg, 1, StatBy::Index).map(drop), Err(Errno::EINVAL));
    assert_eq!(me.stat(Kind::Msg, 5 * 32768, StatBy::Index).map(|got| got.value), Ok(0));
}

#[test]
fn infos_are_the_kernels() {
    let broker = Broker::new();
    let me = broker.own();
    let info =
        |kind: Kind, usage| me.call(Op::Info, &request::Info { kind: kind.into(), usage }).expect("told");
    let msg = |m: Msginfo| {
        [m.msgpool, m.msgmap, m.msgmax, m.msgmnb, m.msgmni, m.msgssz, m.msgtql, i32::from(m.msgseg)]
    };
    assert_eq!(msg(info(Kind::Msg, 0).read()), [512000, 16384, 8192, 16384, 32000, 16, 16384, 65535]);
    assert_eq!(msg(info(Kind::Msg, 1).read()), [0, 0, 8192, 16384, 32000, 16, 0, 65535]);
    let sem: Seminfo = info(Kind::Sem, 0).read();
    assert_eq!(
        (sem.semmap, sem.semmnu, sem.semume, sem.semusz, sem.semaem),
        (1024000000, 1024000000, 500, 20, 32767)
    );
    let shm: Shminfo = info(Kind::Shm, 0).read();
    assert_eq!((shm.shmmax, shm.shmmin, shm.shmmni, shm.shmseg), (u64::MAX - (1 << 24), 1, 4096, 4096));
    assert_eq!(info(Kind::Shm, 1).value, 0);
    for _ in 0..3 {
        me.get(Kind::Sem, 0, 0o600, 7).expect("made");
        me.get(Kind::Shm, 0, 0o600, 5000).expect("made");
    }
    me.remove(Kind::Sem, 0).expect("removed");
    let got = info(Kind::Sem, 1);
    let sem: Seminfo = got.read();
    assert_eq!((got.value, sem.semusz, sem.semaem), (2, 2, 14));
    let shm: ShmInfo = info(Kind::Shm, 1).read();
    assert_eq!((shm.used_ids, shm.shm_tot, shm.shm_rss), (3, 6, 0));
}

#[test]
fn who_may_do_what() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let root = broker.own();
    let (_body, me) = broker.embodied(1000, 1000);
    let (_other, other) = broker.embodied(1001, 1000);
    let (_third, third) = broker.embodied(1002, 1002);
    let set = me.get(Kind::Sem, 1, IPC_CREAT | 0o640, 1).expect("made");
    assert_eq!(other.get(Kind::Sem, 1, 0o400, 1), Ok(set));
    assert_eq!(other.get(Kind::Sem, 1, 0o200, 1), Err(Errno::EACCES));
    assert_eq!(third.get(Kind::Sem, 1, 0, 1), Ok(set));
    assert_eq!(third.get(Kind::Sem, 1, 0o4, 1), Err(Errno::EACCES));
    assert_eq!(root.get(Kind::Sem, 1, 0o666, 1), Ok(set));
    let access = |client: &support::Client| {
        client
            .open(Kind::Sem, set)
            .map(|got| (got.read::<ring3_wire::reply::Opened>().access, got.fd.is_some()))
    };
    assert_eq!(access(&me), Ok((6, true)));
    assert_eq!(access(&other), Ok((4, true)));
    assert_eq!(access(&third), Err(Errno::EACCES));
    assert_eq!(other.semop(set, &[(0, 1, 0)]), Err(Errno::EACCES));
    assert_eq!(other.semop(set, &[(0, 0, 0)]), Ok(()));
    assert_eq!(other.remove(Kind::Sem, set), Err(Errno::EPERM));
    assert_eq!(other.set(Kind::Sem, set, 1001, 1000, 0o666, 0), Err(Errno::EPERM));
    assert_eq!(third.stat(Kind::Sem, set, StatBy::Id).map(drop), Err(Errno::EACCES));
    assert_eq!(third.stat(Kind::Sem, set, StatBy::IndexAny).map(drop), Ok(()));
    assert_eq!(me.set(Kind::Sem, set, 1002, 1002, 0o020, 0), Ok(()));
    assert_eq!(access(&other), Ok((2, false)), "the creator's group may alter: no mapping fits that");
    assert_eq!(other.semop(set, &[(0, 1, 0)]), Ok(()));
    assert_eq!(other.semop(set, &[(0, 0, 0)]), Err(Errno::EACCES));
    assert_eq!(access(&third), Err(Errno::EACCES));
    assert_eq!(third.remove(Kind::Sem, set), Ok(()));
    let segment = me.get(Kind::Shm, 2, IPC_CREAT | 0o644, 100).expect("made");
    assert_eq!(third.attach(segment, 0).map(drop), Err(Errno::EACCES));
    let got = third.attach(segment, ring3_abi::shm::SHM_RDONLY).expect("readable");
    let flags = rustix::fs::fcntl_getfl(got.fd.expect("a file")).expect("flags");
    assert!(!flags.contains(rustix::fs::OFlags::RDWR));
    assert_eq!(third.attach(segment, 0o110000).map(drop), Err(Errno::EACCES), "SHM_EXEC wants x");
    assert_eq!(third.set_limit(Limit::Msgmax, 1), Err(Errno::EPERM));
    let write = request::Proc { file: ProcFile::Msgmax.into(), flags: 1 };
    assert_eq!(third.call(Op::Proc, &write).map(drop), Err(Errno::EACCES));
    assert_eq!(me.get(Kind::Shm, 0, 0o4600, 1), Err(Errno::EPERM), "huge pages");
}

#[test]
fn locking_counts_against_the_user() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let (_body, me) = broker.embodied(1000, 1000);
    let (_other, other) = broker.embodied(1001, 1000);
    let lock = |client: &support::Client, id, lock| {
        client.call(Op::ShmLock, &request::ShmLock { id, lock }).map(drop)
    };
    let id = me.get(Kind::Shm, 0, 0o666, 4096).expect("made");
    assert_eq!(lock(&other, id, 1), Err(Errno::EPERM));
    assert_eq!(lock(&other, id, 0), Err(Errno::EPERM));
    assert_eq!(lock(&me, id, 1), Ok(()));
    assert_eq!(me.segment(id).perm.mode, 0o666 | SHM_LOCKED);
    assert_eq!(lock(&me, id, 1), Ok(()));
    let huge = me.get(Kind::Shm, 0, 0o600, 1 << 30).expect("made");
    assert_eq!(lock(&me, huge, 1), Err(Errno::ENOMEM), "RLIMIT_MEMLOCK of sleep is 8 MiB or less");
    assert_eq!(lock(&me, id, 0), Ok(()));
    assert_eq!(me.segment(id).perm.mode, 0o666);
}

#[test]
fn a_marked_segment_lives_until_its_last_detach() {
    let broker = Broker::new();
    let me = broker.own();
    let id = me.get(Kind::Shm, 9, NEW, 5000).expect("made");
    let first = me.attach(id, 0).expect("attached").value;
    assert_eq!(me.remove(Kind::Shm, id), Ok(()));
    assert_eq!(me.remove(Kind::Shm, id), Ok(()));
    let state: Shmid = me.segment(id);
    assert_eq!((state.perm.mode, state.perm.key, state.nattch), (0o600 | SHM_DEST, 0, 1));
    assert_eq!(me.get(Kind::Shm, 9, 0, 1), Err(Errno::ENOENT));
    let second = me.attach(id, 0).expect("by id").value;
    me.detach(first);
    // What is not attached is not detached, and breaks nothing.
    me.detach(first);
    assert_eq!(me.segment(id).nattch, 1);
    me.detach(second);
    assert_eq!(me.attach(id, 0).map(drop), Err(Errno::EINVAL));
}

#[test]
fn proc_files_read_and_written() {
    let broker = Broker::new();
    let me = broker.own();
    let (uid, gid, pid) = (me.uid, me.gid, me.pid);
    me.get(Kind::Sem, 77, IPC_CREAT | 0o777, 3).expect("made");
    let id = me.get(Kind::Shm, 0, 0o640, 5000).expect("made");
    let got = me.attach(id, 0).expect("attached");
    rustix::io::pwrite(got.fd.expect("a file"), b"x", 0).expect("written");
    let now = me.segment(id).ctime;
    let want = format!(
        "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n        77          0   777          3 {uid:5} {gid:5} {uid:5} {gid:5}          0 {now}\n"
    );
    assert_eq!(me.proc_text(ProcFile::SysvipcSem), want);
    let text = me.proc_text(ProcFile::SysvipcShm);
    let want = format!(
        "         0          0   640                  5000 {pid:5} {pid:5}      1 {uid:5} {gid:5} {uid:5} {gid:5} {now} {:10} {now}                  4096                     0",
        0
    );
    assert_eq!(text.lines().nth(1), Some(want.as_str()));
    assert_eq!(me.proc_text(ProcFile::Sem), "32000\t1024000000\t500\t32000\n");
    // The limits that are never the kernel's own files.
    let wish = ProcFile::MsgNextId;
    let file = |flags| me.call(Op::Proc, &request::Proc { file: wish.into(), flags }).expect("ours");
    let pipe = file(1).fd.expect("a pipe");
    rustix::io::write(&pipe, b"4096\n").expect("written");
    assert_eq!(me.proc_text(wish), "4096\n");
    rustix::io::write(&pipe, b"1\n").expect("taken");
    assert_eq!(me.proc_text(wish), "4096\n", "the first write of an open counts");
    let both = std::fs::File::from(file(2).fd.expect("a socket"));
    assert_eq!(std::io::read_to_string(&both).expect("text"), "4096\n");
    rustix::io::write(&both, b"77").expect("written");
    assert_eq!(me.proc_text(wish), "77\n");
}

#[test]
fn what_is_left_is_reported() {
    let broker = Broker::new();
    let me = broker.own();
    me.get(Kind::Msg, 1, NEW, 0).expect("made");
    me.get(Kind::Sem, 2, NEW, 3).expect("made");
    let gone = me.get(Kind::Shm, 3, NEW, 4096).expect("made");
    me.get(Kind::Shm, 4, NEW, 4097).expect("made");
    me.remove(Kind::Shm, gone).expect("removed");
    let detail = |kind: Kind, index| me.call(Op::Detail, &request::Detail { kind: kind.into(), index });
    let found: ring3_wire::reply::Detail = detail(Kind::Shm, 0).expect("there").read();
    assert_eq!((found.id, found.key, found.size, found.creator), (1, 4, 4097, me.pid));
    assert_eq!(detail(Kind::Shm, 2).map(drop), Err(Errno::ENOENT));
    let visitor = broker.visitor();
    assert_eq!(visitor.call(Op::Shutdown, &()).map(drop), Ok(()), "this process asks for itself");
    let report = broker.end();
    let left: Vec<_> =
        report.left.iter().map(|left| (left.kind, left.detail.key, left.detail.size)).collect();
    assert_eq!(left, [(Kind::Msg, 1, 0), (Kind::Sem, 2, 3), (Kind::Shm, 4, 4097)]);
}
