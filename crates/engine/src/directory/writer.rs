//! The broker's side of the directory.

use super::layout::{self, CHAINS, Head, MAGIC, Slot, chain, heads};
use super::{Directory, Entry, limit_words};
use crate::atomic::{Relaxed, Release, fence};
use crate::error::Result;
use crate::life::Life;
use crate::region::Region;
use ring3_abi::ipc::{IPC_PRIVATE, IPCMNI};
use ring3_abi::limits::Limits;
use ring3_abi::{Key, Kind, Pid, Uid};

/// A directory that may be written. There is one in the world for each directory: the broker's.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'r> {
    directory: Directory<'r>,
}

impl<'r> Writer<'r> {
    /// Makes a directory of zeroed memory.
    ///
    /// # Errors
    /// `Spoiled` if the mapping is too short.
    pub fn format(region: Region<'r>, owner: Uid, limits: &Limits) -> Result<Writer<'r>> {
        let head = region.at::<Head>(0)?;
        head.owner.store(owner, Relaxed);
        // ORDERING: Release pairs with Directory::new's Acquire.
        head.magic.store(MAGIC, Release);
        let writer = Writer { directory: Directory::new(region)? };
        writer.set_limits(limits);
        Ok(writer)
    }

    /// Takes a formatted directory again.
    ///
    /// # Errors
    /// `Spoiled` if it is none.
    pub fn open(region: Region<'r>) -> Result<Writer<'r>> {
        Ok(Writer { directory: Directory::new(region)? })
    }

    /// The same, for reading.
    pub fn reader(self) -> Directory<'r> {
        self.directory
    }

    /// Writes what there is at an index now (`None`: nothing) and answers the new version.
    ///
    /// # Errors
    /// `Spoiled` if there is no such index.
    pub fn put(self, kind: Kind, index: usize, entry: Option<&Entry>) -> Result<u64> {
        let at = u32::try_from(index).unwrap_or(u32::MAX);
        let slot = layout::slot(self.directory.region, kind, index)?;
        let before = (slot.present.load(Relaxed) == 1).then(|| slot.key.load(Relaxed) as i32);
        let after = entry.map(|entry| entry.key);
        if before != after {
            self.unlink(kind, at, slot, before)?;
        }
        let version = change(slot, entry);
        if before != after {
            self.link(kind, at, slot, after)?;
        }
        Ok(version)
    }

    fn link(self, kind: Kind, at: u32, slot: &Slot, key: Option<Key>) -> Result<()> {
        let Some(key) = key.filter(|&key| key != IPC_PRIVATE) else { return Ok(()) };
        let head = heads(kind).get(self.directory.region, chain(key) % CHAINS)?;
        slot.next.store(head.load(Relaxed), Relaxed);
        // ORDERING: Release pairs with by_key's Acquire: who finds the link finds the slot written.
        head.store(at.saturating_add(1), Release);
        Ok(())
    }

    fn unlink(self, kind: Kind, at: u32, slot: &Slot, key: Option<Key>) -> Result<()> {
        let Some(key) = key.filter(|&key| key != IPC_PRIVATE) else { return Ok(()) };
        let mut link = heads(kind).get(self.directory.region, chain(key) % CHAINS)?;
        for _ in 0..IPCMNI {
            match link.load(Relaxed) {
                0 => break,
                n if n == at.saturating_add(1) => {
                    // ORDERING: Release pairs with by_key's Acquire: the slot behind was written before.
                    link.store(slot.next.load(Relaxed), Release);
                    break;
                }
                n => link = &layout::slot(self.directory.region, kind, n.wrapping_sub(1) as usize)?.next,
            }
        }
        Ok(())
    }

    /// Writes anew what another broker may have left half written: `entries` gives what there is at each index, up to `highest` at least. Who looks for a
    /// key meanwhile may not find it, and asks.
    pub fn mend(self, kind: Kind, highest: usize, entries: impl Fn(usize) -> Option<Entry>) -> Result<()> {
        for at in 0..CHAINS {
            // ORDERING: as in unlink().
            heads(kind).get(self.directory.region, at)?.store(0, Release);
        }
        let known = self.directory.usage(kind).1.map_or(0, |index| index as usize);
        for index in 0..=highest.max(known) {
            let slot = layout::slot(self.directory.region, kind, index)?;
            let (entry, version) = (entries(index), slot.version.load(Relaxed));
            let there = self.directory.entry(kind, index);
            if version % 2 != 0 || there.map(|there| Entry { version: 0, ..there }) != entry {
                change(slot, entry.as_ref());
            }
            self.link(kind, index as u32, slot, entry.map(|entry| entry.key))?;
        }
        Ok(())
    }

    /// Writes the limits.
    pub fn set_limits(self, limits: &Limits) {
        let Some(head) = self.directory.head() else { return };
        for (word, value) in head.limits.iter().zip(limit_words(limits)) {
            word.store(value, Relaxed);
        }
    }

    /// Writes how many files of limits are open for writing.
    pub fn set_limit_writers(self, count: usize) {
        if let Some(head) = self.directory.head() {
            // ORDERING: Release pairs with limits_may_change().
            head.limit_writers.store(count as u64, Release);
        }
    }

    /// Writes how many objects of a kind there are, and the highest index among them.
    pub fn set_usage(self, kind: Kind, in_use: u32, highest: Option<u32>) {
        let Some(head) = self.directory.head() else { return };
        if let (Some(used), Some(high)) = (head.in_use.get(kind as usize), head.highest.get(kind as usize)) {
            used.store(in_use, Relaxed);
            high.store(highest.map_or(0, |index| index.saturating_add(1)), Relaxed);
        }
    }

    /// Gives the lease of a kind's identifiers to whoever has this life, and answers the turn.
    pub fn lease(self, kind: Kind, lessee: Life) -> u64 {
        self.set_lessee(kind, lessee);
        self.end_lease(kind)
    }

    /// Whoever has the lease has it no more: another turn begins.
    pub fn end_lease(self, kind: Kind) -> u64 {
        let Some(turn) = self.directory.head().and_then(|head| head.lease_turns.get(kind as usize)) else {
            return 0;
        };
        let next = turn.load(Relaxed).wrapping_add(1);
        // ORDERING: Release pairs with lease_turn(): who sees the turn sees who has it.
        turn.store(next, Release);
        next
    }

    /// All is shown that the last lessee has made.
    pub fn forget_lessee(self, kind: Kind) {
        self.set_lessee(kind, 0);
    }

    fn set_lessee(self, kind: Kind, lessee: Life) {
        if let Some(word) = self.directory.head().and_then(|head| head.lessees.get(kind as usize)) {
            // ORDERING: Release pairs with lessee().
            word.store(lessee, Release);
        }
    }

    /// Writes how many semaphores all sets have.
    pub fn set_used_sems(self, count: u64) {
        if let Some(head) = self.directory.head() {
            head.used_sems.store(count, Relaxed);
        }
    }

    /// Writes how many pages all segments have.
    pub fn set_shm_pages(self, count: u64) {
        if let Some(head) = self.directory.head() {
            head.shm_pages.store(count, Relaxed);
        }
    }

    /// Sets or clears a process's bit.
    pub fn set_registered(self, pid: Pid, known: bool) {
        let Some((word, bit)) = self.directory.pid_word(pid) else { return };
        let old = word.load(Relaxed);
        // One writer: no read-modify-write needed. ORDERING: Release pairs with registered()'s Acquire.
        word.store(if known { old | bit } else { old & !bit }, Release);
    }
}

/// Rewrites a slot's fields under an odd version.
fn change(slot: &Slot, entry: Option<&Entry>) -> u64 {
    let odd = slot.version.load(Relaxed) | 1;
    slot.version.store(odd, Relaxed);
    // ORDERING: the fence keeps the fields behind the odd version; the Release store below keeps them before the even one.
    fence(Release);
    slot.present.store(u32::from(entry.is_some()), Relaxed);
    if let Some(entry) = entry {
        slot.id.store(entry.id as u32, Relaxed);
        slot.key.store(entry.key as u32, Relaxed);
        slot.uid.store(entry.uid, Relaxed);
        slot.gid.store(entry.gid, Relaxed);
        slot.cuid.store(entry.cuid, Relaxed);
        slot.cgid.store(entry.cgid, Relaxed);
        slot.mode.store(entry.mode, Relaxed);
        slot.size.store(entry.size, Relaxed);
    }
    let even = odd.wrapping_add(1);
    // ORDERING: Release pairs with read()'s Acquire: who sees the even version sees the fields.
    slot.version.store(even, Release);
    even
}
