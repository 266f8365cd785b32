//! What is told of sets: IPC_STAT, IPC_INFO, SEM_INFO, /proc/sysvipc/sem, listings.
//! semctl(2), proc(5); kernel: semctl_stat(), semctl_info(), sysvipc_sem_proc_show().

use super::{KIND, set};
use crate::abroad::View;
use crate::mechanism::Row;
use crate::namespace::{Namespace, Trouble};
use ring3_abi::IpcId;
use ring3_abi::sem::{Semid, Seminfo};
use zerocopy::IntoBytes;

/// The first line of /proc/sysvipc/sem.
pub(super) const HEAD: &str =
    "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n";

fn state(ns: &mut Namespace, id: IpcId) -> Result<Semid, Trouble> {
    let now = ns.attempt(KIND, id, |ns| set(ns, id)?.stat())?;
    let object = ns.object(KIND, id)?;
    Ok(now.semid(object.perm.to_kernel(), object.size))
}

/// The state as its reader sees it.
fn seen(ns: &mut Namespace, id: IpcId, view: &View) -> Result<Semid, Trouble> {
    let mut now = state(ns, id)?;
    view.perm(&mut now.perm);
    Ok(now)
}

pub(super) fn stat(ns: &mut Namespace, id: IpcId, view: &View) -> Result<Vec<u8>, Trouble> {
    Ok(seen(ns, id, view)?.as_bytes().to_vec())
}

pub(super) fn info(ns: &Namespace, usage: bool) -> Vec<u8> {
    let info = Seminfo::of(ns.limits());
    let info = if usage { info.in_use(ns.names(KIND).in_use() as u32, ns.states.sem.used) } else { info };
    info.as_bytes().to_vec()
}

pub(super) fn row(ns: &mut Namespace, id: IpcId) -> Result<Row, Trouble> {
    let sleepers = set(ns, id).map_or(0, |set| u64::from(set.sleepers()));
    let now = state(ns, id)?;
    Ok(Row { size: now.nsems, count: sleepers, last_use: now.otime, ctime: now.ctime })
}

pub(super) fn line(ns: &mut Namespace, id: IpcId, view: &View) -> Result<String, Trouble> {
    let s = seen(ns, id, view)?;
    let p = s.perm;
    Ok(format!(
        "{:10} {:10}  {:4o} {:10} {:5} {:5} {:5} {:5} {:10} {:10}\n",
        p.key, id, p.mode, s.nsems, p.uid, p.gid, p.cuid, p.cgid, s.otime, s.ctime
    ))
}
