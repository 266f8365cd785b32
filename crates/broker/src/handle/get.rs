//! msgget(2), semget(2), shmget(2). kernel: ipcget(), newque(), newary(), newseg().

use super::kind_of;
use crate::client::Answer;
use crate::creds::Creds;
use crate::namespace::{Namespace, Trouble};
use crate::object::{Body, Object, PERMISSION, Perm};
use crate::segment::{Segment, pages_in};
use ring3_abi::ipc::{IPC_CREAT, IPC_EXCL, IPC_PRIVATE};
use ring3_abi::limits::Limits;
use ring3_abi::{Errno, IpcId, Kind};
use ring3_engine::msg;
use ring3_engine::sem;
use ring3_wire::request::Get;
use std::collections::HashSet;

/// Finds or makes an object.
pub(crate) fn get(ns: &mut Namespace, creds: &Creds, ask: &Get) -> Result<Answer, Trouble> {
    let kind = kind_of(ask.kind)?;
    let nsems = ask.size.cast_signed();
    if kind == Kind::Sem && !(0..=ns.limits().semmsl).contains(&nsems) {
        return Err(Errno::EINVAL.into());
    }
    let found = if ask.key == IPC_PRIVATE { None } else { ns.names(kind).by_key(ask.key) };
    let id = match found {
        Some(id) => existing(ns, creds, kind, id, ask)?,
        None if ask.key != IPC_PRIVATE && ask.flags & IPC_CREAT == 0 => return Err(Errno::ENOENT.into()),
        None => create(ns, creds, kind, ask)?,
    };
    Ok(Answer::value(i64::from(id)))
}

/// kernel: ipcget_public(), ipc_check_perms().
fn existing(ns: &Namespace, creds: &Creds, kind: Kind, id: IpcId, ask: &Get) -> Result<IpcId, Errno> {
    if ask.flags & IPC_CREAT != 0 && ask.flags & IPC_EXCL != 0 {
        return Err(Errno::EEXIST);
    }
    let object = ns.object(kind, id)?;
    if ask.size > object.entry().size && kind != Kind::Msg {
        return Err(Errno::EINVAL);
    }
    if !creds.permits(&object.perm, ask.flags) {
        return Err(Errno::EACCES);
    }
    Ok(id)
}

fn create(ns: &mut Namespace, creds: &Creds, kind: Kind, ask: &Get) -> Result<IpcId, Errno> {
    let perm = Perm {
        id: 0,
        key: ask.key,
        uid: creds.uid,
        gid: creds.gid,
        cuid: creds.uid,
        cgid: creds.gid,
        mode: ask.flags.cast_unsigned() & PERMISSION,
    };
    let body = match kind {
        Kind::Msg => new_queue(ns, perm)?,
        Kind::Sem => new_set(ns, perm, ask.size)?,
        Kind::Shm => new_segment(ns, creds, ask)?,
    };
    let creator_name = ns.processes.get_mut(&creds.pid).map_or([0; 16], |process| process.name(creds.pid));
    let object = Object { perm, body, creator: creds.pid, creator_name, users: HashSet::new() };
    let range = object.range();
    let Some(id) = name(ns, kind, ask.key, object) else {
        if let Some(range) = range {
            ns.arenas.retire(range);
        }
        return Err(Errno::ENOSPC);
    };
    if format(ns, kind, id).is_err() {
        ns.forget(kind, id);
        return Err(Errno::ENOMEM);
    }
    ns.publish(kind, id);
    Ok(id)
}

fn new_queue(ns: &mut Namespace, perm: Perm) -> Result<Body, Errno> {
    let limits = ns.limits();
    let geometry = msg::Geometry::for_queue(limits.msgmnb.cast_unsigned(), limits.msgmax.cast_unsigned());
    let range = ns.arenas.take(perm.class(Kind::Msg), geometry.len() as u64)?;
    Ok(Body::Queue { range, geometry })
}

fn new_set(ns: &mut Namespace, perm: Perm, nsems: u64) -> Result<Body, Errno> {
    if nsems == 0 {
        return Err(Errno::EINVAL);
    }
    let room = ns.limits().semmns.saturating_sub(ns.used_sems.cast_signed());
    if nsems.cast_signed() > room {
        return Err(Errno::ENOSPC);
    }
    let semopm = u32::try_from(ns.limits().semopm).unwrap_or(0);
    let geometry = sem::Geometry::for_set(u32::try_from(nsems).map_err(|_| Errno::ENOMEM)?, semopm);
    let range = ns.arenas.take(perm.class(Kind::Sem), geometry.len() as u64)?;
    Ok(Body::Set { range, geometry })
}

fn new_segment(ns: &Namespace, creds: &Creds, ask: &Get) -> Result<Body, Errno> {
    let limits = ns.limits();
    if ask.size < 1 || ask.size > limits.shmmax {
        return Err(Errno::EINVAL);
    }
    let total = ns.shm_pages.checked_add(pages_in(ask.size)).filter(|&total| total <= limits.shmall);
    if ask.size.checked_next_multiple_of(crate::segment::PAGE).is_none() || total.is_none() {
        return Err(Errno::ENOSPC);
    }
    Segment::create(ask.key, ask.size, ask.flags, creds, ns.now()).map(Body::Segment)
}

/// Gives the object its identifier. A wished one counts once, whether it could be had or not.
fn name(ns: &mut Namespace, kind: Kind, key: i32, object: Object) -> Option<IpcId> {
    let mut limits = *ns.limits();
    let (limit, wish) = limit_and_wish(&mut limits, kind);
    let wished = i32::try_from(std::mem::replace(wish, -1)).ok().filter(|&id| id >= 0);
    let limit = usize::try_from(limit).unwrap_or(0);
    if ns.names(kind).in_use() < limit && wished.is_some() {
        ns.set_limits(limits);
    }
    let added = match &object.body {
        Body::Set { geometry, .. } => (u64::from(geometry.nsems), 0),
        Body::Segment(segment) => (0, pages_in(segment.size)),
        Body::Queue { .. } => (0, 0),
    };
    let id = ns.names_mut(kind).add(key, wished, limit, object)?;
    ns.used_sems += added.0;
    ns.shm_pages += added.1;
    if let Some(object) = ns.names_mut(kind).get_mut(id) {
        object.perm.id = id;
    }
    Some(id)
}

fn limit_and_wish(limits: &mut Limits, kind: Kind) -> (i64, &mut i64) {
    match kind {
        Kind::Msg => (limits.msgmni, &mut limits.msg_next_id),
        Kind::Sem => (limits.semmni, &mut limits.sem_next_id),
        Kind::Shm => (limits.shmmni, &mut limits.shm_next_id),
    }
}

/// Writes an empty object into its region.
fn format(ns: &Namespace, kind: Kind, id: IpcId) -> Result<(), ring3_engine::Error> {
    match kind {
        Kind::Msg => ns.queue(id)?.format(id, ns.limits().msgmnb.cast_unsigned(), ns.now()),
        Kind::Sem => ns.set(id)?.format(id, ns.now()),
        Kind::Shm => Ok(()),
    }
}
