//! Mapping objects: Open, Close, Grow, Stuck; and moving an object to another region.

use super::kind_of;
use crate::arena::Access;
use crate::client::Answer;
use crate::creds::Creds;
use crate::namespace::{Namespace, Trouble};
use crate::object::{Body, Perm};
use ring3_abi::ipc::{READ, WRITE};
use ring3_abi::{Errno, IpcId, Kind};
use ring3_engine::msg;
use ring3_engine::{Error, sem};
use ring3_wire::reply::Opened;
use ring3_wire::request;

/// Gives a process an object's region, as far as the object's permission lets it.
pub(crate) fn open(ns: &mut Namespace, creds: &Creds, ask: &request::Open) -> Result<Answer, Trouble> {
    let kind = kind_of(ask.kind)?;
    let object = ns.object(kind, ask.id)?;
    let (range, geometry) = match object.body {
        Body::Queue { range, geometry } => (range, geometry.encode()),
        Body::Set { range, geometry } => (range, geometry.encode()),
        Body::Segment(_) => return Err(Errno::EINVAL.into()),
    };
    let may = |bit: u32| if creds.permits(&object.perm, bit.cast_signed()) { bit } else { 0 };
    let access = may(READ) | may(WRITE);
    if access == 0 {
        return Err(Errno::EACCES.into());
    }
    let (offset, len) = ns.arenas.place(range).ok_or(Errno::EIDRM)?;
    let version = ns.version(kind, ask.id);
    let answer = Answer::with(0, &Opened { offset, len, version, access, pad: 0, geometry });
    let how = if access & WRITE != 0 { Access::ReadWrite } else { Access::Read };
    if access & READ == 0 {
        // Writing without reading fits no mapping: the broker does its calls.
        ns.note_user(kind, ask.id, creds.pid);
        return Ok(answer);
    }
    let file = ns.arenas.file(range, how)?.try_clone_to_owned().map_err(|_| Errno::EMFILE)?;
    ns.note_opened(kind, ask.id, creds.pid);
    Ok(answer.passing(file))
}

/// A process has unmapped what it had of an object that is gone or lives elsewhere now.
pub(crate) fn close(ns: &mut Namespace, creds: &Creds, ask: &request::Object) -> Result<(), Errno> {
    let kind = kind_of(ask.kind)?;
    let Some(process) = ns.processes.get_mut(&creds.pid) else { return Ok(()) };
    let (kept, left): (Vec<_>, Vec<_>) = process
        .ranges
        .iter()
        .copied()
        .partition(|&range| ns.arenas.is_current(range) || !ns.arenas.was_of(range, kind, ask.id));
    process.ranges = kept.into_iter().collect();
    for range in left {
        ns.arenas.closed(range, creds.pid);
    }
    Ok(())
}

/// Moves an object that is full to a larger region, if that has not been done since the caller looked.
pub(crate) fn grow(ns: &mut Namespace, creds: &Creds, ask: &request::Grow) -> Result<Answer, Trouble> {
    let kind = kind_of(ask.kind)?;
    let object = ns.object(kind, ask.id)?;
    if !creds.permits(&object.perm, (READ | WRITE).cast_signed())
        && !creds.permits(&object.perm, WRITE.cast_signed())
    {
        return Err(Errno::EACCES.into());
    }
    if ns.version(kind, ask.id) == ask.version {
        enlarge(ns, kind, ask.id)?;
    }
    Ok(Answer::default())
}

/// Moves an object to a region with about twice the room.
pub(crate) fn enlarge(ns: &mut Namespace, kind: Kind, id: IpcId) -> Result<(), Trouble> {
    let semopm = u32::try_from(ns.limits().semopm).unwrap_or(0);
    let object = ns.object(kind, id)?;
    let perm = object.perm;
    let geometry = match object.body {
        Body::Queue { geometry, .. } => geometry.grown().map(msg::Geometry::encode),
        Body::Set { geometry, .. } => geometry.grown(semopm).map(sem::Geometry::encode),
        Body::Segment(_) => return Err(Errno::EINVAL.into()),
    };
    migrate(ns, kind, id, perm, geometry.ok_or(Errno::ENOMEM)?)
}

/// Looks after a lock that does not come free.
pub(crate) fn stuck(ns: &mut Namespace, ask: &request::Stuck) -> Result<Answer, Trouble> {
    let kind = kind_of(ask.kind)?;
    if ns.object(kind, ask.id).is_ok() {
        ns.rescue(kind, ask.id, ask.holder);
    }
    Ok(Answer::default())
}

/// Moves an object to a new region of the class that `perm` puts it in, with the given capacities. Sleepers are woken and open it again; the
/// old region keeps a dead copy.
pub(crate) fn migrate(
    ns: &mut Namespace,
    kind: Kind,
    id: IpcId,
    perm: Perm,
    geometry: [u32; 8],
) -> Result<(), Trouble> {
    let body = |range| match kind {
        Kind::Msg => msg::Geometry::decode(geometry).map(|geometry| Body::Queue { range, geometry }),
        Kind::Sem => sem::Geometry::decode(geometry).map(|geometry| Body::Set { range, geometry }),
        Kind::Shm => None,
    };
    let len = match kind {
        Kind::Msg => msg::Geometry::decode(geometry).map(msg::Geometry::len),
        _ => sem::Geometry::decode(geometry).map(sem::Geometry::len),
    };
    let new = ns.arenas.take(perm.class(kind), len.ok_or(Errno::ENOMEM)? as u64)?;
    let moved = ns.attempt(kind, id, |ns| {
        let region = ns.arenas.region(new).ok_or(Error::Spoiled)?;
        match body(new) {
            Some(Body::Queue { geometry, .. }) => {
                ns.queue(id)?.move_to(&ns.host, ns.host.me, msg::Queue::new(region, geometry)?)
            }
            Some(Body::Set { geometry, .. }) => {
                ns.set(id)?.move_to(&ns.host, ns.host.me, sem::Set::new(region, geometry)?)
            }
            _ => Err(Error::Spoiled),
        }
    });
    if let Err(trouble) = moved {
        ns.arenas.retire(new);
        return Err(trouble);
    }
    let object = ns.object_mut(kind, id)?;
    object.perm = perm;
    let old = object.range();
    object.body = body(new).ok_or(Errno::ENOMEM)?;
    if let Some(old) = old {
        ns.arenas.retire(old);
    }
    ns.publish(kind, id);
    Ok(())
}
