//! One object: what the broker alone knows of it.

use crate::arena::{Class, RangeId};
use crate::segment::Segment;
use ring3_abi::ipc::{IpcPerm, SEQ_SHIFT};
use ring3_abi::{Gid, IpcId, Key, Kind, Pid, Uid};
use ring3_engine::directory::Entry;
use ring3_engine::msg;
use ring3_engine::sem;
use std::collections::HashSet;

/// The nine permission bits of a mode.
pub(crate) const PERMISSION: u32 = 0o777;

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

/// What kind of object, and where its contents are.
#[derive(Debug)]
pub(crate) enum Body {
    Queue { range: RangeId, geometry: msg::Geometry },
    Set { range: RangeId, geometry: sem::Geometry },
    Segment(Segment),
}

/// An object.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) perm: Perm,
    pub(crate) body: Body,
    /// The process that made it, and its name then: for who cleans up.
    pub(crate) creator: Pid,
    pub(crate) creator_name: [u8; 16],
    /// Processes that ever opened it: a death among them must be settled in its region.
    pub(crate) users: HashSet<Pid>,
}

impl Object {
    /// The kind.
    pub(crate) fn kind(&self) -> Kind {
        match self.body {
            Body::Queue { .. } => Kind::Msg,
            Body::Set { .. } => Kind::Sem,
            Body::Segment(_) => Kind::Shm,
        }
    }

    /// Where its region lies, if it has one.
    pub(crate) fn range(&self) -> Option<RangeId> {
        match self.body {
            Body::Queue { range, .. } | Body::Set { range, .. } => Some(range),
            Body::Segment(_) => None,
        }
    }

    /// The segment, if it is one.
    pub(crate) fn segment(&self) -> Option<&Segment> {
        match &self.body {
            Body::Segment(segment) => Some(segment),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub(crate) fn segment_mut(&mut self) -> Option<&mut Segment> {
        match &mut self.body {
            Body::Segment(segment) => Some(segment),
            _ => None,
        }
    }

    /// What the directory says of it.
    pub(crate) fn entry(&self) -> Entry {
        let Perm { id, key, uid, gid, cuid, cgid, mode } = self.perm;
        let size = match &self.body {
            Body::Queue { .. } => 0,
            Body::Set { geometry, .. } => u64::from(geometry.nsems),
            Body::Segment(segment) => segment.size,
        };
        Entry { version: 0, id, key, uid, gid, cuid, cgid, mode, size }
    }
}
