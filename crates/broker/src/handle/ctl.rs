//! IPC_RMID, IPC_SET, SHM_LOCK, SHM_UNLOCK. msgctl(2), semctl(2), shmctl(2).
//! kernel: ipcctl_obtain_check(), msgctl_down(), semctl_down(), shmctl_down(), shmctl_do_lock().

use super::kind_of;
use super::open::migrate;
use crate::client::Answer;
use crate::creds::{Capability, Creds, locked_memory_limit};
use crate::namespace::{Namespace, Trouble};
use crate::object::{Body, PERMISSION, Perm};
use crate::segment::pages_in;
use ring3_abi::ipc::{READ, WRITE};
use ring3_abi::shm::{SHM_DEST, SHM_LOCKED};
use ring3_abi::{Errno, IpcId, Kind};
use ring3_engine::Error;
use ring3_engine::msg;
use ring3_wire::request;

/// The object, if the caller may change it.
fn controlled(ns: &Namespace, creds: &Creds, kind: Kind, id: IpcId) -> Result<Perm, Errno> {
    let perm = ns.object(kind, id)?.perm;
    if creds.controls(&perm) { Ok(perm) } else { Err(Errno::EPERM) }
}

/// IPC_RMID.
pub(crate) fn remove(ns: &mut Namespace, creds: &Creds, ask: &request::Object) -> Result<Answer, Trouble> {
    let kind = kind_of(ask.kind)?;
    controlled(ns, creds, kind, ask.id)?;
    if kind == Kind::Shm {
        remove_segment(ns, ask.id)?;
        return Ok(Answer::default());
    }
    let done = ns.attempt(kind, ask.id, |ns| match kind {
        Kind::Msg => ns.queue(ask.id)?.remove(&ns.host, ns.host.me),
        _ => ns.set(ask.id)?.remove(&ns.host, ns.host.me),
    });
    // A spoiled region is removed all the same.
    if done == Err(Trouble::Later) {
        return Err(Trouble::Later);
    }
    ns.forget(kind, ask.id);
    Ok(Answer::default())
}

/// kernel: do_shm_rmid().
fn remove_segment(ns: &mut Namespace, id: IpcId) -> Result<(), Errno> {
    let object = ns.object_mut(Kind::Shm, id)?;
    object.perm.mode |= SHM_DEST;
    object.perm.key = ring3_abi::ipc::IPC_PRIVATE;
    ns.names_mut(Kind::Shm).forget_key(id);
    ns.publish(Kind::Shm, id);
    ns.destroy_if_due(id);
    Ok(())
}

/// IPC_SET.
pub(crate) fn set(ns: &mut Namespace, creds: &Creds, ask: &request::Set) -> Result<Answer, Trouble> {
    let kind = kind_of(ask.kind)?;
    let mut perm = controlled(ns, creds, kind, ask.id)?;
    let above = ask.qbytes > ns.limits().msgmnb.cast_unsigned();
    if kind == Kind::Msg && above && !creds.capable(Capability::SysResource) {
        return Err(Errno::EPERM.into());
    }
    if ask.uid == u32::MAX || ask.gid == u32::MAX {
        return Err(Errno::EINVAL.into());
    }
    (perm.uid, perm.gid) = (ask.uid, ask.gid);
    perm.mode = perm.mode & !PERMISSION | ask.mode & PERMISSION;
    match kind {
        Kind::Msg => set_queue(ns, ask.id, perm, ask.qbytes)?,
        Kind::Sem => set_set(ns, ask.id, perm)?,
        Kind::Shm => {
            let now = ns.now();
            let object = ns.object_mut(kind, ask.id)?;
            object.perm = perm;
            if let Some(segment) = object.segment_mut() {
                segment.ctime = now;
            }
            ns.publish(kind, ask.id);
        }
    }
    Ok(Answer::default())
}

// A queue or set whose permission changes moves, and is published then. Otherwise the directory has nothing new to tell, and a new version
// would make every client let go of a region that its other threads are at work in.
fn set_queue(ns: &mut Namespace, id: IpcId, perm: Perm, qbytes: u64) -> Result<(), Trouble> {
    let msgmax = ns.limits().msgmax.cast_unsigned();
    let object = ns.object(Kind::Msg, id)?;
    if let Body::Queue { geometry, .. } = object.body {
        let needed = msg::Geometry::for_queue(qbytes, msgmax);
        let moves = object.perm.class(Kind::Msg) != perm.class(Kind::Msg);
        if moves || !geometry.covers(needed) {
            let larger = msg::Geometry {
                tickets: geometry.tickets.max(needed.tickets),
                slots: geometry.slots.max(needed.slots),
                blocks: geometry.blocks.max(needed.blocks),
            };
            migrate(ns, Kind::Msg, id, perm, larger.encode())?;
        }
    }
    ns.attempt(Kind::Msg, id, |ns| {
        let may = |thread, bits: u32| Creds::of_thread(thread).permits(&perm, bits.cast_signed());
        ns.queue(id)?.judge(&ns.host, ns.host.me, |who| may(who, READ), |who| may(who, WRITE))
    })?;
    ns.attempt(Kind::Msg, id, |ns| ns.queue(id)?.set_qbytes(&ns.host, ns.host.me, qbytes))
}

fn set_set(ns: &mut Namespace, id: IpcId, perm: Perm) -> Result<(), Trouble> {
    let object = ns.object(Kind::Sem, id)?;
    if let Body::Set { geometry, .. } = object.body
        && object.perm.class(Kind::Sem) != perm.class(Kind::Sem)
    {
        migrate(ns, Kind::Sem, id, perm, geometry.encode())?;
    }
    ns.set(id)
        .map_or_else(
            |error: Error| Err(error),
            |set| {
                set.set_ctime(ns.now());
                Ok(())
            },
        )
        .map_err(|_| Trouble::Errno(Errno::EIDRM))
}

/// SHM_LOCK and SHM_UNLOCK.
pub(crate) fn shm_lock(ns: &mut Namespace, creds: &Creds, ask: &request::ShmLock) -> Result<Answer, Trouble> {
    let perm = ns.object(Kind::Shm, ask.id)?.perm;
    let privileged = creds.capable(Capability::IpcLock);
    if !privileged {
        if creds.uid != perm.uid && creds.uid != perm.cuid {
            return Err(Errno::EPERM.into());
        }
        if ask.lock != 0 && locked_memory_limit(creds.pid) == Some(0) {
            return Err(Errno::EPERM.into());
        }
    }
    if ask.lock != 0 {
        lock(ns, creds, ask.id, privileged)?
    } else {
        unlock(ns, ask.id)?
    }
    Ok(Answer::default())
}

/// kernel: shmem_lock(), user_shm_lock().
fn lock(ns: &mut Namespace, creds: &Creds, id: IpcId, privileged: bool) -> Result<(), Errno> {
    let Some(segment) = ns.object(Kind::Shm, id)?.segment() else { return Ok(()) };
    if segment.is_huge() || segment.locked.is_some() {
        return Ok(());
    }
    let user = creds.status().real_uid;
    let total = ns.locked_pages.get(&user).copied().unwrap_or(0) + pages_in(segment.size);
    let room = locked_memory_limit(creds.pid).map_or(u64::MAX, |bytes| bytes / crate::segment::PAGE);
    if total > room && !privileged {
        return Err(Errno::ENOMEM);
    }
    let object = ns.object_mut(Kind::Shm, id)?;
    if let Some(segment) = object.segment_mut() {
        segment.lock(user).map_err(|_| Errno::ENOMEM)?;
    }
    object.perm.mode |= SHM_LOCKED;
    ns.locked_pages.insert(user, total);
    ns.publish(Kind::Shm, id);
    Ok(())
}

fn unlock(ns: &mut Namespace, id: IpcId) -> Result<(), Errno> {
    let object = ns.object_mut(Kind::Shm, id)?;
    let Some(segment) = object.segment_mut() else { return Ok(()) };
    let pages = pages_in(segment.size);
    let Some(locked) = segment.locked.take() else { return Ok(()) };
    object.perm.mode &= !SHM_LOCKED;
    ns.unlock_pages(locked.user, pages);
    ns.publish(Kind::Shm, id);
    Ok(())
}
