//! Where the regions of queues and sets lie: one memfd a permission class, one page-aligned range a region.
//!
//! Whoever may map one object of a class may map them all, since kind, creator, owner, groups and mode are the same; so a
//! class needs one descriptor however many objects it has, and the file gives nothing away.
//!
//! # Invariants
//! A1. A range is free, or belongs to one region. It is *current* while an object lives in it.
//! A2. A range that is not current is used again only when none of the processes that opened it can reach it any more: each has
//!     died, replaced its image, or said that it unmapped it. Until then it keeps a dead copy.
//! A3. A free range reads as zeros.

use crate::failure::errno;
use crate::regions::{Mapping, memory_file, read_only, seal};
use ring3_abi::{Errno, Gid, IpcId, Kind, Pid, Uid};
use ring3_engine::Region;
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::mm::MapFlags;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::{BorrowedFd, OwnedFd};

/// What all objects in one file have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Class {
    pub(crate) kind: Kind,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    pub(crate) cuid: Uid,
    pub(crate) cgid: Gid,
    pub(crate) mode: u32,
}

/// Names a range for as long as it is not free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RangeId(u64);

/// How a class's file is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    ReadWrite,
}

#[derive(Debug)]
struct Range {
    class: Class,
    offset: u64,
    len: u64,
    current: bool,
    openers: HashSet<Pid>,
    /// The object that lives, or lived, in it.
    id: Option<IpcId>,
}

#[derive(Debug)]
struct Arena {
    file: OwnedFd,
    read_only: Option<OwnedFd>,
    mapping: Mapping,
    size: u64,
    /// Free ranges: offset → length; neighbours are joined.
    free: BTreeMap<u64, u64>,
    used: u64,
}

/// All classes of a namespace.
#[derive(Debug, Default)]
pub(crate) struct Arenas {
    by_class: HashMap<Class, Arena>,
    ranges: BTreeMap<RangeId, Range>,
    last: u64,
}

/// The least that a file grows by.
const LEAST: u64 = 1 << 20;
/// How many files are kept though nothing lies in them, for the next object of their class.
const SPARE_FILES: usize = 64;

impl Arena {
    fn new(kind: Kind) -> Result<Arena, Errno> {
        let file = memory_file(&format!("ring3-{}", kind.word()), MemfdFlags::empty())?;
        rustix::fs::ftruncate(&file, LEAST).map_err(errno)?;
        seal(&file, SealFlags::empty())?;
        let mapping = Mapping::new(&file, LEAST as usize, MapFlags::empty())?;
        let free = BTreeMap::from([(0, LEAST)]);
        Ok(Arena { file, read_only: None, mapping, size: LEAST, free, used: 0 })
    }

    /// First fit; the file grows when nothing fits.
    fn take(&mut self, len: u64) -> Result<u64, Errno> {
        loop {
            let found = self.free.iter().find(|&(_, &room)| room >= len).map(|(&at, &room)| (at, room));
            if let Some((at, room)) = found {
                self.free.remove(&at);
                if room > len {
                    self.free.insert(at + len, room - len);
                }
                self.used += len;
                return Ok(at);
            }
            self.grow(len)?;
        }
    }

    fn grow(&mut self, len: u64) -> Result<(), Errno> {
        let more = len.max(self.size).max(LEAST);
        let size = self.size.checked_add(more).ok_or(Errno::ENOMEM)?;
        rustix::fs::ftruncate(&self.file, size).map_err(errno)?;
        self.mapping.grow(size as usize)?;
        let at = self.size;
        self.size = size;
        self.join(at, more);
        Ok(())
    }

    /// Adds a range to the free ones.
    fn join(&mut self, mut at: u64, mut len: u64) {
        if let Some((&before, &room)) = self.free.range(..at).next_back()
            && before + room == at
        {
            self.free.remove(&before);
            at = before;
            len += room;
        }
        if let Some(room) = self.free.remove(&(at + len)) {
            len += room;
        }
        self.free.insert(at, len);
    }

    fn give(&mut self, at: u64, len: u64) -> Result<(), Errno> {
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&self.file, hole, at, len).map_err(errno)?;
        self.used -= len;
        self.join(at, len);
        Ok(())
    }
}

impl Arenas {
    /// Takes a zeroed range in the file of a class.
    pub(crate) fn take(&mut self, class: Class, len: u64) -> Result<RangeId, Errno> {
        let arena = match self.by_class.entry(class) {
            std::collections::hash_map::Entry::Occupied(there) => there.into_mut(),
            std::collections::hash_map::Entry::Vacant(room) => room.insert(Arena::new(class.kind)?),
        };
        let offset = arena.take(len)?;
        self.last += 1;
        let id = RangeId(self.last);
        self.ranges
            .insert(id, Range { class, offset, len, current: true, openers: HashSet::new(), id: None });
        Ok(id)
    }

    /// The range's memory.
    pub(crate) fn region(&self, id: RangeId) -> Option<Region<'_>> {
        let range = self.ranges.get(&id)?;
        let arena = self.by_class.get(&range.class)?;
        arena.mapping.region(range.offset as usize, range.len as usize)
    }

    /// Where the range lies: offset and length.
    pub(crate) fn place(&self, id: RangeId) -> Option<(u64, u64)> {
        self.ranges.get(&id).map(|range| (range.offset, range.len))
    }

    /// The file that a range lies in, for a client.
    pub(crate) fn file(&mut self, id: RangeId, access: Access) -> Result<BorrowedFd<'_>, Errno> {
        let range = self.ranges.get(&id).ok_or(Errno::EIDRM)?;
        let arena = self.by_class.get_mut(&range.class).ok_or(Errno::EIDRM)?;
        if access == Access::ReadWrite {
            return Ok(std::os::fd::AsFd::as_fd(&arena.file));
        }
        let file = match arena.read_only.take() {
            Some(file) => file,
            None => read_only(&arena.file)?,
        };
        Ok(std::os::fd::AsFd::as_fd(arena.read_only.insert(file)))
    }

    /// A process has the range, with an object in it, from now on.
    pub(crate) fn opened(&mut self, id: RangeId, object: IpcId, pid: Pid) {
        if let Some(range) = self.ranges.get_mut(&id) {
            range.openers.insert(pid);
            range.id = Some(object);
        }
    }

    /// No object lives in the range any more.
    pub(crate) fn retire(&mut self, id: RangeId) {
        if let Some(range) = self.ranges.get_mut(&id) {
            range.current = false;
        }
        self.release(id);
    }

    /// A process cannot reach the range any more.
    pub(crate) fn closed(&mut self, id: RangeId, pid: Pid) {
        if let Some(range) = self.ranges.get_mut(&id) {
            range.openers.remove(&pid);
        }
        self.release(id);
    }

    /// Whether an object lives in the range.
    pub(crate) fn is_current(&self, id: RangeId) -> bool {
        self.ranges.get(&id).is_some_and(|range| range.current)
    }

    /// Whether this object lives, or lived, in the range.
    pub(crate) fn was_of(&self, id: RangeId, kind: Kind, object: IpcId) -> bool {
        self.ranges.get(&id).is_some_and(|range| range.class.kind == kind && range.id == Some(object))
    }

    /// Frees a range that nobody needs or reaches (A2).
    fn release(&mut self, id: RangeId) {
        if self.ranges.get(&id).is_none_or(|range| range.current || !range.openers.is_empty()) {
            return;
        }
        let Some(range) = self.ranges.remove(&id) else { return };
        let spare = self.by_class.len() > SPARE_FILES;
        let Some(arena) = self.by_class.get_mut(&range.class) else { return };
        // A range whose hole could not be punched is not zeroed: it stays out of use (A3).
        if arena.give(range.offset, range.len).is_ok() && arena.used == 0 && spare {
            self.by_class.remove(&range.class);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: Class = Class { kind: Kind::Sem, uid: 1, gid: 1, cuid: 1, cgid: 1, mode: 0o600 };

    fn word(arenas: &Arenas, id: RangeId) -> &ring3_engine::atomic::AtomicU64 {
        arenas.region(id).expect("taken").at(8).expect("long enough")
    }

    #[test]
    fn a_range_is_used_again_only_when_nobody_can_reach_it() {
        let mut arenas = Arenas::default();
        let first = arenas.take(CLASS, 8192).expect("room");
        word(&arenas, first).store(7, ring3_engine::atomic::Relaxed);
        arenas.opened(first, 5, 100);
        arenas.opened(first, 5, 101);
        arenas.retire(first);
        arenas.closed(first, 100);
        let second = arenas.take(CLASS, 8192).expect("room");
        assert_eq!((arenas.place(first), arenas.place(second)), (Some((0, 8192)), Some((8192, 8192))));
        assert!(arenas.was_of(first, Kind::Sem, 5) && !arenas.is_current(first) && arenas.is_current(second));
        arenas.closed(first, 101);
        assert_eq!(arenas.place(first), None);
        let third = arenas.take(CLASS, 4096).expect("room");
        assert_eq!(arenas.place(third), Some((0, 4096)));
        assert_eq!(word(&arenas, third).load(ring3_engine::atomic::Relaxed), 0);
    }

    #[test]
    fn files_grow_and_free_neighbours_join() {
        let mut arenas = Arenas::default();
        let ranges: Vec<RangeId> = (0..100).map(|_| arenas.take(CLASS, 1 << 16).expect("room")).collect();
        assert_eq!(arenas.place(ranges[99]), Some((99 << 16, 1 << 16)));
        for id in ranges.iter().step_by(2).chain(ranges.iter().skip(1).step_by(2)) {
            arenas.retire(*id);
        }
        let large = arenas.take(CLASS, 100 << 16).expect("room");
        assert_eq!(arenas.place(large), Some((0, 100 << 16)));
        let other = arenas.take(Class { mode: 0o640, ..CLASS }, 4096).expect("room");
        assert_eq!(arenas.place(other), Some((0, 4096)));
    }
}
