//! What is told of segments: IPC_STAT, IPC_INFO, SHM_INFO, /proc/sysvipc/shm, listings.
//! shmctl(2), proc(5); kernel: shmctl_stat(), shmctl_ipc_info(), shmctl_shm_info(), sysvipc_shm_proc_show().

use super::KIND;
use super::segment::{PAGE, Segment};
use crate::abroad::View;
use crate::mechanism::Row;
use crate::namespace::Namespace;
use ring3_abi::shm::{ShmInfo, Shmid, Shminfo};
use ring3_abi::{Errno, IpcId};
use std::fmt::Write as _;
use zerocopy::IntoBytes;

/// The first line of /proc/sysvipc/shm.
pub(super) const HEAD: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n";

fn segment(ns: &Namespace, id: IpcId) -> Result<&Segment, Errno> {
    ns.states.shm.segments.get(&id).ok_or(Errno::EINVAL)
}

fn state(ns: &Namespace, id: IpcId) -> Result<Shmid, Errno> {
    let (object, segment) = (ns.object(KIND, id)?, segment(ns, id)?);
    Ok(segment.told().shmid(object.perm.to_kernel(), segment.size))
}

/// The state as its reader sees it.
fn seen(ns: &Namespace, id: IpcId, view: &View) -> Result<Shmid, Errno> {
    let mut now = state(ns, id)?;
    view.perm(&mut now.perm);
    (now.cpid, now.lpid) = (view.pid(ns, now.cpid), view.pid(ns, now.lpid));
    Ok(now)
}

pub(super) fn stat(ns: &Namespace, id: IpcId, view: &View) -> Result<Vec<u8>, Errno> {
    Ok(seen(ns, id, view)?.as_bytes().to_vec())
}

/// SHM_INFO.
pub(super) fn usage(ns: &Namespace) -> Vec<u8> {
    let resident: Vec<(u64, u64)> = ns.states.shm.segments.values().map(Segment::resident).collect();
    let info = ShmInfo {
        used_ids: resident.len() as i32,
        shm_tot: ns.states.shm.pages,
        shm_rss: resident.iter().map(|pages| pages.0).sum(),
        shm_swp: resident.iter().map(|pages| pages.1).sum(),
        ..ShmInfo::default()
    };
    info.as_bytes().to_vec()
}

/// IPC_INFO.
pub(super) fn limits(ns: &Namespace) -> Vec<u8> {
    Shminfo::of(ns.limits()).as_bytes().to_vec()
}

pub(super) fn row(ns: &Namespace, id: IpcId) -> Result<Row, Errno> {
    let now = state(ns, id)?;
    Ok(Row { size: now.segsz, count: now.nattch, last_use: now.atime.max(now.dtime), ctime: now.ctime })
}

pub(super) fn line(ns: &Namespace, id: IpcId, view: &View) -> Result<String, Errno> {
    let s = seen(ns, id, view)?;
    let p = s.perm;
    let (rss, swap) = segment(ns, id)?.resident();
    let mut line = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        line,
        "{:10} {:10}  {:4o} {:21} {:5} {:5}  {:5}",
        p.key, id, p.mode, s.segsz, s.cpid, s.lpid, s.nattch
    );
    let _ = write!(
        line,
        " {:5} {:5} {:5} {:5} {:10} {:10} {:10}",
        p.uid, p.gid, p.cuid, p.cgid, s.atime, s.dtime, s.ctime
    );
    let _ = writeln!(line, " {:21} {:21}", rss * PAGE, swap * PAGE);
    Ok(line)
}
