//! One packet to the broker, and one from it. unix(7), SCM_CREDENTIALS, SCM_RIGHTS; kernel: unix_dgram_sendmsg(), scm_check_creds().
//!
//! # Invariants
//! A1. A packet says who sends it: process, user and group as this thread has them, which the kernel has checked.
//! A2. An answer belongs to the request with its tag; another's is dropped.

use crate::process::{deputy, identity};
use crate::thread::section;
use crate::thread::turns::Turns;
use ring3_abi::Errno;
use ring3_os::fd::Fd;
use ring3_os::socket::{self, Credentials, Wait};
use ring3_os::{cred, poll, process as os, time};
use ring3_wire::{Op, Reply, codec};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// How often the answer is looked for before sleeping until it comes: some 20 µs. A broker that gets the CPU may take longer than a peer.
const TURNS: Turns = Turns { count: 32, own: 200_000, rare: 64, pause: 1 };

/// How long it is looked for, nanoseconds, in a call that may sleep on its object: the program must not see it asleep before
/// (`section::Entry`). A broker that takes longer is stopped, or has no CPU.
const AWAKE: u64 = 100_000_000;

/// What the kernel calls a user or group that the caller's user namespace has no number for. Such a one cannot be claimed, but the kernel
/// fills in the *real* ids of whoever claims nothing: the same, but for a set-user-ID program in such a namespace. user_namespaces(7).
const UNMAPPED: u32 = 65534;

/// Bytes of a reply's head, which stands before the body in an answer's buffer.
pub const HEAD: usize = size_of::<Reply>();

/// Room for a reply whose body is a structure.
pub type Small = [u8; 256];

/// What the broker answered. The body is in the buffer given, behind [`HEAD`] bytes.
#[derive(Debug)]
pub struct Answer {
    /// The call's value.
    pub value: i64,
    /// Length of the body.
    pub len: usize,
    /// The descriptor beside it.
    pub fd: Option<Fd>,
    /// A descriptor that was beside it found no place.
    cut: bool,
}

impl Answer {
    /// The descriptor that has to be there. # Errors: `EMFILE` if none is free for it, `EPROTO` if none was sent.
    pub fn descriptor(&self) -> Result<&Fd, Errno> {
        self.fd.as_ref().ok_or(if self.cut { Errno::EMFILE } else { Errno::EPROTO })
    }

    /// The descriptor, if one was sent. # Errors: `EMFILE` if none is free for it.
    pub fn descriptor_if_any(&self) -> Result<Option<&Fd>, Errno> {
        if self.cut { Err(Errno::EMFILE) } else { Ok(self.fd.as_ref()) }
    }

    /// The same answer, its descriptor closed.
    pub(super) fn without_descriptor(self) -> Answer {
        Answer { fd: None, ..self }
    }

    /// The body as a structure. # Errors: `EPROTO` if it is none.
    pub fn body<T: FromBytes + KnownLayout + Immutable>(&self, buf: &[u8]) -> Result<T, Errno> {
        let bytes = buf.get(HEAD..HEAD + self.len).ok_or(Errno::EPROTO)?;
        T::read_from_prefix(bytes).map(|(body, _)| body).map_err(|_| Errno::EPROTO)
    }
}

/// Sends one packet, with the credentials this thread has now.
pub(crate) fn send(
    line: i32,
    op: Op,
    tag: u32,
    body: &[u8],
    rest: &[u8],
    pass: Option<i32>,
) -> Result<(), Errno> {
    let who = Credentials { pid: os::pid(), uid: cred::euid(), gid: cred::egid() };
    let head = codec::head(op, identity::tid(), tag);
    let parts = [head.as_bytes(), body, rest];
    let claim = |who| socket::send(line, &parts, who, pass, Wait::Block).map(|_| ());
    if who.uid != UNMAPPED && who.gid != UNMAPPED {
        return claim(Some(who));
    }
    if (who.uid, who.gid) != (cred::uid(), cred::gid()) {
        match claim(Some(who)) {
            Err(Errno::EINVAL | Errno::EPERM) => {}
            done => return done,
        }
    }
    // The kernel says who sends to a socket that wants to know; the broker may not have asked yet, so our end does.
    socket::want_credentials(line)?;
    claim(None)
}

/// Receives the answer to `tag`. Handlers that come meanwhile are deferred by the section; the receive goes on.
pub(super) fn receive(line: i32, tag: u32, buf: &mut [u8]) -> Result<Answer, Errno> {
    if deputy::is_short() {
        // What looks at the connection costs a process each time.
        let _ = poll::readable(line, poll::Mask::MAX);
    }
    let thread = section::thread();
    let mut outcome = None;
    let mut look = |wait| {
        match receive_once(line, tag, buf, wait) {
            Ok(Some(answer)) => outcome = Some(answer),
            Ok(None) | Err(Errno::EINTR | Errno::EAGAIN) => return false,
            Err(errno) => outcome = Some(Err(errno)),
        }
        true
    };
    // To be woken costs more than the answer does: give the CPU away a few times and look, before sleeping for it.
    let mut done = false;
    if thread.may_sleep() {
        let until = time::monotonic().saturating_add(AWAKE);
        while !done && time::monotonic() < until {
            os::give_way();
            done = look(Wait::DontWait);
        }
    } else {
        TURNS.give(&thread.brokers_turns, || {
            done = look(Wait::DontWait);
            done
        });
    }
    while !done {
        done = look(Wait::Block);
    }
    outcome.unwrap_or(Err(Errno::EPROTO))
}

/// Receives one packet; `None` if it answers something else.
pub(crate) fn receive_once(
    line: i32,
    tag: u32,
    buf: &mut [u8],
    wait: Wait,
) -> Result<Option<Result<Answer, Errno>>, Errno> {
    let received = deputy::opening(|| socket::receive(line, buf, wait))?;
    let fd = received.fd.map(Fd::own);
    if received.len == 0 {
        return Err(Errno::ECONNRESET);
    }
    let packet = buf.get(..received.len).ok_or(Errno::EPROTO)?;
    let (reply, body) = codec::reply(packet)?;
    if reply.tag != tag {
        return Ok(None);
    }
    if reply.errno != 0 {
        return Ok(Some(Err(Errno(reply.errno as u16))));
    }
    Ok(Some(Ok(Answer { value: reply.value, len: body.len(), cut: received.cut && fd.is_none(), fd })))
}
