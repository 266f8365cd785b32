//! What is told of queues: IPC_STAT, IPC_INFO, MSG_INFO, /proc/sysvipc/msg, listings.
//! msgctl(2), proc(5); kernel: msgctl_stat(), msgctl_info(), sysvipc_msg_proc_show().

use super::{KIND, queue};
use crate::abroad::View;
use crate::mechanism::Row;
use crate::namespace::{Namespace, Trouble};
use ring3_abi::IpcId;
use ring3_abi::msg::{Msginfo, Msqid};
use zerocopy::IntoBytes;

/// The first line of /proc/sysvipc/msg.
pub(super) const HEAD: &str = "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n";

fn state(ns: &mut Namespace, id: IpcId) -> Result<Msqid, Trouble> {
    let now = ns.attempt(KIND, id, |ns| queue(ns, id)?.stat(&ns.host, ns.host.me))?;
    Ok(now.msqid(ns.object(KIND, id)?.perm.to_kernel()))
}

/// The state, or as much as can be known of it while the lock does not come free.
fn known(ns: &mut Namespace, id: IpcId) -> Result<Msqid, Trouble> {
    match state(ns, id) {
        Err(Trouble::Later) => Ok(queue(ns, id)?.glance().msqid(ns.object(KIND, id)?.perm.to_kernel())),
        other => other,
    }
}

/// The state as its reader sees it.
fn seen(ns: &Namespace, mut now: Msqid, view: &View) -> Result<Msqid, Trouble> {
    view.perm(&mut now.perm);
    (now.lspid, now.lrpid) = (view.pid(ns, now.lspid), view.pid(ns, now.lrpid));
    Ok(now)
}

pub(super) fn stat(ns: &mut Namespace, id: IpcId, view: &View) -> Result<Vec<u8>, Trouble> {
    let now = state(ns, id)?;
    Ok(seen(ns, now, view)?.as_bytes().to_vec())
}

pub(super) fn stat_unlocked(ns: &mut Namespace, id: IpcId, view: &View) -> Result<Vec<u8>, Trouble> {
    let now = known(ns, id)?;
    Ok(seen(ns, now, view)?.as_bytes().to_vec())
}

pub(super) fn info(ns: &mut Namespace, usage: bool) -> Result<Vec<u8>, Trouble> {
    let mut info = Msginfo::of(ns.limits());
    if usage {
        let ids: Vec<IpcId> = ns.names(KIND).iter().map(|(id, _)| id).collect();
        let (mut count, mut bytes) = (0u64, 0u64);
        for id in &ids {
            // Not all at one moment, as the kernel's are not. A spoiled queue has no messages.
            if let Ok(state) = queue(ns, *id).map(|queue| queue.glance()) {
                (count, bytes) = (count + state.qnum, bytes + state.cbytes);
            }
        }
        info = info.in_use(ids.len(), count, bytes);
    }
    Ok(info.as_bytes().to_vec())
}

pub(super) fn row(ns: &mut Namespace, id: IpcId) -> Result<Row, Trouble> {
    let now = known(ns, id)?;
    Ok(Row { size: now.cbytes, count: now.qnum, last_use: now.stime.max(now.rtime), ctime: now.ctime })
}

pub(super) fn line(ns: &mut Namespace, id: IpcId, view: &View) -> Result<String, Trouble> {
    let now = known(ns, id)?;
    let q = seen(ns, now, view)?;
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
