//! msgsnd and msgrcv by the broker, for clients whose permission fits no mapping.

mod support;

use ring3_abi::ipc::{IPC_CREAT, IPC_NOWAIT};
use ring3_abi::limits::Limits;
use ring3_abi::msg::{MSG_COPY, MSG_EXCEPT, MSG_NOERROR, Msqid};
use ring3_abi::{Errno, Kind};
use ring3_wire::Op;
use ring3_wire::reply::Opened;
use ring3_wire::request::{self, Limit, ProcFile, StatBy};
use support::{Broker, Client, is_root};

const NEW: i32 = IPC_CREAT | 0o666;

fn state(client: &Client, id: i32) -> Msqid {
    client.stat(Kind::Msg, id, StatBy::IndexAny).expect("there").read()
}

fn wait_until(happens: impl Fn() -> bool) {
    while !happens() {
        std::thread::yield_now();
    }
}

#[test]
fn texts_of_every_length_arrive() {
    let broker = Broker::with(Limits { msgmax: 1 << 20, msgmnb: 1 << 22, ..Limits::default() });
    let me = broker.own();
    let id = me.get(Kind::Msg, 1, NEW, 0).expect("made");
    for len in [0, 1, 80, 81, 1024, 1025, 8192, 60_000, 200_000, 1 << 20] {
        let text: Vec<u8> = (0..len).map(|n: usize| (n * 7 + len) as u8).collect();
        assert_eq!(me.msgsnd(id, 5, &text), Ok(()), "{len}");
        assert_eq!(me.msgrcv(id, 0, 1 << 20, 0), Ok((5, text)), "{len}");
    }
    assert_eq!(me.msgsnd(id, 5, &vec![0; (1 << 20) + 1]), Err(Errno::EINVAL));
    assert_eq!((state(&me, id).qnum, state(&me, id).cbytes), (0, 0));
}

#[test]
fn results_and_order() {
    let broker = Broker::new();
    let me = broker.own();
    let id = me.get(Kind::Msg, 1, NEW, 0).expect("made");
    assert_eq!(me.msgsnd(id, 0, b"x"), Err(Errno::EINVAL));
    assert_eq!(me.msgsnd(id + 1, 1, b"x"), Err(Errno::EINVAL));
    assert_eq!(me.msgrcv(id, 0, 10, 0), Err(Errno::ENOMSG));
    for (mtype, text) in [(3, b"three"), (1, b"first"), (2, b"secnd")] {
        assert_eq!(me.msgsnd(id, mtype, text), Ok(()));
    }
    let queue = state(&me, id);
    assert_eq!((queue.qnum, queue.cbytes, queue.lspid), (3, 15, me.pid.cast_signed()));
    assert_eq!(me.msgrcv(id, 1, 10, MSG_COPY), Ok((1, b"first".to_vec())));
    assert_eq!(me.msgrcv(id, 0, 2, 0), Err(Errno::E2BIG));
    assert_eq!(me.msgrcv(id, 3, 2, MSG_EXCEPT | MSG_NOERROR), Ok((1, b"fi".to_vec())));
    assert_eq!(me.msgrcv(id, -3, 10, 0), Ok((2, b"secnd".to_vec())));
    let line = me.proc_text(ProcFile::SysvipcMsg);
    let want = format!(
        "         1          0   666           5          1 {0:5} {0:5} {1:5} {2:5} {1:5} {2:5} {3} {4} {5}",
        me.pid,
        me.uid,
        me.gid,
        state(&me, id).stime,
        state(&me, id).rtime,
        state(&me, id).ctime
    );
    assert_eq!(line.lines().nth(1), Some(want.as_str()));
    assert_eq!(me.msgrcv(id, 0, 10, 0), Ok((3, b"three".to_vec())));
}

#[test]
fn sleepers_get_what_comes() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let id = me.get(Kind::Msg, 1, NEW, 0).expect("made");
    let (_body, sleeper) = broker.embodied(1000, 1000);
    let sleeps = || {
        // The ticket is there when a message of its type no longer stays in the queue.
        sleeper.send_receive(id, 7, 10, 0);
        assert!(me.get(Kind::Sem, 0, 0o600, 1).is_ok());
    };
    sleeps();
    wait_until(|| {
        me.msgsnd(id, 7, b"direct").expect("room");
        state(&me, id).qnum == 0
    });
    assert_eq!(sleeper.message(), Ok((7, b"direct".to_vec())));
    sleeps();
    sleeper.note(Op::Cancel, &());
    assert_eq!(sleeper.message(), Err(Errno::EINTR));
    // A sender that waits for room.
    assert_eq!(me.set(Kind::Msg, id, 0, 0, 0o666, 4), Ok(()));
    assert_eq!(me.msgsnd(id, 1, b"full"), Ok(()));
    assert_eq!(me.msgsnd(id, 1, b"more"), Err(Errno::EAGAIN));
    sleeper.send_message(id, 2, b"more", 0);
    wait_until(|| me.proc_text(ProcFile::SysvipcMsg).contains(" 4          1 "));
    wait_until(|| me.msgrcv(id, 1, 10, 0) == Ok((1, b"full".to_vec())));
    assert_eq!(sleeper.answer().map(drop), Ok(()));
    assert_eq!(me.msgrcv(id, 0, 10, 0), Ok((2, b"more".to_vec())));
    // Rights taken away end the call of a sleeping receiver.
    sleeps();
    wait_until(|| {
        me.set(Kind::Msg, id, 0, 0, 0o600, 4).expect("owner");
        true
    });
    assert_eq!(sleeper.message(), Err(Errno::EACCES));
    assert_eq!(me.set_limit(Limit::Msgmnb, 1 << 16), Ok(()));
    assert_eq!(me.set(Kind::Msg, id, 0, 0, 0o666, 1 << 16), Ok(()), "larger than its region");
    assert_eq!(me.msgsnd(id, 1, &[1; 8000]), Ok(()));
    sleeps();
    assert_eq!(me.remove(Kind::Msg, id), Ok(()));
    assert_eq!(sleeper.message(), Err(Errno::EIDRM));
}

#[test]
fn a_queue_grows_until_it_holds_what_its_limit_allows() {
    let broker = Broker::new();
    let me = broker.own();
    let id = me.get(Kind::Msg, 1, NEW, 0).expect("made");
    for n in 0..16384 {
        assert_eq!(me.msgsnd(id, n + 1, b""), Ok(()), "{n}");
    }
    assert_eq!(me.msgsnd(id, 1, b""), Err(Errno::EAGAIN));
    assert_eq!(me.msgrcv(id, -9000, 0, 0), Ok((1, vec![])));
    let place = || me.open(Kind::Msg, id).expect("opened").read::<Opened>();
    let before = place();
    let full = request::Grow { kind: Kind::Msg.into(), id, version: before.version };
    assert_eq!(me.call(Op::Grow, &full).map(drop), Ok(()));
    let larger = place();
    assert!(larger.len > before.len && larger.version != before.version);
    // Of those who found the same region full one is heard.
    assert_eq!(me.call(Op::Grow, &full).map(drop), Ok(()));
    assert_eq!(place().version, larger.version);
    assert_eq!(state(&me, id).qnum, 16383);
    assert_eq!(me.msgrcv(id, 16384, 0, IPC_NOWAIT), Ok((16384, vec![])));
}
