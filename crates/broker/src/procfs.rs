//! The files of /proc that a namespace has of its own. proc(5); kernel: sysvipc_msg_proc_show() and its sisters, ipc/ipc_sysctl.c.
//!
//! A limit is one of the kernel's own files wherever the machine lets us have it (`policy/kernel_limits.rs`). Otherwise, and for a table, reading
//! gives a sealed memory file with the text of this moment; writing goes through a pipe (or a socket, if the file is to be read too) that
//! the broker empties before it handles any request. Only the first write of an open counts, as in the kernel's strict mode.

use crate::abroad::View;
use crate::failure::errno;
use crate::mechanism;
use crate::namespace::{Namespace, Trouble};
use crate::policy::creds::Creds;
use crate::policy::limits;
use crate::regions::{memory_file, read_only, seal};
use crate::serve::Server;
use crate::serve::client::{Answer, Request};
use crate::spaces::Space;
use crate::state::{Held, Keep};
use ring3_abi::{Errno, IpcId, Kind};
use ring3_wire::Packet;
use ring3_wire::claim::Numbered;
use ring3_wire::request::{Proc, ProcFile};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, SeekFrom};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use std::os::fd::OwnedFd;

/// A file of limits that somebody has open for writing.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) fd: Held,
    /// The namespace whose limits they are.
    pub(crate) space: Space,
    file: ProcFile,
    pub(crate) used: bool,
}

impl Keep for Written {
    fn put(&self, out: &mut Vec<u8>) {
        self.fd.put(out);
        self.space.put(out);
        (self.file.number(), self.used).put(out);
    }

    fn get(from: &mut &[u8]) -> Option<Written> {
        let (fd, space) = (Keep::get(from)?, Keep::get(from)?);
        let (file, used) = Keep::get(from)?;
        Some(Written { fd, space, file: ProcFile::with_number(file)?, used })
    }
}

/// Opens a file.
fn open(
    ns: &mut Namespace,
    space: Space,
    creds: &Creds,
    ask: &Proc,
) -> Result<(Answer, Option<Written>), Trouble> {
    let file = ask.file.known().ok_or(Errno::ENOENT)?;
    let flags = OFlags::from_bits_retain(ask.flags) & (OFlags::ACCMODE | OFlags::APPEND | OFlags::NONBLOCK);
    let access = flags & OFlags::ACCMODE;
    if let Some((kind, _)) = mechanism::all().find(|(_, mechanism)| mechanism.facts().table == file) {
        return Ok((table(ns, creds, kind, access)?, None));
    }
    if access != OFlags::RDONLY && !limits::may_set_file(ns, creds, file) {
        return Err(Errno::EACCES.into());
    }
    if let Some(opened) = ns.kernel_limits().and_then(|files| files.open(file, creds.uid, flags)) {
        return Ok((Answer::default().passing(opened), None));
    }
    let text = limits::text(ns.limits(), file);
    let (theirs, ours) = match access {
        OFlags::RDONLY => {
            return Ok((Answer::default().passing(Held::from(snapshot(file, &text, access)?)), None));
        }
        OFlags::WRONLY => write_end()?,
        OFlags::RDWR => both_ways(&text)?,
        _ => return Err(Errno::EINVAL.into()),
    };
    Ok((
        Answer::default().passing(Held::from(theirs)),
        Some(Written { fd: ours.into(), space, file, used: false }),
    ))
}

impl Server {
    /// Proc: opens a file, and watches what is written to it.
    pub(crate) fn proc(&mut self, asked: &Request, packet: &Packet<'_>) -> Result<Answer, Trouble> {
        let space = self.spaces.space(asked.creds.pid);
        let ns = self.spaces.at_mut(space);
        let unopened = ns.opened_limits().is_none();
        let (answer, written) = open(ns, space, &asked.creds, &packet.body()?)?;
        if let Some(written) = written {
            self.watch_written(written);
        }
        if unopened {
            self.watch_limits(space);
        }
        self.publish_writers();
        Ok(answer)
    }
}

/// Opens a table. Root may open it for writing, too, but not write.
fn table(ns: &mut Namespace, creds: &Creds, kind: Kind, access: OFlags) -> Result<Answer, Trouble> {
    if access != OFlags::RDONLY && creds.uid != 0 {
        return Err(Errno::EACCES.into());
    }
    let text = table_text(ns, kind, &View::of(ns, creds))?;
    Ok(Answer::default().passing(Held::from(snapshot(mechanism::of(kind).facts().table, &text, access)?)))
}

/// A memory file that nobody can change. The agent knows it by its mode and its name (`calls/src/syscall/files.rs`).
fn snapshot(which: ProcFile, text: &str, access: OFlags) -> Result<OwnedFd, Errno> {
    let file = memory_file(&which.path().to_string_lossy(), MemfdFlags::empty())?;
    rustix::io::write(&file, text.as_bytes()).map_err(errno)?;
    rustix::fs::fchmod(&file, Mode::RUSR | Mode::RGRP | Mode::ROTH).map_err(errno)?;
    seal(&file, SealFlags::GROW | SealFlags::WRITE)?;
    if access == OFlags::RDONLY {
        return read_only(&file);
    }
    rustix::fs::seek(&file, SeekFrom::Start(0)).map_err(errno)?;
    Ok(file)
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

fn table_text(ns: &mut Namespace, kind: Kind, view: &View) -> Result<String, Trouble> {
    let mechanism = mechanism::of(kind);
    let mut text = String::from(mechanism.facts().head);
    let ids: Vec<IpcId> = ns.names(kind).iter().map(|(id, _)| id).collect();
    for id in ids {
        match mechanism.line(ns, id, view) {
            Ok(line) => text.push_str(&line),
            Err(Trouble::Later) => return Err(Trouble::Later),
            // A spoiled region has nothing to print.
            Err(Trouble::Errno(_)) => {}
        }
    }
    Ok(text)
}
