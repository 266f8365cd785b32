//! How connections come in, and how many: accept(2), and Adopt. The broker's descriptors are what a namespace's users have in common, so
//! nobody takes more than a part of them (`abi/src/limits.rs`, `policy/quota.rs`).
//!
//! # Invariants
//! O1. A connection that is there counts for the process and the user that made it.
//! O2. One descriptor is kept back. When there is no other, it gives its place to whoever knocks, who is sent away at once: otherwise the
//!     listener stays readable, and the loop never sleeps.

use super::Server;
use super::client::{Conn, Request, is_readable, prepare};
use super::{Packet, Source};
use crate::life::ConnId;
use crate::policy::quota::{Account, Means, Quota};
use crate::regions;
use crate::state::{Held, keep};
use ring3_abi::limits::CONNECTIONS_OF_A_PROCESS;
use ring3_abi::{Errno, Pid, Uid};
use ring3_os::socket;
use rustix::io::Errno as Os;
use rustix::net::{SocketFlags, accept_with, getsockname};
use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Who made a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Maker {
    pid: Pid,
    uid: Uid,
}
keep!(Maker { pid, uid });

/// Who has how many connections.
#[derive(Debug)]
pub(super) struct Doors {
    by_process: HashMap<Pid, usize>,
    by_user: Account<Means>,
    quota: Quota,
    spare: Option<OwnedFd>,
}

impl Doors {
    pub(super) fn new(quota: Quota) -> Doors {
        let (by_process, by_user) = Default::default();
        Doors { by_process, by_user, quota, spare: spare() }
    }

    /// The descriptor that is kept back.
    pub(super) fn descriptor(&self) -> Option<RawFd> {
        self.spare.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Counts a connection that another broker let in.
    pub(super) fn count(&mut self, maker: Maker) {
        *self.by_process.entry(maker.pid).or_default() += 1;
        self.by_user.take(Means::Connections, maker.uid, 1);
    }

    /// Counts a connection, if its maker may have one more.
    fn admit(&mut self, maker: Maker) -> bool {
        let of_process = self.by_process.get(&maker.pid).copied().unwrap_or(0);
        let may = self.quota.means(&self.by_user, Means::Connections, maker.uid, 1);
        if of_process >= CONNECTIONS_OF_A_PROCESS || !may {
            return false;
        }
        self.count(maker);
        true
    }

    /// A connection is gone.
    pub(super) fn leave(&mut self, maker: Maker) {
        if let Some(count) = self.by_process.get_mut(&maker.pid) {
            *count -= 1;
            if *count == 0 {
                self.by_process.remove(&maker.pid);
            }
        }
        self.by_user.give_back(Means::Connections, maker.uid, 1);
    }
}

/// A descriptor that is worth nothing else.
fn spare() -> Option<OwnedFd> {
    rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).ok()
}

impl Server {
    /// Lets in whoever knocks.
    pub(super) fn accept(&mut self) {
        while is_readable(&self.listener) {
            match accept_with(&self.listener, SocketFlags::CLOEXEC) {
                Ok(fd) => {
                    let Ok(peer) = socket::peer(fd.as_raw_fd()) else { continue };
                    self.adopt(fd.into(), Maker { pid: peer.pid, uid: peer.uid });
                }
                Err(Os::MFILE | Os::NFILE) if self.doors.spare.is_some() => self.send_away(),
                Err(_) => return,
            }
        }
    }

    /// Takes a connection that the last broker had accepted and not committed; anything else is closed.
    pub(super) fn let_in_again(&mut self, stray: OwnedFd) {
        let (Ok(here), Ok(there)) = (getsockname(&self.listener), getsockname(&stray)) else { return };
        if here == there
            && let Ok(peer) = socket::peer(stray.as_raw_fd())
        {
            self.adopt(stray.into(), Maker { pid: peer.pid, uid: peer.uid });
        }
    }

    /// Nobody else can be let in: who knocks is told so by a hang-up (O2).
    fn send_away(&mut self) {
        self.doors.spare = None;
        let _ = accept_with(&self.listener, SocketFlags::CLOEXEC);
        self.doors.spare = spare();
    }

    /// Takes a connection, or closes it.
    fn adopt(&mut self, fd: Held, maker: Maker) {
        let conn = ConnId(*self.last_conn + 1);
        if !prepare(&fd) || !self.doors.admit(maker) {
            return;
        }
        if self.watch(&fd, Source::Conn(conn)).is_err() {
            return self.doors.leave(maker);
        }
        *self.last_conn.change() += 1;
        self.conns.insert(conn, Conn { fd, maker, owner: None });
    }

    /// Adopt: takes a copy of the connection that came beside it.
    pub(super) fn adopt_copy(&mut self, asked: &Request, _: &Packet<'_>) -> Result<(), Errno> {
        let fd = asked.fd.as_ref().ok_or(Errno::EPROTO)?;
        // Without a descriptor for it, whoever asked sees it hang up.
        if let Ok(copy) = regions::copy(fd) {
            self.adopt(copy, Maker { pid: asked.creds.pid, uid: asked.creds.uid });
        }
        Ok(())
    }
}
