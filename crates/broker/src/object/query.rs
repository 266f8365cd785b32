//! IPC_STAT, *_STAT, *_STAT_ANY, IPC_INFO, *_INFO, and what listings need: what they have in common.
//! kernel: msgctl_stat(), semctl_stat(), shmctl_stat(), *_info().

use super::kind_of;
use crate::abroad::View;
use crate::mechanism::{self, Row};
use crate::namespace::{Namespace, Trouble};
use crate::policy::creds::Creds;
use crate::serve::client::Answer;
use ring3_abi::{Errno, IpcId, Kind};
use ring3_wire::reply;
use ring3_wire::request::{self, StatBy};

/// How an object is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// At a moment when no call is half done.
    Settled,
    /// As it is: its lock does not come free.
    Unlocked,
}

/// State of an object as the kernel's structure.
pub(crate) fn stat(
    ns: &mut Namespace,
    creds: &Creds,
    ask: &request::Stat,
    look: Look,
) -> Result<Answer, Trouble> {
    let kind = kind_of(ask.kind)?;
    let by = ask.by.known().ok_or(Errno::EPROTO)?;
    let id = if by == StatBy::Id { ask.id } else { ns.names(kind).at(ask.id).ok_or(Errno::EINVAL)? };
    let object = ns.object(kind, id)?;
    if by != StatBy::IndexAny && !creds.permits(&object.perm, 0o444) {
        return Err(Errno::EACCES.into());
    }
    let value = if by == StatBy::Id { 0 } else { i64::from(id) };
    let (mechanism, view) = (mechanism::of(kind), View::of(ns, creds));
    let body = match look {
        Look::Settled => mechanism.stat(ns, id, &view)?,
        Look::Unlocked => mechanism.stat_unlocked(ns, id, &view)?,
    };
    Ok(Answer { value, body, ..Answer::default() })
}

/// Limits, or usage, of a kind.
pub(crate) fn info(ns: &mut Namespace, ask: &request::Info) -> Result<Answer, Trouble> {
    let kind = kind_of(ask.kind)?;
    let value = ns.names(kind).highest().map_or(0, |index| index as i64);
    Ok(Answer { value, body: mechanism::of(kind).info(ns, ask.usage != 0)?, ..Answer::default() })
}

/// The first object at or above an index, for listings.
pub(crate) fn detail(ns: &mut Namespace, ask: &request::Detail) -> Result<Answer, Trouble> {
    let kind = kind_of(ask.kind)?;
    let found = ns.names(kind).from(ask.index as usize);
    let detail = detail_of(ns, kind, found.ok_or(Errno::ENOENT)?)?;
    Ok(Answer::with(0, &detail))
}

/// Everything worth listing of one object.
pub(crate) fn detail_of(ns: &mut Namespace, kind: Kind, id: IpcId) -> Result<reply::Detail, Trouble> {
    let row = mechanism::of(kind).row(ns, id);
    let object = ns.object(kind, id)?;
    let row = match row {
        Err(Trouble::Later) => return Err(Trouble::Later),
        // A spoiled region is listed with its names alone.
        other => other.unwrap_or(Row { size: object.size, ..Row::default() }),
    };
    let perm = object.perm;
    Ok(reply::Detail {
        index: ring3_abi::ipc::index_of(id).map_or(0, |index| index as u32),
        id,
        key: perm.key,
        mode: perm.mode,
        uid: perm.uid,
        gid: perm.gid,
        cuid: perm.cuid,
        cgid: perm.cgid,
        size: row.size,
        count: row.count,
        last_use: row.last_use,
        ctime: row.ctime,
        creator: object.creator,
        holder: ns.lock_holder(kind, id),
        creator_name: object.creator_name,
    })
}
