//! The journal: old values of a change that is not finished yet.
//!
//! # Invariants
//! J1. Only the lock's holder writes it. Between operations its length is 0.
//! J2. A field's old value is in the journal, and the length counts it, before its new value is in the field.
//! J3. Setting the length to 0 commits: everything changed before stays.
//!
//! # Death
//! With a length above 0 the change did not happen: [`rollback`] restores the fields, newest first. Dying inside the
//! rollback is harmless: the next one starts over, and restoring twice is restoring once.
//!
//! # Choice
//! An undo journal, not a redo log: an operation reads its own writes and stays ordinary code. `docs/decisions/001-undo-journal.md`.

use crate::atomic::{AcqRel, Acquire, AtomicU32, AtomicU64, Relaxed, Release, compiler_fence};
use crate::error::{Error, Result};
use crate::layout;
use crate::object::Header;
use crate::region::{Array, Link, LinkCell, Region};

layout! {
    /// One field's old value.
    Entry[16] {
        /// Offset of the field in the region, times 2, plus 1 for a 64-bit field.
        place: AtomicU64,
        /// What stood there.
        old: AtomicU64,
    }
}

/// A change under way. Dropped without [`Tx::commit`], it is rolled back.
///
/// What sets a field is inlined everywhere: as long as no reference to the change leaves a function, it stays in registers.
#[derive(Debug)]
pub struct Tx<'r> {
    region: Region<'r>,
    header: &'r Header,
    entries: Array<'r, Entry>,
    len: u32,
}

impl<'r> Tx<'r> {
    /// Begins a change. The caller holds the region's lock.
    #[inline]
    pub fn begin(region: Region<'r>, header: &'r Header, entries: Array<'r, Entry>) -> Tx<'r> {
        Tx { region, header, entries, len: 0 }
    }

    #[inline(always)]
    fn note(&mut self, offset: usize, wide: u64, old: u64) -> Result<()> {
        let Ok(entry) = self.entries.get(self.len) else { return Err(Error::Full) };
        // ORDERING: a death is precise: what the program did up to it is seen, nothing behind it. So against death only the compiler must
        // keep the order; this keeps a new entry behind the end of the change before, whose entry it overwrites.
        compiler_fence(AcqRel);
        entry.place.store((offset as u64) << 1 | wide, Relaxed);
        entry.old.store(old, Relaxed);
        self.len += 1;
        // ORDERING: Release publishes the entry before the length that counts it (J2); pairs with rollback's Acquire.
        self.header.journal_len.store(self.len, Release);
        Ok(())
    }

    /// Sets a 32-bit field of this region.
    #[inline(always)]
    pub fn set32(&mut self, field: &AtomicU32, new: u32) -> Result<()> {
        self.replace32(field, field.load(Relaxed), new)
    }

    /// Sets a 32-bit field of this region, in which the caller has seen `old`, which is there still.
    #[inline(always)]
    pub fn replace32(&mut self, field: &AtomicU32, old: u32, new: u32) -> Result<()> {
        self.note(self.region.place_of(field), 0, u64::from(old))?;
        // ORDERING: Release keeps the new value behind the journal's length (J2).
        field.store(new, Release);
        Ok(())
    }

    /// Sets a link of this region.
    #[inline(always)]
    pub fn set_link<T>(&mut self, field: &LinkCell<T>, new: Link<T>) -> Result<()> {
        self.set32(field.word(), new.word())
    }

    /// Sets a 64-bit field of this region.
    #[inline(always)]
    pub fn set64(&mut self, field: &AtomicU64, new: u64) -> Result<()> {
        self.replace64(field, field.load(Relaxed), new)
    }

    /// Sets a 64-bit field of this region, in which the caller has seen `old`, which is there still.
    #[inline(always)]
    pub fn replace64(&mut self, field: &AtomicU64, old: u64, new: u64) -> Result<()> {
        self.note(self.region.place_of(field), 1, old)?;
        // ORDERING: as in replace32.
        field.store(new, Release);
        Ok(())
    }

    /// Swaps a 32-bit field of this region that others may change meanwhile, and answers what stood there. A rollback leaves `restored`
    /// there: what is read before the swap may be over by then.
    #[inline]
    pub fn swap32(&mut self, field: &AtomicU32, restored: u32, new: u32) -> Result<u32> {
        self.note(self.region.place_of(field), 0, u64::from(restored))?;
        // ORDERING: Release as in set32; Acquire pairs with the sleeper's own transition of its state word.
        Ok(field.swap(new, AcqRel))
    }

    /// Ends the change: it has happened.
    #[inline]
    pub fn commit(mut self) {
        if self.len != 0 {
            self.len = 0;
            // ORDERING: Release keeps every new value before the end of the journal (J3).
            self.header.journal_len.store(0, Release);
        }
    }

    /// Ends the change: it has not happened.
    pub fn abort(self) {}
}

impl Drop for Tx<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.len != 0 {
            // An entry that cannot be restored is one that a hostile peer spoiled: what it names is not ours to touch.
            let _ = rollback(self.region, self.header, self.entries);
        }
    }
}

/// Restores what an unfinished change has overwritten. The caller holds the region's lock.
#[cold]
pub fn rollback(region: Region<'_>, header: &Header, entries: Array<'_, Entry>) -> Result<()> {
    // ORDERING: Acquire pairs with note()'s Release: the entries that the length counts are whole.
    let len = header.journal_len.load(Acquire);
    let mut spoiled = len > entries.cap();
    for n in (0..len.min(entries.cap())).rev() {
        let entry = entries.get(n)?;
        let (place, old) = (entry.place.load(Relaxed), entry.old.load(Relaxed));
        let offset = (place >> 1) as usize;
        let restored = if place & 1 == 1 {
            region.at::<AtomicU64>(offset).map(|field| field.store(old, Relaxed))
        } else {
            region.at::<AtomicU32>(offset).map(|field| field.store(old as u32, Relaxed))
        };
        spoiled |= restored.is_err();
    }
    // ORDERING: Release keeps the restored values before the end of the journal.
    header.journal_len.store(0, Release);
    if spoiled { Err(Error::Spoiled) } else { Ok(()) }
}
