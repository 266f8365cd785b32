//! A connection to a broker, as `ls`, `rm` and `stop` need it: one request, one answer.
//!
//! It never says Hello, so it is no process of the namespace and nothing waits for it to end.

use crate::fault::{Fault, Result};
use crate::place::Namespace;
use ring3_abi::{Errno, Kind};
use ring3_wire::{MAX_PACKET, Op, Reply, codec, reply, request};
use rustix::io::IoSlice;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, UCred,
};
use std::env;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Connects to the socket at `path`.
pub(crate) fn dial(path: &Path) -> rustix::io::Result<OwnedFd> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// A connection to a namespace's broker.
pub(crate) struct Client {
    socket: OwnedFd,
    place: String,
    tag: u32,
}

impl Client {
    /// Connects to the namespace `name`, or without a name to the one that this command runs in.
    pub(crate) fn to(name: Option<&str>) -> Result<Client> {
        let Some(name) = name else { return Client::around() };
        let namespace = Namespace::named(name)?;
        let socket = namespace.dial().map_err(|why| match why {
            rustix::io::Errno::NOENT | rustix::io::Errno::CONNREFUSED => namespace.missing(),
            why => Fault::file("reach", &namespace.socket(), why),
        })?;
        Ok(Client { socket, place: format!("namespace {name:?}"), tag: 0 })
    }

    fn around() -> Result<Client> {
        let path = env::var_os("RING3_SOCKET")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .ok_or_else(|| {
                Fault::new("not in a namespace")
                    .remedy("name one with --in NAME, or run this under: ring3 run --")
            })?;
        let socket = dial(&path).map_err(|why| {
            Fault::file("reach the namespace at", &path, why)
                .remedy("its broker is gone; name another with --in NAME")
        })?;
        Ok(Client { socket, place: "this namespace".to_string(), tag: 0 })
    }

    /// Asks and waits for the answer: its value and body, or the broker's refusal.
    fn ask(
        &mut self,
        op: Op,
        body: &(impl IntoBytes + Immutable),
    ) -> Result<std::result::Result<(i64, Vec<u8>), Errno>> {
        self.tag = self.tag.wrapping_add(1);
        let thread = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
        let mut packet = [0; 256];
        let packet = codec::encode(&mut packet, &codec::head(op, thread, self.tag), body.as_bytes(), &[])
            .ok_or_else(|| Fault::new("a request is too long"))?;
        let answer = self
            .exchange(packet)
            .map_err(|why| Fault::io(&format!("ask the broker of {}", self.place), why))?;
        let (head, rest): (Reply, &[u8]) = match codec::reply(&answer) {
            Ok((head, rest)) if head.tag == self.tag => (head, rest),
            _ => {
                return Err(Fault::new(format!("the broker of {} hung up or answered nonsense", self.place)));
            }
        };
        Ok(match u16::try_from(head.errno) {
            Ok(0) => Ok((head.value, rest.to_vec())),
            other => Err(Errno(other.unwrap_or(u16::MAX))),
        })
    }

    fn exchange(&self, packet: &[u8]) -> rustix::io::Result<Vec<u8>> {
        use rustix::process::{getegid, geteuid, getpid};
        let me = UCred { pid: getpid(), uid: geteuid(), gid: getegid() };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        beside.push(SendAncillaryMessage::ScmCredentials(me));
        rustix::net::sendmsg(&self.socket, &[IoSlice::new(packet)], &mut beside, SendFlags::NOSIGNAL)?;
        let mut answer = vec![0; MAX_PACKET];
        let len = rustix::io::read(self.socket.as_fd(), &mut *answer)?;
        answer.truncate(len);
        Ok(answer)
    }

    /// All objects of a kind, by index.
    pub(crate) fn list(&mut self, kind: Kind) -> Result<Vec<reply::Detail>> {
        let (mut found, mut index) = (Vec::new(), 0);
        loop {
            match self.ask(Op::Detail, &request::Detail { kind: kind.into(), index })? {
                Ok((_, body)) => {
                    let (detail, _) = reply::Detail::read_from_prefix(&body)
                        .map_err(|_| Fault::new(format!("the broker of {} answered nonsense", self.place)))?;
                    index = detail.index.saturating_add(1);
                    found.push(detail);
                }
                Err(Errno::ENOENT) => return Ok(found),
                Err(why) => {
                    return Err(Fault::new(format!("cannot list {} of {}: {why}", kind.word(), self.place)));
                }
            }
        }
    }

    /// Makes the kernel's IPC namespace of this process one with the broker's own, for the program that this process becomes.
    pub(crate) fn join(&mut self) -> Result<()> {
        let joined = self.ask(Op::Join, &[0_u8; 0])?;
        joined.map(drop).map_err(|why| Fault::new(format!("the broker of {} refuses: {why}", self.place)))
    }

    /// Removes an object.
    pub(crate) fn remove(&mut self, kind: Kind, id: i32) -> Result<std::result::Result<(), Errno>> {
        Ok(self.ask(Op::Remove, &request::Object { kind: kind.into(), id })?.map(drop))
    }

    /// Ends the broker. `EBUSY`: processes still need it.
    pub(crate) fn shutdown(&mut self) -> Result<std::result::Result<(), Errno>> {
        Ok(self.ask(Op::Shutdown, &[0_u8; 0])?.map(drop))
    }

    /// Waits until the broker hangs up.
    pub(crate) fn wait_end(&self) {
        let mut nothing = [0; 64];
        while rustix::io::read(self.socket.as_fd(), &mut nothing).is_ok_and(|len| len > 0) {}
    }
}
