//! The files of /proc that a namespace has of its own. proc(5); kernel: sysvipc_msg_proc_show() and its sisters, ipc/ipc_sysctl.c.
//!
//! Reading gives a sealed memory file with the text of this moment. Writing goes through a pipe (or a socket, if the file is to be read too)
//! that the broker empties before it handles any request. Only the first write of an open counts, as in the kernel's strict mode.

use crate::client::Answer;
use crate::creds::Creds;
use crate::failure::errno;
use crate::handle::query::{apply_limits, may_set, queue_state, segment_state, set_state};
use crate::limits;
use crate::namespace::{Namespace, Trouble};
use crate::object::Object;
use crate::regions::{memory_file, read_only, seal};
use ring3_abi::{Errno, IpcId, Kind};
use ring3_wire::request::{Proc, ProcFile};
use rustix::fs::{MemfdFlags, OFlags, SealFlags};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use std::fmt::Write as _;
use std::os::fd::OwnedFd;

/// A file of limits that somebody has open for writing.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) fd: OwnedFd,
    file: ProcFile,
    used: bool,
}

/// Opens a file.
pub(crate) fn open(
    ns: &mut Namespace,
    creds: &Creds,
    ask: &Proc,
) -> Result<(Answer, Option<Written>), Trouble> {
    let file = ProcFile::from_u32(ask.file).ok_or(Errno::ENOENT)?;
    let table = matches!(file, ProcFile::SysvipcMsg | ProcFile::SysvipcSem | ProcFile::SysvipcShm);
    if ask.access != 0 && (table || !may_set(ns, creds, file)) {
        return Err(Errno::EACCES.into());
    }
    let text = if table { table_text(ns, file)? } else { limits::text(ns.limits(), file) };
    let (theirs, ours) = match ask.access {
        0 => return Ok((Answer::default().passing(snapshot(&text)?), None)),
        1 => write_end()?,
        2 => both_ways(&text)?,
        _ => return Err(Errno::EINVAL.into()),
    };
    Ok((Answer::default().passing(theirs), Some(Written { fd: ours, file, used: false })))
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
            apply_limits(ns, new);
        }
    }
}

fn table_text(ns: &mut Namespace, file: ProcFile) -> Result<String, Trouble> {
    let (kind, head) = match file {
        ProcFile::SysvipcMsg => (Kind::Msg, MSG_HEAD),
        ProcFile::SysvipcSem => (Kind::Sem, SEM_HEAD),
        _ => (Kind::Shm, SHM_HEAD),
    };
    let mut text = String::from(head);
    let ids: Vec<IpcId> = ns.names(kind).iter().map(|(id, _)| id).collect();
    for id in ids {
        let line = match kind {
            Kind::Msg => msg_line(ns, id),
            Kind::Sem => sem_line(ns, id),
            Kind::Shm => {
                ns.object(kind, id).map(|object| shm_line(object).unwrap_or_default()).map_err(Trouble::from)
            }
        };
        match line {
            Ok(line) => text.push_str(&line),
            Err(Trouble::Later) => return Err(Trouble::Later),
            // A spoiled region has nothing to print.
            Err(Trouble::Errno(_)) => {}
        }
    }
    Ok(text)
}

const MSG_HEAD: &str = "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n";
const SEM_HEAD: &str =
    "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n";
const SHM_HEAD: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n";

fn msg_line(ns: &mut Namespace, id: IpcId) -> Result<String, Trouble> {
    let q = queue_state(ns, id)?;
    let p = q.perm;
    Ok(format!(
        "{:10} {:10}  {:4o}  {:10} {:10} {:5} {:5} {:5} {:5} {:5} {:5} {:10} {:10} {:10}\n",
        p.key,
        id,
        p.mode,
        q.cbytes,
        q.qnum,
        q.lspid,
        q.lrpid,
        p.uid,
        p.gid,
        p.cuid,
        p.cgid,
        q.stime,
        q.rtime,
        q.ctime
    ))
}

fn sem_line(ns: &mut Namespace, id: IpcId) -> Result<String, Trouble> {
    let s = set_state(ns, id)?;
    let p = s.perm;
    Ok(format!(
        "{:10} {:10}  {:4o} {:10} {:5} {:5} {:5} {:5} {:10} {:10}\n",
        p.key, id, p.mode, s.nsems, p.uid, p.gid, p.cuid, p.cgid, s.otime, s.ctime
    ))
}

fn shm_line(object: &Object) -> Option<String> {
    let s = segment_state(object)?;
    let p = s.perm;
    let (rss, swap) = object.segment()?.resident();
    let page = crate::segment::PAGE;
    let mut line = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        line,
        "{:10} {:10}  {:4o} {:21} {:5} {:5}  {:5}",
        p.key, object.perm.id, p.mode, s.segsz, s.cpid, s.lpid, s.nattch
    );
    let _ = write!(
        line,
        " {:5} {:5} {:5} {:5} {:10} {:10} {:10}",
        p.uid, p.gid, p.cuid, p.cgid, s.atime, s.dtime, s.ctime
    );
    let _ = writeln!(line, " {:21} {:21}", rss * page, swap * page);
    Some(line)
}
