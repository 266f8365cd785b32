//! One connection: packets in with their sender's credentials, packets out with at most one descriptor. unix(7).

use crate::life::ConnId;
use crate::policy::creds::Creds;
use crate::regions;
use ring3_abi::{Errno, Pid};
use ring3_os::fd::Fd;
use ring3_os::socket::{self, Wait};
use ring3_wire::{MAX_PACKET, Reply};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType, sendmsg, sockopt,
};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use zerocopy::IntoBytes;

/// A connection.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) fd: OwnedFd,
    pub(super) maker: super::doors::Maker,
    /// The process whose own connection it is.
    pub(crate) owner: Option<Pid>,
}

/// A packet and what came with it.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) conn: ConnId,
    pub(crate) creds: Creds,
    pub(crate) bytes: Vec<u8>,
    pub(crate) fd: Option<OwnedFd>,
    /// A signal has come since: it is done, but does not sleep or wait.
    pub(crate) interrupted: bool,
}

/// What an answer consists of beside its head.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) value: i64,
    pub(crate) body: Vec<u8>,
    pub(crate) fd: Option<Rc<OwnedFd>>,
}

impl Answer {
    /// Just a value.
    pub(crate) fn value(value: i64) -> Answer {
        Answer { value, ..Answer::default() }
    }

    /// A value and a structure.
    pub(crate) fn with(value: i64, body: &(impl IntoBytes + zerocopy::Immutable)) -> Answer {
        Answer { value, body: body.as_bytes().to_vec(), fd: None }
    }

    /// The same with a descriptor.
    pub(crate) fn passing(self, fd: impl Into<Rc<OwnedFd>>) -> Answer {
        Answer { fd: Some(fd.into()), ..self }
    }
}

/// What a look into a connection found.
#[derive(Debug)]
pub(crate) enum Arrival {
    Packet(Request),
    /// Nothing now.
    Nothing,
    /// It has hung up, or broke the protocol.
    Over,
}

/// Whether a socket is one that packets can be exchanged over, and makes it tell its senders.
pub(crate) fn prepare(fd: &OwnedFd) -> bool {
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
    pub(crate) fn receive(&self, conn: ConnId, buffer: &mut [u8]) -> Arrival {
        let got = match socket::receive(self.fd.as_raw_fd(), buffer, Wait::DontWait) {
            Ok(got) => got,
            Err(Errno::EAGAIN | Errno::EINTR) => return Arrival::Nothing,
            Err(_) => return Arrival::Over,
        };
        let fd = got.fd.map(|raw| regions::owned(Fd::own(raw)));
        if got.len == 0 || got.cut && got.len == buffer.len() {
            return Arrival::Over;
        }
        // A sender outside of this PID namespace has no number here, and all of them would be one process.
        let (Some(who), Some(bytes)) = (got.creds.filter(|who| who.pid != 0), buffer.get(..got.len)) else {
            return Arrival::Over;
        };
        // The tid is the third word of every head; a shorter packet is refused when it is decoded.
        let tid = bytes.get(8..12).and_then(|word| word.try_into().ok()).map_or(0, u32::from_ne_bytes);
        let creds = Creds::new(who.pid, tid, who.uid, who.gid);
        Arrival::Packet(Request { conn, creds, bytes: bytes.to_vec(), fd, interrupted: false })
    }

    /// Sends a reply. Answers false if the client does not take it: it has gone, or lets replies pile up.
    pub(crate) fn send(&self, tag: u32, result: &Result<Answer, (Errno, i64)>) -> bool {
        let nothing = Answer::default();
        let (head, answer) = match result {
            Ok(answer) => (Reply { tag, errno: 0, value: answer.value }, answer),
            Err((errno, value)) => (Reply { tag, errno: u32::from(errno.0), value: *value }, &nothing),
        };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds;
        if let Some(fd) = &answer.fd {
            fds = [fd.as_fd()];
            control.push(SendAncillaryMessage::ScmRights(&fds));
        }
        let parts = [IoSlice::new(head.as_bytes()), IoSlice::new(&answer.body)];
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        size_of::<Reply>() + answer.body.len() <= MAX_PACKET
            && sendmsg(&self.fd, &parts, &mut control, flags).is_ok()
    }
}
