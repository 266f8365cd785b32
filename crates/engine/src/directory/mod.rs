//! The directory of a namespace: what exists, by index and by key; the limits; which processes the broker knows.
//!
//! The broker alone writes it; every process maps it read-only, so that looking up a key, checking permission and
//! asking whether a known object is still the same one need no message. Whatever is not found here the broker decides.
//!
//! # Invariants
//! D1. A slot's `version` is odd while its fields change, and never repeats: an object that has the version it had when it was
//!     opened is the same object, in the same region, with the same permission.
//! D2. A key chain names present objects with a key other than IPC_PRIVATE. A reader that meets a chain in the middle of a
//!     change may miss an object, never find a wrong one: what it finds is checked against the slot.
//!
//! # Death
//! The broker may die between two stores: a version may stay odd, which readers take for "ask the broker"; the broker's
//! successor writes the directory anew.

pub mod layout;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

pub use segment::Segment;
pub use writer::Writer;

use crate::atomic::{Acquire, AtomicU64, Relaxed, fence};
use crate::error::{Error, Result};
use crate::life::Life;
use crate::region::Region;
use layout::{
    CHAINS, Head, LEN, LIMITS, MAGIC, PID_WORDS, PIDS, Slot, chain, heads, indices_in, len_for, slot,
};
use ring3_abi::ipc::IPCMNI;
use ring3_abi::limits::{Limit, Limits};
use ring3_abi::{Gid, IpcId, Key, Kind, Pid, Uid};

/// How often a reader tries again when a slot is being written.
const PATIENCE: u32 = 64;
/// How long a key chain a reader follows before it asks the broker.
const LONGEST: u32 = 64;

/// An object as the directory tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The version this was read at (D1).
    pub version: u64,
    /// Identifier.
    pub id: IpcId,
    /// Key.
    pub key: Key,
    /// Owner's user.
    pub uid: Uid,
    /// Owner's group.
    pub gid: Gid,
    /// Creator's user.
    pub cuid: Uid,
    /// Creator's group.
    pub cgid: Gid,
    /// Permission bits; for segments also SHM_DEST and SHM_LOCKED.
    pub mode: u32,
    /// msg: 0; sem: semaphores; shm: size as asked for.
    pub size: u64,
}

/// The place of a slot's version in a mapped directory.
#[derive(Clone, Copy, Debug)]
pub struct VersionWord<'r>(&'r AtomicU64);

impl VersionWord<'_> {
    /// The version now.
    #[inline]
    pub fn load(self) -> u64 {
        // ORDERING: Acquire pairs with Writer's Release: who sees the version sees what was written before it.
        self.0.load(Acquire)
    }
}

impl Head {
    /// One limit.
    #[inline]
    pub fn limit(&self, which: Limit) -> i64 {
        self.limits.get(which as usize).map_or(0, |limit| limit.load(Relaxed) as i64)
    }

    /// The turn of the lease of a kind's identifiers.
    #[inline]
    pub fn lease_turn(&self, kind: Kind) -> u64 {
        // ORDERING: Acquire pairs with Writer::lease().
        self.lease_turns.get(kind as usize).map_or(0, |turn| turn.load(Acquire))
    }

    /// The life of whoever has that lease; 0 nobody.
    #[inline]
    pub fn lessee(&self, kind: Kind) -> Life {
        // ORDERING: Acquire pairs with Writer::lease(): who finds nobody finds what the last one has made.
        self.lessees.get(kind as usize).map_or(0, |life| life.load(Acquire))
    }

    /// Whether a file of limits is open for writing: what was written may not be in force before the broker is asked something.
    #[inline]
    pub fn limits_may_change(&self) -> bool {
        // ORDERING: Acquire pairs with Writer::set_limit_writers: who finds none finds the limits that the last one wrote.
        self.limit_writers.load(Acquire) != 0
    }
}

/// A mapped directory, for reading.
#[derive(Clone, Copy, Debug)]
pub struct Directory<'r> {
    region: Region<'r>,
}

impl<'r> Directory<'r> {
    /// Takes a mapping for a directory, or for the beginning of one ([`Directory::len_for`]).
    ///
    /// # Errors
    /// `Spoiled` if it is none, or too short to hold an index.
    pub fn new(region: Region<'r>) -> Result<Directory<'r>> {
        let head = region.at::<Head>(0)?;
        // ORDERING: Acquire pairs with Writer::new's Release: who sees the magic sees a directory.
        if region.len() < len_for(1) || head.magic.load(Acquire) != MAGIC {
            return Err(Error::Spoiled);
        }
        Ok(Directory { region })
    }

    /// Length of a directory.
    pub const fn len() -> usize {
        LEN
    }

    /// How much of a directory has the first `indices` indexes.
    pub const fn len_for(indices: usize) -> usize {
        len_for(indices)
    }

    /// How many indexes this mapping has. What lies behind them is not found here.
    pub fn indices(self) -> usize {
        indices_in(self.region.len())
    }

    fn slot(self, kind: Kind, index: usize) -> Option<&'r Slot> {
        slot(self.region, kind, index).ok()
    }

    /// The version of a slot, for comparing with that of an entry read earlier.
    pub fn version(self, kind: Kind, index: usize) -> u64 {
        self.version_word(kind, index).map_or(u64::MAX, VersionWord::load)
    }

    /// Where the version of a slot stands, for whoever compares it often. `None`: this mapping does not have the index.
    pub fn version_word(self, kind: Kind, index: usize) -> Option<VersionWord<'r>> {
        self.slot(kind, index).map(|slot| VersionWord(&slot.version))
    }

    /// Whether there is no object at an index, and none is being written. What this mapping does not have is free.
    pub fn is_free(self, kind: Kind, index: usize) -> bool {
        let Some(slot) = self.slot(kind, index) else { return true };
        // ORDERING: Acquire pairs with Writer's Release.
        slot.version.load(Acquire).is_multiple_of(2) && slot.present.load(Relaxed) == 0
    }

    /// The object at an index. `None`: there is none, or it is being changed just now; the broker knows.
    pub fn entry(self, kind: Kind, index: usize) -> Option<Entry> {
        let slot = self.slot(kind, index)?;
        for _ in 0..PATIENCE {
            if let Some(found) = read(slot) {
                return found;
            }
            core::hint::spin_loop();
        }
        None
    }

    /// The object with an identifier, sequence included.
    pub fn by_id(self, kind: Kind, id: IpcId) -> Option<Entry> {
        let index = ring3_abi::ipc::index_of(id)?;
        self.entry(kind, index).filter(|entry| entry.id == id)
    }

    /// The object with a key other than IPC_PRIVATE. `None`: ask the broker.
    pub fn by_key(self, kind: Kind, key: Key) -> Option<Entry> {
        // ORDERING: Acquire, here and along the chain, pairs with Writer's Release of a link: who finds it finds the slot written.
        let mut link = heads(kind).get(self.region, chain(key) % CHAINS).ok()?.load(Acquire);
        for _ in 0..LONGEST {
            let index = link.checked_sub(1)? as usize;
            match self.entry(kind, index) {
                Some(entry) if entry.key == key => return Some(entry),
                // ORDERING: as above.
                _ => link = self.slot(kind, index)?.next.load(Acquire),
            }
        }
        None
    }

    /// The limits. Each is read by itself; they change one at a time anyhow.
    pub fn limits(self) -> Limits {
        let mut limits = Limits::default();
        for which in Limit::ALL {
            limits.put(which, self.limit(which));
        }
        limits
    }

    /// One limit.
    #[inline]
    pub fn limit(self, which: Limit) -> i64 {
        self.head().map_or(0, |head| head.limit(which))
    }

    /// The page that begins the directory, for whoever looks at it often. `None`: there is none.
    pub fn head(self) -> Option<&'r Head> {
        self.region.at(0).ok()
    }

    /// The user that owns the namespace.
    pub fn owner(self) -> Uid {
        self.head().map_or(0, |head| head.owner.load(Relaxed))
    }

    /// Objects in use, and the highest index in use (`None`: no object).
    pub fn usage(self, kind: Kind) -> (u32, Option<u32>) {
        let Some(head) = self.head() else { return (0, None) };
        let [in_use, highest] = [&head.in_use, &head.highest]
            .map(|counts| counts.get(kind as usize).map_or(0, |count| count.load(Relaxed)));
        (in_use, highest.checked_sub(1))
    }

    /// Semaphores in all sets, pages in all segments.
    pub fn totals(self) -> (u64, u64) {
        self.head().map_or((0, 0), |head| (head.used_sems.load(Relaxed), head.shm_pages.load(Relaxed)))
    }

    /// Whether the broker may know a process (another one may have the same bit): a parent that has reaped it should ask for its
    /// settlement.
    pub fn registered(self, pid: Pid) -> bool {
        // ORDERING: Acquire pairs with Writer's Release of the bit.
        self.pid_word(pid).is_some_and(|(word, bit)| word.load(Acquire) & bit != 0)
    }

    fn pid_word(self, pid: Pid) -> Option<(&'r AtomicU64, u64)> {
        let at = pid as usize % IPCMNI;
        let word = PIDS.get(self.region, (at / 64 % PID_WORDS) as u32).ok()?;
        Some((word, 1 << (at % 64)))
    }
}

/// Reads a slot. Outer `None`: it changed meanwhile.
fn read(slot: &Slot) -> Option<Option<Entry>> {
    // ORDERING: Acquire pairs with the Release that made the version even.
    let version = slot.version.load(Acquire);
    if !version.is_multiple_of(2) {
        return None;
    }
    let entry = Entry {
        version,
        id: slot.id.load(Relaxed) as i32,
        key: slot.key.load(Relaxed) as i32,
        uid: slot.uid.load(Relaxed),
        gid: slot.gid.load(Relaxed),
        cuid: slot.cuid.load(Relaxed),
        cgid: slot.cgid.load(Relaxed),
        mode: slot.mode.load(Relaxed),
        size: slot.size.load(Relaxed),
    };
    let present = slot.present.load(Relaxed) == 1;
    // ORDERING: the fence keeps the loads above before the second look at the version; pairs with change()'s fence.
    fence(Acquire);
    (slot.version.load(Relaxed) == version).then_some(present.then_some(entry))
}

/// The limits as the directory holds them.
fn limit_words(limits: &Limits) -> [u64; LIMITS] {
    Limit::ALL.map(|which| limits.get(which) as u64)
}
