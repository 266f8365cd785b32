//! Where the regions of queues and sets lie: memfds of a permission class, one page-aligned range a region.
//!
//! Whoever may map one object of a class may map them all, since kind, creator, owner, groups and mode are the same; so a
//! class needs few descriptors however many objects it has, and a file gives nothing away. A file's size is sealed from its beginning, for
//! who may write it could otherwise make it as large as it likes; what does not fit goes into a further one, of twice the size.
//!
//! # Invariants
//! A1. A range is free, or belongs to one region. It is *current* while an object lives in it.
//! A2. A range that is not current is used again only when none of the processes that opened it can reach it any more: each has
//!     died, replaced its image, or said that it unmapped it. Until then it keeps a dead copy.
//! A3. A free range reads as zeros.

use crate::failure::errno;
use crate::policy::quota::{Account, Means};
use crate::regions::{Mapping, memory_file, read_only, seal};
use crate::state::part;
use crate::state::{Held, Keep, Noted, Sheet, Table, keep, keep_one};
use ring3_abi::{Errno, Gid, IpcId, Kind, Pid, Uid};
use ring3_engine::Region;
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::mm::MapFlags;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::os::fd::BorrowedFd;

/// What all objects in one file have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Class {
    pub(crate) kind: Kind,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    pub(crate) cuid: Uid,
    pub(crate) cgid: Gid,
    pub(crate) mode: u32,
}

keep!(Class { kind, uid, gid, cuid, cgid, mode });

/// Names a range for as long as it is not free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RangeId(u64);
keep_one!(RangeId(u64));

/// How a class's file is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    ReadWrite,
}

#[derive(Debug)]
struct Range {
    class: Class,
    /// Which of the class's files it lies in.
    file: u32,
    offset: u64,
    len: u64,
    current: bool,
    openers: HashSet<Pid>,
    /// The object that lives, or lived, in it.
    id: Option<IpcId>,
}
keep!(Range { class, file, offset, len, current, id } derived { openers });

/// A file of a class.
#[derive(Debug)]
struct Arena {
    file: Held,
    read_only: Option<Held>,
    mapping: Mapping,
    size: u64,
    /// Free ranges: offset → length; neighbours are joined.
    free: BTreeMap<u64, u64>,
    used: u64,
}

/// All classes of a namespace.
#[derive(Debug, Default)]
pub(crate) struct Arenas {
    /// By class and number.
    files: Table<(Class, u32), Arena>,
    ranges: Table<RangeId, Range>,
    /// Who may reach which range.
    reach: Table<(RangeId, Pid), ()>,
    /// The ranges that keep a dead copy of an object.
    former: HashMap<(Kind, IpcId), BTreeSet<RangeId>>,
    last: Noted<u64>,
    /// Whose ranges and files these are: their creators'.
    account: Account<Means>,
}

/// Size of a class's first file; each further one is as large as all before it together.
const LEAST: u64 = 1 << 20;
/// How many classes may keep a file though nothing lies in it, for their next object.
const SPARE_FILES: usize = 64;

impl Arena {
    fn new(kind: Kind, size: u64) -> Result<Arena, Errno> {
        let file = memory_file(&format!("ring3-{}", kind.word()), MemfdFlags::empty())?;
        rustix::fs::ftruncate(&file, size).map_err(errno)?;
        seal(&file, SealFlags::GROW)?;
        let mapping = Mapping::new(&file, size as usize, MapFlags::empty())?;
        Ok(Arena::whole(file.into(), None, mapping, size))
    }

    fn whole(file: Held, read_only: Option<Held>, mapping: Mapping, size: u64) -> Arena {
        Arena { file, read_only, mapping, size, free: BTreeMap::from([(0, size)]), used: 0 }
    }

    /// Takes a range that is in use since before this broker; `None`: it is not free.
    fn take_again(&mut self, at: u64, len: u64) -> Option<()> {
        let (&start, &room) = self.free.range(..=at).next_back()?;
        let end = at.checked_add(len).filter(|&end| len > 0 && end <= start + room)?;
        self.free.remove(&start);
        if at > start {
            self.free.insert(start, at - start);
        }
        if start + room > end {
            self.free.insert(end, start + room - end);
        }
        self.used += len;
        Some(())
    }

    /// First fit.
    fn take(&mut self, len: u64) -> Option<u64> {
        let (at, room) = self.free.iter().find(|&(_, &room)| room >= len).map(|(&at, &room)| (at, room))?;
        self.free.remove(&at);
        if room > len {
            self.free.insert(at + len, room - len);
        }
        self.used += len;
        Some(at)
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

/// What is derived of a file, its mapping and its free ranges, is made again.
impl Keep for Arena {
    fn put(&self, out: &mut Vec<u8>) {
        self.file.put(out);
        self.read_only.put(out);
        self.size.put(out);
    }

    fn get(from: &mut &[u8]) -> Option<Arena> {
        let (file, read_only) = (Held::get(from)?, Option::get(from)?);
        let size = u64::get(from)?;
        let there = rustix::fs::fstat(&file).ok()?.st_size.cast_unsigned();
        let mapping = Mapping::new(&file, usize::try_from(size).ok()?, MapFlags::empty()).ok()?;
        (there == size).then(|| Arena::whole(file, read_only, mapping, size))
    }
}

/// The keys of a class's files.
fn all_of(class: Class) -> std::ops::RangeInclusive<(Class, u32)> {
    (class, 0)..=(class, u32::MAX)
}

impl Arenas {
    /// Who has how much.
    pub(crate) fn account(&self) -> &Account<Means> {
        &self.account
    }

    /// The same, for files of objects that lie in none of these.
    pub(crate) fn account_mut(&mut self) -> &mut Account<Means> {
        &mut self.account
    }

    /// Takes a zeroed range in the files of a class, in a further file only if there may be one.
    ///
    /// # Errors
    /// `ENOMEM`; what the machine refuses.
    pub(crate) fn take(&mut self, class: Class, len: u64, may_add: bool) -> Result<RangeId, Errno> {
        let (file, offset) = self.take_in(class, len, may_add)?;
        self.account.take(Means::Memory, class.cuid, len);
        *self.last.change() += 1;
        let id = RangeId(*self.last);
        let range = Range { class, file, offset, len, current: true, openers: HashSet::new(), id: None };
        self.ranges.insert(id, range);
        Ok(id)
    }

    /// Takes room in the files of a class, in a further one if there is none.
    fn take_in(&mut self, class: Class, len: u64, may_add: bool) -> Result<(u32, u64), Errno> {
        let (mut all, mut number) = (0, 0);
        let there: Vec<(Class, u32)> = self.files.range(all_of(class)).map(|(key, _)| *key).collect();
        for key in there {
            let Some(arena) = self.files.derived_mut(&key) else { continue };
            if let Some(offset) = arena.take(len) {
                return Ok((key.1, offset));
            }
            (all, number) = (all + arena.size, key.1 + 1);
        }
        if !may_add {
            return Err(Errno::ENOMEM);
        }
        let mut arena = Arena::new(class.kind, len.max(all).max(LEAST))?;
        let offset = arena.take(len).ok_or(Errno::ENOMEM)?;
        self.files.insert((class, number), arena);
        self.account.take(Means::Files, class.cuid, 1);
        Ok((number, offset))
    }

    /// The parts of the state, each with its number.
    pub(crate) fn sheets(&mut self) -> [(u8, &mut dyn Sheet); 4] {
        let Arenas { files, ranges, reach, last, .. } = self;
        [(part::FILES, files), (part::RANGES, ranges), (part::REACH, reach), (part::LAST_RANGE, last)]
    }

    /// Everything was read: what follows from it is made again. A range that nobody has reads as zeros then (A3), whatever the last broker was about to put
    /// there. Answers who may reach what; `None`: it does not fit together.
    pub(crate) fn derive(&mut self) -> Option<Vec<(RangeId, Pid)>> {
        let Arenas { files, ranges, reach, former, account, .. } = self;
        for (&(id, pid), ()) in reach.iter() {
            ranges.derived_mut(&id)?.openers.insert(pid);
        }
        for (&id, range) in ranges.iter() {
            files.derived_mut(&(range.class, range.file))?.take_again(range.offset, range.len)?;
            account.take(Means::Memory, range.class.cuid, range.len);
            if let Some(object) = range.id.filter(|_| !range.current) {
                former.entry((range.class.kind, object)).or_default().insert(id);
            }
        }
        for (&(class, _), arena) in files.iter() {
            account.take(Means::Files, class.cuid, 1);
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            for (&at, &len) in &arena.free {
                rustix::fs::fallocate(&arena.file, hole, at, len).ok()?;
            }
        }
        Some(reach.keys().copied().collect())
    }

    /// The ranges that nobody needs or reaches.
    pub(crate) fn left(&self) -> Vec<RangeId> {
        let left = |range: &Range| !range.current && range.openers.is_empty();
        self.ranges.iter().filter(|(_, range)| left(range)).map(|(id, _)| *id).collect()
    }

    /// The range's memory.
    pub(crate) fn region(&self, id: RangeId) -> Option<Region<'_>> {
        let range = self.ranges.get(&id)?;
        let arena = self.files.get(&(range.class, range.file))?;
        arena.mapping.region(range.offset as usize, range.len as usize)
    }

    /// Where the range lies: offset and length.
    pub(crate) fn place(&self, id: RangeId) -> Option<(u64, u64)> {
        self.ranges.get(&id).map(|range| (range.offset, range.len))
    }

    /// The file that a range lies in, for a client.
    pub(crate) fn file(&mut self, id: RangeId, access: Access) -> Result<BorrowedFd<'_>, Errno> {
        let range = self.ranges.get(&id).ok_or(Errno::EIDRM)?;
        let key = (range.class, range.file);
        let arena = self.files.get(&key).ok_or(Errno::EIDRM)?;
        if access == Access::Read && arena.read_only.is_none() {
            let file = read_only(&arena.file)?.into();
            self.files.get_mut(&key).ok_or(Errno::EIDRM)?.read_only = Some(file);
        }
        let arena = self.files.get(&key).ok_or(Errno::EIDRM)?;
        let for_reading = arena.read_only.as_ref().filter(|_| access == Access::Read);
        Ok(std::os::fd::AsFd::as_fd(for_reading.unwrap_or(&arena.file)))
    }

    /// A process has the range, with an object in it, from now on.
    pub(crate) fn opened(&mut self, id: RangeId, object: IpcId, pid: Pid) {
        let Some(range) = self.ranges.derived_mut(&id) else { return };
        if range.openers.insert(pid) {
            self.reach.insert((id, pid), ());
        }
        if range.id != Some(object)
            && let Some(range) = self.ranges.get_mut(&id)
        {
            range.id = Some(object);
        }
    }

    /// No object lives in the range any more.
    pub(crate) fn retire(&mut self, id: RangeId) {
        if let Some(range) = self.ranges.get_mut(&id) {
            range.current = false;
            if let Some(object) = range.id {
                self.former.entry((range.class.kind, object)).or_default().insert(id);
            }
        }
        self.release(id);
    }

    /// A process cannot reach the range any more.
    pub(crate) fn closed(&mut self, id: RangeId, pid: Pid) {
        if let Some(range) = self.ranges.derived_mut(&id) {
            range.openers.remove(&pid);
            self.reach.remove(&(id, pid));
        }
        self.release(id);
    }

    /// The ranges in which this object lived, and that somebody may reach still.
    pub(crate) fn former(&self, kind: Kind, object: IpcId) -> Vec<RangeId> {
        self.former.get(&(kind, object)).map_or_else(Vec::new, |ranges| ranges.iter().copied().collect())
    }

    /// Frees a range that nobody needs or reaches (A2).
    fn release(&mut self, id: RangeId) {
        if self.ranges.get(&id).is_none_or(|range| range.current || !range.openers.is_empty()) {
            return;
        }
        let Some(range) = self.ranges.remove(&id) else { return };
        self.account.give_back(Means::Memory, range.class.cuid, range.len);
        if let Some(object) = range.id
            && let std::collections::hash_map::Entry::Occupied(mut former) =
                self.former.entry((range.class.kind, object))
        {
            former.get_mut().remove(&id);
            if former.get().is_empty() {
                former.remove();
            }
        }
        let Some(arena) = self.files.derived_mut(&(range.class, range.file)) else { return };
        // A range whose hole could not be punched is not zeroed: it stays out of use (A3).
        if arena.give(range.offset, range.len).is_err() || arena.used != 0 {
            return;
        }
        // One empty file is kept for the next object.
        let empty = self.files.range(all_of(range.class)).filter(|(_, arena)| arena.used == 0).count();
        if empty > 1 || self.files.len() > SPARE_FILES {
            self.files.remove(&(range.class, range.file));
            self.account.give_back(Means::Files, range.class.cuid, 1);
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
        let first = arenas.take(CLASS, 8192, true).expect("room");
        word(&arenas, first).store(7, ring3_engine::atomic::Relaxed);
        arenas.opened(first, 5, 100);
        arenas.opened(first, 5, 101);
        arenas.retire(first);
        arenas.closed(first, 100);
        let second = arenas.take(CLASS, 8192, true).expect("room");
        assert_eq!((arenas.place(first), arenas.place(second)), (Some((0, 8192)), Some((8192, 8192))));
        assert_eq!((arenas.former(Kind::Sem, 5), arenas.former(Kind::Msg, 5)), (vec![first], vec![]));
        arenas.closed(first, 101);
        assert_eq!((arenas.place(first), arenas.former(Kind::Sem, 5)), (None, vec![]));
        let third = arenas.take(CLASS, 4096, true).expect("room");
        assert_eq!(arenas.place(third), Some((0, 4096)));
        assert_eq!(word(&arenas, third).load(ring3_engine::atomic::Relaxed), 0);
    }

    #[test]
    fn files_are_added_and_free_neighbours_join() {
        let mut arenas = Arenas::default();
        let ranges: Vec<RangeId> =
            (0..100).map(|_| arenas.take(CLASS, 1 << 16, true).expect("room")).collect();
        // 16 in the first file, 16 in the second, 32 in the third.
        assert_eq!(arenas.place(ranges[31]), Some((15 << 16, 1 << 16)));
        assert_eq!(arenas.place(ranges[99]), Some((35 << 16, 1 << 16)));
        assert_eq!(arenas.files.len(), 4);
        for id in ranges.iter().step_by(2).chain(ranges.iter().skip(1).step_by(2)) {
            arenas.retire(*id);
        }
        assert_eq!(arenas.files.len(), 1);
        let large = arenas.take(CLASS, 100 << 16, true).expect("room");
        assert_eq!(arenas.place(large), Some((0, 100 << 16)));
        let other = arenas.take(Class { mode: 0o640, ..CLASS }, 4096, true).expect("room");
        assert_eq!(arenas.place(other), Some((0, 4096)));
    }
}
