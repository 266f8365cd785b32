//! A broker in a thread, and clients that speak the protocol by hand.
//!
//! As root a client may send any process's credentials; so one test process plays many, each lent the number of a real `sleep`.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses a part")]

use ring3_abi::limits::Limits;
use ring3_abi::{Errno, IpcId, Kind};
use ring3_broker::{self as serving, Config, Keeper, Report, Share, Word};
use ring3_wire::claim::OwnPid;
use ring3_wire::request::{self, Get, StatBy};
use ring3_wire::{MAX_PACKET, Op, codec};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Timespec;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, UCred, bind, connect, listen,
    recvmsg, sendmsg, socket_with,
};
use rustix::process::{Gid, Pid, Uid};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Whether credentials may be lent. Without root only the tests that need none run.
pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("left out: needs root");
    }
    root
}

/// Whether this process has a capability: some containers' root lacks a few.
pub fn is_capable(number: u32) -> bool {
    let text = std::fs::read_to_string("/proc/self/status").expect("readable");
    let line = text.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("there");
    u64::from_str_radix(line.trim(), 16).expect("hexadecimal") >> number & 1 == 1
}

/// A process to lend a number from.
pub struct Body(Child);

impl Body {
    pub fn new(uid: u32, gid: u32) -> Body {
        let mut command = Command::new("sleep");
        command.arg("1000").stdin(Stdio::null());
        if uid != 0 || gid != 0 {
            command.uid(uid).gid(gid);
        }
        Body(command.spawn().expect("sleep runs"))
    }

    /// One that becomes a program when it is told to.
    pub fn becoming(uid: u32, gid: u32, program: &Path) -> Body {
        let mut command = Command::new("sh");
        command.args(["-c", "read go; exec \"$0\" 1000"]).arg(program).stdin(Stdio::piped());
        Body(command.uid(uid).gid(gid).spawn().expect("sh runs"))
    }

    /// Tells it to, and waits until it is.
    pub fn go_on(&self) {
        let mut door = self.0.stdin.as_ref().expect("piped");
        std::io::Write::write_all(&mut door, b"go\n").expect("it reads");
        let comm = || std::fs::read_to_string(format!("/proc/{}/comm", self.pid())).expect("alive");
        while comm() == "sh\n" {
            std::thread::yield_now();
        }
        // Its name changes before its credentials do: it runs when it sleeps.
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("alive");
        while !state().contains(") S ") {
            std::thread::yield_now();
        }
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Kills and reaps.
    pub fn kill(mut self) -> u32 {
        self.0.kill().expect("alive");
        self.0.wait().expect("ours");
        self.0.id()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A broker that can be made to stand still: its keeper is heard for as long as the test likes.
#[derive(Debug)]
struct Reins {
    /// A byte stops the broker; a hang-up ends it.
    voice: OwnedFd,
    /// Tells the test that the broker stands still.
    stopped: OwnedFd,
    /// A byte lets it go on.
    go: OwnedFd,
}

#[derive(Debug)]
struct Rein(Arc<Reins>);

impl Keeper for Rein {
    fn voice(&self) -> BorrowedFd<'_> {
        self.0.voice.as_fd()
    }

    fn hear(&mut self) -> Word {
        let mut byte = [0];
        if rustix::io::read(&self.0.voice, &mut byte) != Ok(1) {
            return Word::End;
        }
        rustix::io::write(&self.0.stopped, &byte).expect("the test listens");
        let _ = rustix::io::read(&self.0.go, &mut byte);
        Word::Later
    }
}

/// The test's ends of a broker's reins.
struct Hands {
    voice: OwnedFd,
    stopped: OwnedFd,
    go: OwnedFd,
}

pub struct Broker {
    address: SocketAddrUnix,
    keeper: Option<Hands>,
    thread: Option<JoinHandle<Report>>,
    /// The broker is to leave everything to another one.
    leaves: Arc<AtomicBool>,
}

/// What a broker is started with: the same for each that follows.
struct Seat {
    listener: OwnedFd,
    name: String,
    limits: Limits,
    keeper: Arc<Reins>,
}

impl Seat {
    fn config(&self) -> Config {
        Config {
            listener: self.listener.try_clone().expect("descriptors"),
            name: self.name.clone(),
            limits: self.limits,
            share: Share::default(),
            keeper: Some(Box::new(Rein(Arc::clone(&self.keeper)))),
            keeping: None,
            lookout: None,
        }
    }

    /// One broker after the other, until one ends. Each that leaves is only forgotten, as one that is killed.
    fn serve(&self, leaves: &AtomicBool) -> Report {
        let mut broker = serving::Broker::new(self.config()).expect("serves");
        loop {
            if leaves.swap(false, Ordering::SeqCst) {
                let memory = broker.memory();
                std::mem::forget(broker);
                broker = serving::Broker::resume(self.config(), &memory).expect("goes on");
            }
            if !broker.turn().expect("goes on") {
                return broker.serve().expect("ends");
            }
        }
    }
}

impl Broker {
    pub fn new() -> Broker {
        Broker::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Broker {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ring3-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).expect("short");
        let listener = seqpacket();
        bind(&listener, &address).expect("free");
        listen(&listener, 64).expect("bound");
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("pipe");
        let ((voice, call), (stopped, tell), (go, let_go)) = (pipe(), pipe(), pipe());
        let seat = Seat { listener, name, limits, keeper: Arc::new(Reins { voice, stopped: tell, go }) };
        let leaves = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&leaves);
        let thread = std::thread::spawn(move || seat.serve(&told));
        let hands = Hands { voice: call, stopped, go: let_go };
        Broker { address, keeper: Some(hands), thread: Some(thread), leaves }
    }

    /// Has another broker go on from the state of this one, which is forgotten.
    pub fn replace(&self) {
        self.standing_still(|| self.leaves.store(true, Ordering::SeqCst));
    }

    /// Does something while the broker stands still: it finds it all at once.
    pub fn standing_still<T>(&self, meanwhile: impl FnOnce() -> T) -> T {
        let hands = self.keeper.as_ref().expect("not ended");
        let mut byte = [0];
        rustix::io::write(&hands.voice, &byte).expect("the broker listens");
        assert_eq!(rustix::io::read(&hands.stopped, &mut byte), Ok(1));
        let value = meanwhile();
        rustix::io::write(&hands.go, &byte).expect("the broker waits");
        value
    }

    /// A connection.
    pub fn connect(&self) -> OwnedFd {
        let fd = seqpacket();
        connect(&fd, &self.address).expect("listening");
        fd
    }

    /// A connection that says no Hello.
    pub fn visitor(&self) -> Client {
        let (pid, uid, gid) =
            (std::process::id(), rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Client { fd: self.connect(), pid, uid, gid, image: 0 }
    }

    /// A process that has introduced itself.
    pub fn client(&self, pid: u32, uid: u32, gid: u32) -> Client {
        let mut client = Client { fd: self.connect(), pid, uid, gid, image: u64::from(pid) };
        client.hello();
        client
    }

    /// This very process.
    pub fn own(&self) -> Client {
        let visitor = self.visitor();
        self.client(visitor.pid, visitor.uid, visitor.gid)
    }

    /// A process with a body of its own.
    pub fn embodied(&self, uid: u32, gid: u32) -> (Body, Client) {
        let body = Body::new(uid, gid);
        let client = self.client(body.pid(), uid, gid);
        (body, client)
    }

    /// Ends the broker: what it left. All clients must be dead.
    pub fn end(mut self) -> Report {
        self.keeper = None;
        self.thread.take().expect("once").join().expect("no panic")
    }
}

fn seqpacket() -> OwnedFd {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("socket")
}

/// A reply without an error.
#[derive(Debug)]
pub struct Got {
    pub value: i64,
    pub body: Vec<u8>,
    pub fd: Option<OwnedFd>,
}

impl Got {
    pub fn read<T: FromBytes + KnownLayout + Immutable>(&self) -> T {
        T::read_from_bytes(&self.body).expect("as long as it should be")
    }
}

pub struct Client {
    pub fd: OwnedFd,
    pub pid: u32,
    pub uid: u32,
    pub gid: u32,
    pub image: u64,
}

impl Client {
    fn try_send(
        &self,
        op: Op,
        body: &(impl IntoBytes + Immutable),
        rest: &[u8],
        pass: Option<&OwnedFd>,
    ) -> rustix::io::Result<usize> {
        let head = codec::head(op, self.pid, 7);
        let raw = |n: u32| n.cast_signed();
        let who = UCred {
            pid: Pid::from_raw(raw(self.pid)).expect("not 0"),
            uid: Uid::from_raw(self.uid),
            gid: Gid::from_raw(self.gid),
        };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1), ScmCredentials(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmCredentials(who)));
        let fds;
        if let Some(fd) = pass {
            fds = [fd.as_fd()];
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        }
        let parts = [IoSlice::new(head.as_bytes()), IoSlice::new(body.as_bytes()), IoSlice::new(rest)];
        sendmsg(&self.fd, &parts, &mut control, SendFlags::NOSIGNAL)
    }

    pub fn send(&self, op: Op, body: &(impl IntoBytes + Immutable), rest: &[u8], pass: Option<&OwnedFd>) {
        self.try_send(op, body, rest, pass).expect("sent");
    }

    /// Whether a note could be sent: the broker has not hung up.
    pub fn try_note(&self, op: Op, body: &(impl IntoBytes + Immutable)) -> bool {
        self.try_send(op, body, &[], None).is_ok()
    }

    /// Whether an answer has come within so many milliseconds.
    pub fn answers_within(&self, milliseconds: i64) -> bool {
        let mut set = [PollFd::new(&self.fd, PollFlags::IN)];
        let patience = Timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
        poll(&mut set, Some(&patience)) == Ok(1)
    }

    pub fn answer(&self) -> Result<Got, Errno> {
        let mut buffer = vec![0; MAX_PACKET];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got =
            recvmsg(&self.fd, &mut [IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)
                .expect("an answer");
        let mut fd = None;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut fds) = message {
                fd = fds.next();
            }
        }
        let (head, body) = codec::reply(&buffer[..got.bytes]).expect("a reply, not a hang-up");
        assert_eq!(head.tag, 7);
        match head.errno {
            0 => Ok(Got { value: head.value, body: body.to_vec(), fd }),
            errno => Err(Errno(errno as u16)),
        }
    }

    pub fn call(&self, op: Op, body: &(impl IntoBytes + Immutable)) -> Result<Got, Errno> {
        self.send(op, body, &[], None);
        self.answer()
    }

    pub fn note(&self, op: Op, body: &(impl IntoBytes + Immutable)) {
        self.send(op, body, &[], None);
    }

    pub fn hello(&mut self) -> Got {
        self.call(Op::Hello, &request::Hello { image: self.image }).expect("welcome")
    }

    pub fn get(&self, kind: Kind, key: i32, flags: i32, size: i64) -> Result<IpcId, Errno> {
        let ask = Get { kind: kind.into(), key, flags, lease: 0, size: size.cast_unsigned() };
        self.call(Op::Get, &ask).map(|got| got.value as IpcId)
    }

    pub fn remove(&self, kind: Kind, id: IpcId) -> Result<(), Errno> {
        self.call(Op::Remove, &request::Object { kind: kind.into(), id }).map(drop)
    }

    pub fn set(
        &self,
        kind: Kind,
        id: IpcId,
        uid: u32,
        gid: u32,
        mode: u32,
        qbytes: u64,
    ) -> Result<(), Errno> {
        self.call(Op::Set, &request::Set { kind: kind.into(), id, uid, gid, mode, pad: 0, qbytes }).map(drop)
    }

    pub fn stat(&self, kind: Kind, id: IpcId, by: StatBy) -> Result<Got, Errno> {
        self.call(Op::Stat, &request::Stat { kind: kind.into(), id, by: by.into() })
    }

    pub fn segment(&self, id: IpcId) -> ring3_abi::shm::Shmid {
        self.stat(Kind::Shm, id, StatBy::IndexAny).expect("there").read()
    }

    pub fn open(&self, kind: Kind, id: IpcId) -> Result<Got, Errno> {
        self.call(Op::Open, &request::Open { kind: kind.into(), id })
    }

    pub fn attach(&self, id: IpcId, flags: i32) -> Result<Got, Errno> {
        self.call(Op::Attach, &request::Attach { id, flags, again: 0 })
    }

    pub fn detach(&self, token: i64) {
        self.note(Op::Detach, &request::Detach { token: token.cast_unsigned(), undo: 0, note: 0 });
    }

    pub fn send_semop(&self, id: IpcId, ops: &[(u16, i16, i16)], deadline: u64) {
        let ask = request::SemOp { id, nsops: ops.len() as u32, deadline };
        let ops: Vec<_> = ops
            .iter()
            .map(|&(sem_num, sem_op, sem_flg)| ring3_abi::sem::Sembuf { sem_num, sem_op, sem_flg })
            .collect();
        self.send(Op::SemOp, &ask, ops.as_bytes(), None);
    }

    pub fn semop(&self, id: IpcId, ops: &[(u16, i16, i16)]) -> Result<(), Errno> {
        self.send_semop(id, ops, u64::MAX);
        self.answer().map(drop)
    }

    pub fn semctl(&self, id: IpcId, semnum: i32, cmd: i32, val: i32) -> Result<i64, Errno> {
        self.call(Op::SemCtl, &request::SemCtl { id, semnum, cmd, val }).map(|got| got.value)
    }

    pub fn settle(&self, pid: u32) {
        self.call(Op::Settle, &request::Settle { pid: OwnPid(pid) }).expect("always answered");
    }

    pub fn set_limit(&self, limit: request::Limit, value: i64) -> Result<(), Errno> {
        self.call(Op::SetLimit, &request::SetLimit { limit: limit.into(), pad: 0, value }).map(drop)
    }

    pub fn proc_text(&self, file: request::ProcFile) -> String {
        let got = self.call(Op::Proc, &request::Proc { file: file.into(), flags: 0 }).expect("readable");
        std::io::read_to_string(std::fs::File::from(got.fd.expect("a file"))).expect("text")
    }

    pub fn send_message(&self, id: IpcId, mtype: i64, text: &[u8], flags: i32) {
        let ask = request::MsgSend { id, flags, mtype };
        if text.len() < 60_000 {
            return self.send(Op::MsgSend, &ask, text, None);
        }
        let file = rustix::fs::memfd_create("text", rustix::fs::MemfdFlags::CLOEXEC).expect("a file");
        rustix::io::write(&file, text).expect("written");
        self.send(Op::MsgSend, &ask, &[], Some(&file));
    }

    pub fn msgsnd(&self, id: IpcId, mtype: i64, text: &[u8]) -> Result<(), Errno> {
        self.send_message(id, mtype, text, ring3_abi::ipc::IPC_NOWAIT);
        self.answer().map(drop)
    }

    pub fn send_receive(&self, id: IpcId, msgtyp: i64, size: u64, flags: i32) {
        self.send(Op::MsgReceive, &request::MsgReceive { id, flags, msgtyp, size }, &[], None);
    }

    /// The answer to a receive: type and text.
    pub fn message(&self) -> Result<(i64, Vec<u8>), Errno> {
        let got = self.answer()?;
        let (mtype, text) = got.body.split_at(8);
        let mtype = i64::from_ne_bytes(mtype.try_into().expect("eight"));
        let text = match got.fd {
            None => text.to_vec(),
            Some(file) => {
                let mut text = vec![0; got.value as usize];
                assert_eq!(rustix::io::pread(&file, &mut text, 0), Ok(text.len()));
                text
            }
        };
        assert_eq!(got.value, text.len() as i64);
        Ok((mtype, text))
    }

    pub fn msgrcv(&self, id: IpcId, msgtyp: i64, size: u64, flags: i32) -> Result<(i64, Vec<u8>), Errno> {
        self.send_receive(id, msgtyp, size, flags | ring3_abi::ipc::IPC_NOWAIT);
        self.message()
    }
}
