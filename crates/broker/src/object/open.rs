//! Mapping objects: Open, Close, Grow, Stuck; and moving an object to another region.

use super::arena::Access;
use super::{Geometry, Home, Perm, kind_of};
use crate::mechanism;
use crate::namespace::{Namespace, Trouble};
use crate::policy::creds::Creds;
use crate::regions::copy;
use crate::serve::client::Answer;
use ring3_abi::ipc::{READ, WRITE};
use ring3_abi::{Errno, IpcId, Kind};
use ring3_wire::reply::Opened;
use ring3_wire::request;
use std::rc::Rc;

/// Gives a process an object's region, as far as the object's permission lets it.
pub(crate) fn open(ns: &mut Namespace, creds: &Creds, ask: &request::Open) -> Result<Answer, Trouble> {
    let kind = kind_of(ask.kind)?;
    let object = ns.object(kind, ask.id)?;
    let Home { range, geometry } = object.home.ok_or(Errno::EINVAL)?;
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
        // Writing without reading fits no mapping: the broker does the process's calls.
        ns.note_user(kind, ask.id, creds.pid);
        return Ok(answer);
    }
    let file = copy(&ns.arenas.file(range, how)?)?;
    ns.note_opened(kind, ask.id, creds.pid);
    Ok(answer.passing(file))
}

/// A process has unmapped what it had of an object that is gone or lives elsewhere now.
pub(crate) fn close(ns: &mut Namespace, creds: &Creds, ask: &request::Object) -> Result<(), Errno> {
    let kind = kind_of(ask.kind)?;
    let Some(process) = ns.processes.derived_mut(&creds.pid) else { return Ok(()) };
    for range in ns.arenas.former(kind, ask.id) {
        if process.ranges.remove(&range) {
            ns.arenas.closed(range, creds.pid);
        }
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

/// Looks after a lock that does not come free.
pub(crate) fn stuck(ns: &mut Namespace, ask: &request::Stuck) -> Result<Answer, Trouble> {
    let kind = kind_of(ask.kind)?;
    // Who waits for the lock of an object that was removed would wait for ever.
    ns.object(kind, ask.id).map_err(|_| Errno::EIDRM)?;
    let patience = Rc::clone(&ns.host.patience);
    let in_vain = patience.is_there() && patience.spend(|| ns.rescue(kind, ask.id, ask.holder));
    if in_vain { Err(Errno::ETIMEDOUT.into()) } else { Ok(Answer::default()) }
}

/// Moves an object to a region with about twice the room.
pub(crate) fn enlarge(ns: &mut Namespace, kind: Kind, id: IpcId) -> Result<(), Trouble> {
    let object = ns.object(kind, id)?;
    let (perm, home) = (object.perm, object.home.ok_or(Errno::EINVAL)?);
    let larger = mechanism::of(kind).grown(ns, home.geometry).ok_or(Errno::ENOMEM)?;
    migrate(ns, kind, id, perm, larger)
}

/// Moves an object to a new region of the class that `perm` puts it in, with the given capacities. Sleepers are woken and open it again; the
/// old region keeps a dead copy.
pub(crate) fn migrate(
    ns: &mut Namespace,
    kind: Kind,
    id: IpcId,
    perm: Perm,
    geometry: Geometry,
) -> Result<(), Trouble> {
    let mechanism = mechanism::of(kind);
    let len = mechanism.region_len(geometry).ok_or(Errno::ENOMEM)?;
    let new = ns.take_home(kind, perm, geometry, len)?;
    // DEATH: whoever goes on finds by the old region whether the object has moved (`arrive`).
    ns.object_mut(kind, id)?.next = Some(new);
    Rc::clone(&ns.host.hand).commit_part(ns)?;
    if let Err(trouble) = ns.attempt(kind, id, |ns| mechanism.move_to(ns, id, new)) {
        ns.object_mut(kind, id)?.next = None;
        ns.arenas.retire(new.range);
        return Err(trouble);
    }
    ns.object_mut(kind, id)?.perm = perm;
    arrive(ns, kind, id)
}

/// An object has left its region for the next.
pub(crate) fn arrive(ns: &mut Namespace, kind: Kind, id: IpcId) -> Result<(), Trouble> {
    let object = ns.object_mut(kind, id)?;
    if let Some(new) = object.next.take()
        && let Some(old) = object.home.replace(new)
    {
        ns.arenas.retire(old.range);
    }
    ns.publish(kind, id);
    Ok(())
}
