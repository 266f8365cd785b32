//! The files of /proc that a namespace has of its own. proc(5); kernel: sysvipc_msg_proc_show() and its sisters, ipc/ipc_sysctl.c.
//!
//! Reading gives a sealed memory file with the text of this moment. Writing goes through a pipe (or a socket, if the file is to be read too)
//! that the broker empties before it handles any request. Only the first write of an open counts, as in the kernel's strict mode.

use crate::failure::errno;
use crate::mechanism;
use crate::namespace::{Namespace, Trouble};
use crate::policy::creds::Creds;
use crate::policy::limits;
use crate::regions::{memory_file, read_only, seal};
use crate::serve::Server;
use crate::serve::client::{Answer, Request};
use ring3_abi::{Errno, IpcId, Kind};
use ring3_wire::Packet;
use ring3_wire::request::{Proc, ProcFile};
use rustix::fs::{MemfdFlags, OFlags, SealFlags};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use std::os::fd::OwnedFd;

/// A file of limits that somebody has open for writing.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) fd: OwnedFd,
    file: ProcFile,
    used: bool,
}

/// Opens a file.
fn open(ns: &mut Namespace, creds: &Creds, ask: &Proc) -> Result<(Answer, Option<Written>), Trouble> {
    let file = ProcFile::from_u32(ask.file).ok_or(Errno::ENOENT)?;
    let table = mechanism::all().find(|(_, mechanism)| mechanism.facts().table == file);
    if ask.access != 0 && (table.is_some() || !limits::may_set_file(ns, creds, file)) {
        return Err(Errno::EACCES.into());
    }
    let text = match table {
        Some((kind, _)) => table_text(ns, kind)?,
        None => limits::text(ns.limits(), file),
    };
    let (theirs, ours) = match ask.access {
        0 => return Ok((Answer::default().passing(snapshot(&text)?), None)),
        1 => write_end()?,
        2 => both_ways(&text)?,
        _ => return Err(Errno::EINVAL.into()),
    };
    Ok((Answer::default().passing(theirs), Some(Written { fd: ours, file, used: false })))
}

impl Server {
    /// Proc: opens a file, and watches what is written to it.
    pub(crate) fn proc(&mut self, asked: &Request, packet: &Packet<'_>) -> Result<Answer, Trouble> {
        let (answer, written) = open(&mut self.ns, &asked.creds, &packet.body()?)?;
        if let Some(written) = written {
            self.watch_written(written);
        }
        Ok(answer)
    }
}

fn snapshot(text: &str) -> Result<OwnedFd, Errno> {
    let file = memory_file("ring3-proc", MemfdFlags::empty())?;
    rustix::io::write(&file, text.as_bytes()).map_err(errno)?;
    seal(&file, SealFlags::GROW | SealFlags::WRITE)?;
    read_only(&file)
}

/// A pipe that keeps writes apart.
fn write_end() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::DIRECT).map_err(errno)?;
    rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK).map_err(errno)?;
    Ok((theirs, ours))
}

/// A socket that reads like the file and takes writes.
fn both_ways(text: &str) -> Result<(OwnedFd, OwnedFd), Errno> {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).map_err(errno)?;
    rustix::io::write(&ours, text.as_bytes()).map_err(errno)?;
    rustix::net::shutdown(&ours, Shutdown::Write).map_err(errno)?;
    rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK).map_err(errno)?;
    Ok((theirs, ours))
}

impl Written {
    /// Puts in force what was written. Answers false when the writer has closed.
    pub(crate) fn drain(&mut self, ns: &mut Namespace) -> bool {
        let mut buffer = [0u8; 4096];
        loop {
            let got = match rustix::io::read(&self.fd, &mut buffer) {
                Ok(0) => return false,
                Ok(got) => got,
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return true,
                Err(_) => return false,
            };
            if std::mem::replace(&mut self.used, true) {
                continue;
            }
            let mut new = *ns.limits();
            // A writer cannot be told of a bad number any more. What stood before it is set, as in the kernel.
            let _ = limits::write(&mut new, self.file, buffer.get(..got).unwrap_or_default());
            ns.apply_limits(new);
        }
    }
}

fn table_text(ns: &mut Namespace, kind: Kind) -> Result<String, Trouble> {
    let mechanism = mechanism::of(kind);
    let mut text = String::from(mechanism.facts().head);
    let ids: Vec<IpcId> = ns.names(kind).iter().map(|(id, _)| id).collect();
    for id in ids {
        match mechanism.line(ns, id) {
            Ok(line) => text.push_str(&line),
            Err(Trouble::Later) => return Err(Trouble::Later),
            // A spoiled region has nothing to print.
            Err(Trouble::Errno(_)) => {}
        }
    }
    Ok(text)
}
