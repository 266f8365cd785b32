//! systemd's notify protocol, both ends, and its store of descriptors. sd_notify(3), sd_listen_fds(3).
//!
//! The service tells its manager; and `ring3 serve --daemon` is a manager too: it listens for its own
//! background process to be ready.

use crate::sys;
use ring3_broker::Store;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The variable that names the manager's socket.
pub(crate) const VARIABLE: &str = "NOTIFY_SOCKET";

/// Tells the manager `state`, if there is one. A manager that cannot be reached is not an error of ours.
pub(crate) fn tell(state: &str) {
    let Some(name) = env::var_os(VARIABLE) else { return };
    let send =
        || -> io::Result<usize> { UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address(&name)?) };
    if let Err(why) = send() {
        eprintln!("ring3: cannot notify {}: {why}", name.to_string_lossy());
    }
}

/// The variable by which the manager says that it keeps descriptors, and how many (systemd 254 and later; else the unit may set it).
pub(crate) const STORE: &str = "FDSTORE";

/// The manager's store of descriptors, for the namespace of this name.
#[derive(Clone, Debug)]
pub(crate) struct FdStore {
    manager: OsString,
    name: String,
}

impl FdStore {
    /// The store, if the manager has one for us.
    pub(crate) fn of(namespace: &str) -> Option<FdStore> {
        let manager = env::var_os(VARIABLE)?;
        env::var(STORE).ok()?.parse::<u32>().ok().filter(|&most| most > 0)?;
        Some(FdStore { manager, name: namespace.to_string() })
    }

    /// Has it let go of everything.
    pub(crate) fn clear(&self) {
        // A manager that is gone keeps nothing.
        let _ = self.send(&format!("FDSTOREREMOVE=1\nFDNAME={}", self.name), &[]);
    }

    fn send(&self, text: &str, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address(&self.manager)?)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        sendmsg(&socket, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

impl Store for FdStore {
    fn keep(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        // Both ends of what is kept are there: it never hangs up.
        self.send(&format!("FDSTORE=1\nFDPOLL=0\nFDNAME={}", self.name), &[fd])
    }
}

/// The descriptors that the manager gives back for a namespace, if this is the process that it gives them to. Asked once.
pub(crate) fn given_back(namespace: &str) -> Vec<OwnedFd> {
    let text = |name| env::var(name).unwrap_or_default();
    if text("LISTEN_PID").parse() != Ok(std::process::id()) {
        return Vec::new();
    }
    let count: i32 = text("LISTEN_FDS").parse().unwrap_or(0);
    let names = text("LISTEN_FDNAMES");
    // In the order of the names, from the first behind the standard streams on.
    let all = (3..3 + count).zip(names.split(':'));
    all.filter(|(_, name)| *name == namespace).map(|(fd, _)| sys::owned(fd)).collect()
}

/// A path, or after `@` an abstract name.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().split_first() {
        Some((b'@', rest)) => SocketAddr::from_abstract_name(rest),
        _ => SocketAddr::from_pathname(name),
    }
}

/// A manager's end: a socket with an abstract name of its own.
pub(crate) struct Manager {
    socket: UnixDatagram,
    /// What the service finds in [`VARIABLE`].
    pub(crate) name: OsString,
}

impl Manager {
    /// Makes one.
    pub(crate) fn new() -> io::Result<Manager> {
        let plain = format!("ring3-notify-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&plain)?)?;
        let name = OsString::from_vec([b"@", plain.as_bytes()].concat());
        Ok(Manager { socket, name })
    }

    /// Waits a little for `READY=1`.
    pub(crate) fn ready_within(&self, time: Duration) -> io::Result<bool> {
        self.socket.set_read_timeout(Some(time))?;
        let mut buffer = [0; 512];
        match self.socket.recv(&mut buffer) {
            Ok(len) => Ok(buffer[..len].split(|byte| *byte == b'\n').any(|line| line == b"READY=1")),
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(why) => Err(why),
        }
    }
}
