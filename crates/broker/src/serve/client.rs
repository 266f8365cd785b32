//! One connection: packets in with their sender's credentials, packets out with at most one descriptor. unix(7).

use crate::life::ConnId;
use crate::policy::creds::Creds;
use crate::regions;
use crate::state::held::named;
use crate::state::{Got, Held, InHand, Inbox, Keep, keep};
use ring3_abi::{Errno, IpcId, Pid};
use ring3_engine::Caller;
use ring3_engine::msg::ReceivedText;
use ring3_os::fd::Fd;
use ring3_os::socket::Received;
use ring3_wire::{MAX_PACKET, Reply};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType, sendmsg, sockopt,
};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use zerocopy::IntoBytes;

/// A connection.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) fd: Held,
    pub(super) maker: super::doors::Maker,
    /// The process whose own connection it is.
    pub(crate) owner: Option<Pid>,
}
keep!(Conn { fd, maker, owner });

/// A packet and what came with it.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) conn: ConnId,
    pub(crate) creds: Creds,
    pub(crate) bytes: Vec<u8>,
    pub(crate) fd: Option<Held>,
    /// A signal has come since: it is done, but does not sleep or wait.
    pub(crate) interrupted: bool,
    /// Its packet's number, by which a region's receipt knows it.
    pub(crate) number: u64,
    /// It may have been done before, by a broker that was killed.
    pub(crate) again: bool,
    /// Where it lies until it is done and told.
    pub(crate) in_hand: Option<InHand>,
}

impl Keep for Request {
    fn put(&self, out: &mut Vec<u8>) {
        self.conn.put(out);
        self.creds.put(out);
        self.bytes.put(out);
        self.fd.put(out);
        self.number.put(out);
    }

    fn get(from: &mut &[u8]) -> Option<Request> {
        let (conn, creds) = (Keep::get(from)?, Keep::get(from)?);
        let (bytes, fd, number) = (Keep::get(from)?, Keep::get(from)?, Keep::get(from)?);
        Some(Request { conn, creds, bytes, fd, interrupted: false, number, again: true, in_hand: None })
    }
}

impl Request {
    /// What a packet says; `None` for one that nobody can have sent who keeps to the protocol.
    pub(super) fn of(conn: ConnId, got: &Received, bytes: Vec<u8>, in_hand: InHand) -> Option<Request> {
        // It is kept from here on, as the packet is.
        got.fd.into_iter().for_each(named);
        let fd = got.fd.map(|raw| regions::owned(Fd::own(raw)).into());
        if got.len == 0 || got.cut && got.len == MAX_PACKET {
            return None;
        }
        // A sender outside of this PID namespace has no number here, and all of them would be one process.
        let who = got.creds.filter(|who| who.pid != 0)?;
        // The tid is the third word of every head; a shorter packet is refused when it is decoded.
        let tid = bytes.get(8..12).and_then(|word| word.try_into().ok()).map_or(0, u32::from_ne_bytes);
        let creds = Creds::new(who.pid, tid, who.uid, who.gid);
        let (number, in_hand) = (in_hand.number, Some(in_hand));
        Some(Request { conn, creds, bytes, fd, interrupted: false, number, again: false, in_hand })
    }
}

/// What an answer consists of beside its head.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) value: i64,
    pub(crate) body: Vec<u8>,
    pub(crate) fd: Option<Rc<Held>>,
    /// What is done when it was told.
    pub(crate) then: Option<Then>,
}

/// A text in a queue's region that is given back when it was told.
#[derive(Debug)]
pub(crate) struct Then {
    pub(crate) id: IpcId,
    pub(crate) who: Caller,
    pub(crate) text: ReceivedText,
}

impl Answer {
    /// Just a value.
    pub(crate) fn value(value: i64) -> Answer {
        Answer { value, ..Answer::default() }
    }

    /// A value and a structure.
    pub(crate) fn with(value: i64, body: &(impl IntoBytes + zerocopy::Immutable)) -> Answer {
        Answer { value, body: body.as_bytes().to_vec(), ..Answer::default() }
    }

    /// The same with a descriptor.
    pub(crate) fn passing(self, fd: impl Into<Rc<Held>>) -> Answer {
        Answer { fd: Some(fd.into()), ..self }
    }
}

/// What a look into a connection found.
#[derive(Debug)]
pub(crate) enum Arrival {
    Packet(Request),
    /// Nothing now.
    Nothing,
    /// No place is free for it.
    NoPlace,
    /// It has hung up, or broke the protocol.
    Over,
}

/// Whether a socket is one that packets can be exchanged over, and makes it tell its senders.
pub(crate) fn prepare(fd: impl AsFd + Copy) -> bool {
    sockopt::socket_domain(fd).is_ok_and(|domain| domain == AddressFamily::UNIX)
        && sockopt::socket_type(fd).is_ok_and(|kind| kind == SocketType::SEQPACKET)
        && sockopt::set_socket_passcred(fd, true).is_ok()
}

/// Whether a descriptor is readable, or at its end, now.
pub(crate) fn is_readable(fd: impl AsFd) -> bool {
    looks(fd, PollFlags::IN)
}

/// Whether the other end is closed.
pub(crate) fn has_hung_up(fd: impl AsFd) -> bool {
    looks(fd, PollFlags::empty())
}

fn looks(fd: impl AsFd, for_what: PollFlags) -> bool {
    let mut set = [PollFd::from_borrowed_fd(fd.as_fd(), for_what)];
    poll(&mut set, Some(&rustix::fs::Timespec::default())).is_ok_and(|n| n > 0)
}

impl Conn {
    /// Takes the next packet, if there is one.
    pub(crate) fn receive(&self, conn: ConnId, inbox: &Rc<Inbox>) -> Arrival {
        match inbox.receive(conn, &self.fd) {
            Ok(Got::Packet(in_hand, got, bytes)) => {
                Request::of(conn, &got, bytes, in_hand).map_or(Arrival::Over, Arrival::Packet)
            }
            Ok(Got::Nothing) => Arrival::Nothing,
            Ok(Got::Full) => Arrival::NoPlace,
            Ok(Got::Over) | Err(_) => Arrival::Over,
        }
    }

    /// Sends a reply. Answers false if the client does not take it: it has gone, or lets replies pile up.
    pub(crate) fn send(&self, tag: u32, result: &Result<Answer, (Errno, i64)>) -> bool {
        match result {
            Ok(answer) => {
                let head = Reply { tag, errno: 0, value: answer.value };
                self.send_parts(&head, &answer.body, answer.fd.as_ref().map(|fd| fd.as_fd()))
            }
            Err((errno, value)) => {
                self.send_parts(&Reply { tag, errno: u32::from(errno.0), value: *value }, &[], None)
            }
        }
    }

    /// The same of a reply's parts.
    pub(super) fn send_parts(&self, head: &Reply, body: &[u8], fd: Option<BorrowedFd<'_>>) -> bool {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds;
        if let Some(fd) = fd {
            fds = [fd];
            control.push(SendAncillaryMessage::ScmRights(&fds));
        }
        let parts = [IoSlice::new(head.as_bytes()), IoSlice::new(body)];
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        size_of::<Reply>() + body.len() <= MAX_PACKET
            && sendmsg(&self.fd, &parts, &mut control, flags).is_ok()
    }
}
