//! Sequenced-packet sockets that carry credentials and descriptors. unix(7), sendmsg(2), recvmsg(2), cmsg(3).

use crate::arch::{nr, own_syscall};
use crate::fd::Fd;
use ring3_abi::{Errno, Gid, Pid, Uid};

const AF_UNIX: usize = 1;
const SOCK_SEQPACKET: usize = 5;
const SOCK_CLOEXEC: usize = 0o2000000;
const MSG_CTRUNC: i32 = 8;
const MSG_NOSIGNAL: usize = 0x4000;
const MSG_CMSG_CLOEXEC: usize = 0x4000_0000;
const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;
const SCM_CREDENTIALS: i32 = 2;

/// What a sender says of itself; the kernel refuses what is not so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Credentials {
    /// Process.
    pub pid: Pid,
    /// User.
    pub uid: Uid,
    /// Group.
    pub gid: Gid,
}

/// A packet as it came.
#[derive(Debug, Default)]
pub struct Received {
    /// Bytes of data; 0 is the other end's hanging up.
    pub len: usize,
    /// The descriptor beside it, close-on-exec; the caller's to close.
    pub fd: Option<i32>,
    /// Who sent it, on a socket with SO_PASSCRED.
    pub creds: Option<Credentials>,
    /// Data or a descriptor did not fit and is lost.
    pub cut: bool,
}

/// What to do if a call cannot be done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Sleep.
    Block,
    /// `EAGAIN`.
    DontWait,
}

const MSG_DONTWAIT: usize = 0x40;
const MSG_TRUNC: i32 = 0x20;

impl Wait {
    fn flag(self) -> usize {
        if self == Wait::DontWait { MSG_DONTWAIT } else { 0 }
    }
}

#[repr(C)]
struct Iovec {
    base: *const u8,
    len: usize,
}

#[repr(C)]
struct Msghdr {
    name: *const u8,
    name_len: u32,
    iov: *const Iovec,
    iov_len: usize,
    control: *mut u8,
    control_len: usize,
    flags: i32,
}

/// Room for one descriptor and one set of credentials, with their headers (16 + 8, 16 + 16).
#[repr(C, align(8))]
struct Control([u8; 56]);

/// A connected pair.
pub fn pair() -> Result<[i32; 2], Errno> {
    let mut both = [0i32; 2];
    let kind = SOCK_SEQPACKET | SOCK_CLOEXEC;
    // SAFETY: the kernel writes two numbers into `both`.
    let raw = unsafe { own_syscall(nr::SOCKETPAIR, [AF_UNIX, kind, 0, both.as_mut_ptr() as usize, 0, 0]) };
    Errno::decode(raw).map(|_| both)
}

fn socket() -> Result<Fd, Errno> {
    // SAFETY: numbers only.
    let raw = unsafe { own_syscall(nr::SOCKET, [AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, 0, 0, 0]) };
    Errno::decode(raw).map(|n| Fd::own(n as i32))
}

fn address(path: &[u8]) -> Result<[u8; 110], Errno> {
    let mut address = [0u8; 110];
    address[0] = AF_UNIX as u8;
    if path.is_empty() || path.len() > 107 {
        return Err(Errno::EINVAL);
    }
    for (to, from) in address[2..].iter_mut().zip(path) {
        *to = *from;
    }
    Ok(address)
}

/// Connects to a path (at most 107 bytes, without a NUL).
pub fn connect(path: &[u8]) -> Result<i32, Errno> {
    let (fd, address) = (socket()?, address(path)?);
    loop {
        // SAFETY: the address is ours and 110 bytes long.
        let raw =
            unsafe { own_syscall(nr::CONNECT, [fd.raw() as usize, address.as_ptr() as usize, 110, 0, 0, 0]) };
        match Errno::decode(raw) {
            Ok(_) => return Ok(fd.into_raw()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// No more packets come in: a receive answers at once.
pub fn shutdown_receive(fd: i32) {
    // SAFETY: numbers only.
    unsafe { own_syscall(nr::SHUTDOWN, [fd as usize, 0, 0, 0, 0, 0]) };
}

fn put(control: &mut [u8], at: usize, kind: i32, words: &[u32]) -> usize {
    let len = 16 + words.len() * 4;
    let header =
        (len as u64).to_ne_bytes().into_iter().chain(SOL_SOCKET.to_ne_bytes()).chain(kind.to_ne_bytes());
    let body = words.iter().flat_map(|w| w.to_ne_bytes());
    for (to, from) in control.iter_mut().skip(at).zip(header.chain(body)) {
        *to = from;
    }
    at + len.next_multiple_of(8)
}

/// Sends one packet made of up to three parts, with the sender's credentials and perhaps a descriptor. Goes on after EINTR.
pub fn send(
    fd: i32,
    parts: &[&[u8]],
    creds: Option<Credentials>,
    pass: Option<i32>,
    wait: Wait,
) -> Result<usize, Errno> {
    let mut iov = [const { Iovec { base: core::ptr::null(), len: 0 } }; 3];
    for (to, part) in iov.iter_mut().zip(parts) {
        *to = Iovec { base: part.as_ptr(), len: part.len() };
    }
    let mut control = Control([0; 56]);
    let mut control_len = 0;
    if let Some(who) = creds {
        control_len = put(&mut control.0, control_len, SCM_CREDENTIALS, &[who.pid, who.uid, who.gid]);
    }
    if let Some(pass) = pass {
        control_len = put(&mut control.0, control_len, SCM_RIGHTS, &[pass as u32]);
    }
    let header = Msghdr {
        name: core::ptr::null(),
        name_len: 0,
        iov: iov.as_ptr(),
        iov_len: iov.len(),
        control: control.0.as_mut_ptr(),
        control_len,
        flags: 0,
    };
    let flags = MSG_NOSIGNAL | wait.flag();
    loop {
        // SAFETY: the header names memory that lives through the call.
        let raw =
            unsafe { own_syscall(nr::SENDMSG, [fd as usize, (&raw const header) as usize, flags, 0, 0, 0]) };
        match Errno::decode(raw) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Receives one packet. # Errors: `EINTR` too: the caller decides.
pub fn receive(fd: i32, buf: &mut [u8], wait: Wait) -> Result<Received, Errno> {
    let iov = Iovec { base: buf.as_mut_ptr(), len: buf.len() };
    let mut control = Control([0; 56]);
    let mut header = Msghdr {
        name: core::ptr::null(),
        name_len: 0,
        iov: &raw const iov,
        iov_len: 1,
        control: control.0.as_mut_ptr(),
        control_len: size_of::<Control>(),
        flags: 0,
    };
    let flags = MSG_CMSG_CLOEXEC | wait.flag();
    // SAFETY: the header names memory of ours that lives through the call.
    let raw = unsafe { own_syscall(nr::RECVMSG, [fd as usize, (&raw mut header) as usize, flags, 0, 0, 0]) };
    let len = Errno::decode(raw)?;
    let mut received =
        Received { len, cut: header.flags & (MSG_CTRUNC | MSG_TRUNC) != 0, ..Received::default() };
    collect(&control.0, header.control_len, &mut received, true);
    Ok(received)
}

/// The type of a socket (SO_TYPE): `SEQPACKET` is 5. # Errors: `ENOTSOCK` for any other file.
pub fn kind(fd: i32) -> Result<u32, Errno> {
    const SO_TYPE: usize = 3;
    let (mut kind, mut len) = (0u32, 4u32);
    // SAFETY: the kernel writes one word into `kind`.
    let raw = unsafe {
        own_syscall(
            nr::GETSOCKOPT,
            [fd as usize, SOL_SOCKET as usize, SO_TYPE, (&raw mut kind) as usize, (&raw mut len) as usize, 0],
        )
    };
    Errno::decode(raw).map(|_| kind)
}

/// Who connected a socket (SO_PEERCRED), as it was then; process 0 if this PID namespace does not know it.
pub fn peer(fd: i32) -> Result<Credentials, Errno> {
    const SO_PEERCRED: usize = 17;
    let mut who = Credentials::default();
    let mut len = size_of::<Credentials>() as u32;
    // SAFETY: the kernel writes at most `len` bytes into `who`, three words.
    let raw = unsafe {
        own_syscall(
            nr::GETSOCKOPT,
            [
                fd as usize,
                SOL_SOCKET as usize,
                SO_PEERCRED,
                (&raw mut who) as usize,
                (&raw mut len) as usize,
                0,
            ],
        )
    };
    Errno::decode(raw).map(|_| who)
}

/// From now on every packet received tells who sent it (SO_PASSCRED).
pub fn want_credentials(fd: i32) -> Result<(), Errno> {
    const SO_PASSCRED: usize = 16;
    let on = 1u32;
    // SAFETY: the kernel reads one word.
    let raw = unsafe {
        own_syscall(
            nr::SETSOCKOPT,
            [fd as usize, SOL_SOCKET as usize, SO_PASSCRED, (&raw const on) as usize, 4, 0],
        )
    };
    Errno::decode(raw).map(|_| ())
}

/// Listens at a path that does not exist yet.
pub fn listen(path: &[u8], backlog: u32) -> Result<i32, Errno> {
    let (fd, address) = (socket()?, address(path)?);
    // SAFETY: the address is ours and 110 bytes long.
    let raw = unsafe { own_syscall(nr::BIND, [fd.raw() as usize, address.as_ptr() as usize, 110, 0, 0, 0]) };
    Errno::decode(raw)?;
    // SAFETY: numbers only.
    let raw = unsafe { own_syscall(nr::LISTEN, [fd.raw() as usize, backlog as usize, 0, 0, 0, 0]) };
    Errno::decode(raw).map(|_| fd.into_raw())
}

/// Takes the next connection: close-on-exec, non-blocking accept if the listener is.
pub fn accept(fd: i32) -> Result<i32, Errno> {
    // SAFETY: null pointers ask for no address.
    let raw = unsafe { own_syscall(nr::ACCEPT4, [fd as usize, 0, 0, SOCK_CLOEXEC, 0, 0]) };
    Errno::decode(raw).map(|n| n as i32)
}

/// Takes descriptors and credentials out of a control buffer. More descriptors than one are closed if these are `new`.
pub(crate) fn collect(control: &[u8], len: usize, received: &mut Received, new: bool) {
    let word =
        |at: usize| control.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes);
    let mut at = 0;
    while at + 16 <= len {
        let size = word(at) as usize;
        if size < 16 || at + size > len {
            return;
        }
        match (word(at + 8) as i32, word(at + 12) as i32) {
            (SOL_SOCKET, SCM_RIGHTS) if new => {
                for i in 0..(size - 16) / 4 {
                    let fd = Fd::own(word(at + 16 + i * 4) as i32);
                    if received.fd.is_none() {
                        received.fd = Some(fd.into_raw());
                    }
                }
            }
            (SOL_SOCKET, SCM_CREDENTIALS) if size >= 28 => {
                received.creds =
                    Some(Credentials { pid: word(at + 16), uid: word(at + 20), gid: word(at + 24) });
            }
            _ => {}
        }
        at += size.next_multiple_of(8);
    }
}
