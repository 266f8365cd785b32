//! Objects, as far as all mechanisms have the same: names, owner, mode, where the region lies; and the requests about them, one file a
//! family. What else an object is stands in its mechanism's folder.
//!
//! A handler that answers [`Trouble::Later`](crate::namespace::Trouble) has changed nothing that a second run would do twice.

pub(crate) mod arena;
pub(crate) mod ctl;
pub(crate) mod get;
pub(crate) mod lease;
pub(crate) mod names;
pub(crate) mod open;
pub(crate) mod query;

use crate::object::arena::{Class, RangeId};
use crate::policy::creds::Creds;
use crate::state::keep;
use ring3_abi::ipc::{IpcPerm, SEQ_SHIFT};
use ring3_abi::{Errno, Gid, IpcId, Key, Kind, Pid, Uid};
use ring3_engine::directory::Entry;
use ring3_engine::perm::Owners;
use ring3_wire::claim::Number;
use ring3_wire::request::{Get, Set};
use std::collections::HashSet;

/// The nine permission bits of a mode.
const PERMISSION: u32 = 0o777;

/// The kind that a request names.
pub(crate) fn kind_of(number: Number<Kind>) -> Result<Kind, Errno> {
    number.known().ok_or(Errno::EPROTO)
}

/// Names, owner and mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Perm {
    pub(crate) id: IpcId,
    pub(crate) key: Key,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    pub(crate) cuid: Uid,
    pub(crate) cgid: Gid,
    pub(crate) mode: u32,
}

impl Perm {
    /// Of a new object that a get call makes. It has no identifier yet.
    pub(crate) fn new(creds: &Creds, ask: &Get) -> Perm {
        Perm {
            id: 0,
            key: ask.key,
            uid: creds.uid,
            gid: creds.gid,
            cuid: creds.uid,
            cgid: creds.gid,
            mode: ask.flags.cast_unsigned() & PERMISSION,
        }
    }

    /// As IPC_SET leaves it. kernel: ipc_update_perm().
    ///
    /// # Errors
    /// `EINVAL` for the user or group -1.
    pub(crate) fn changed(self, ask: &Set) -> Result<Perm, Errno> {
        if ask.uid == Uid::MAX || ask.gid == Gid::MAX {
            return Err(Errno::EINVAL);
        }
        Ok(Perm { uid: ask.uid, gid: ask.gid, mode: self.mode & !PERMISSION | ask.mode & PERMISSION, ..self })
    }

    /// What permission depends on.
    pub(crate) fn owners(self) -> Owners {
        let Perm { uid, gid, cuid, cgid, mode, .. } = self;
        Owners { uid, gid, cuid, cgid, mode }
    }

    /// As the kernel's structure.
    pub(crate) fn to_kernel(self) -> IpcPerm {
        IpcPerm {
            key: self.key,
            uid: self.uid,
            gid: self.gid,
            cuid: self.cuid,
            cgid: self.cgid,
            mode: self.mode,
            seq: (self.id.cast_unsigned() >> SEQ_SHIFT) as u16,
            ..IpcPerm::default()
        }
    }

    /// The class of objects that one file may hold.
    pub(crate) fn class(self, kind: Kind) -> Class {
        let Perm { uid, gid, cuid, cgid, mode, .. } = self;
        Class { kind, uid, gid, cuid, cgid, mode: mode & PERMISSION }
    }
}

keep!(Perm { id, key, uid, gid, cuid, cgid, mode });

/// The capacities of a region, as its mechanism encodes them and as they go over the wire.
pub(crate) type Geometry = [u32; 8];

/// Where an object's region lies, and its capacities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    pub(crate) range: RangeId,
    pub(crate) geometry: Geometry,
}

keep!(Home { range, geometry });

/// An object.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) perm: Perm,
    /// What the directory gives as its size: 0 for a queue, a set's semaphores, a segment's bytes.
    pub(crate) size: u64,
    /// Its region. A segment has none: its memory is the program's own.
    pub(crate) home: Option<Home>,
    /// The region that it is being moved to.
    pub(crate) next: Option<Home>,
    /// The process that made it, and its name then: for who cleans up.
    pub(crate) creator: Pid,
    pub(crate) creator_name: [u8; 16],
    /// Its creator made it without asking (`lease.rs`).
    pub(crate) leased: bool,
    /// Processes that ever opened it: a death among them must be settled in its region.
    pub(crate) users: HashSet<Pid>,
}

keep!(Object { perm, size, home, next, creator, creator_name, leased } derived { users });

impl Object {
    /// Where its region lies, if it has one.
    pub(crate) fn range(&self) -> Option<RangeId> {
        self.home.map(|home| home.range)
    }

    /// What the directory says of it.
    pub(crate) fn entry(&self) -> Entry {
        let Perm { id, key, uid, gid, cuid, cgid, mode } = self.perm;
        Entry { version: 0, id, key, uid, gid, cuid, cgid, mode, size: self.size }
    }
}
