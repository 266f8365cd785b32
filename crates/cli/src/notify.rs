//! systemd's notify protocol, both ends. sd_notify(3).
//!
//! The service tells its manager; and `ring3 serve --daemon` is a manager too: it listens for its own
//! background process to be ready.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
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
