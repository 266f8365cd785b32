//! Undo rows: the adjustments that the set gets when a process ends. SEM_UNDO in semop(2); kernel: struct sem_undo, exit_sem().
//!
//! # Invariants
//! U1. A value and its adjustment change in one change of the journal.
//! U2. A process has at most one row: its key is within [`WINDOW`] places of the process number's own.
//! U3. The rows with an adjustment that is not 0 are linked, the newest first. A row whose adjustments have all become 0 stays linked while it is
//!     the only one: a process that takes and gives back again and again changes no links. An adjustment and the links change in one change.
//! U4. A row of another epoch than the set's counts as zero, whatever it holds (SETALL).
//! U5. A row that is not linked has no `prev`. It keeps its `next` until it is linked again, and that is stored before the head leads to the row. So a walk without the
//!     lock meets every row that is linked from its beginning to its end: `next` always leads to all rows that were linked earlier.
//! U6. `owners` counts the rows that have a process. Both change in one change: the count first when a row gets a process, the process first when it
//!     loses it. So without the lock a count of 0 says that no row has one.

use super::Set;
use super::layout::RowKey;
use crate::atomic::{Acquire, AtomicU32, Relaxed};
use crate::error::{Error, Result};
use crate::journal::Tx;
use crate::life::Life;
use crate::region::{Array, Index, Link};
use ring3_abi::Pid;
use ring3_abi::sem::SEMAEM;

/// How far from its own place a process's row may stand.
const WINDOW: u32 = 64;

impl RowKey {
    /// Whether a row that is linked is the only one.
    #[inline]
    fn is_alone(&self) -> bool {
        self.next.load().is_none() && self.prev.load().is_none()
    }
}

/// Writes down the life of a row's process, which it may have got since it has the row.
#[inline]
fn name_life(key: &RowKey, life: Life) {
    if life != 0 && key.life.load(Relaxed) != life {
        // DEATH: with the old one or with the new one, others ask the broker if they doubt.
        key.life.store(life, Relaxed);
    }
}

/// Whether one of so many adjustments is not 0.
// Apart from its callers, and told what it needs in registers: a reference to the handle would have all of that stored.
#[inline(never)]
fn any_is_set(adjustments: Array<'_, AtomicU32>, first: u32, count: u32) -> Result<bool> {
    for n in first..first.saturating_add(count) {
        if adjustments.get(n)?.load(Relaxed) != 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where a process's own place is, in tables of any length.
#[inline]
fn home(pid: Pid) -> u32 {
    pid.wrapping_mul(0x9E37_79B1)
}

impl<'r> Set<'r> {
    /// Places where a process's row may be.
    fn window(&self, pid: Pid) -> impl Iterator<Item = Index<RowKey>> {
        let rows = self.geometry.rows;
        let start = home(pid);
        (0..WINDOW.min(rows))
            .filter_map(move |n| self.map.keys.index(start.wrapping_add(n) & rows.wrapping_sub(1)))
    }

    /// The process's row, made if it has none. # Errors: `Full`.
    #[inline]
    pub(super) fn row(&self, pid: Pid, life: Life) -> Result<Index<RowKey>> {
        match self.row_at_home(pid, life) {
            Some((row, _)) => Ok(row),
            None => self.row_elsewhere(pid, life),
        }
    }

    /// The process's row if it has one in its own place, where it mostly is.
    // The place is reckoned here: the first of [`Set::window`] is found by a search that is unrolled over all of it.
    #[inline(always)]
    pub(super) fn row_at_home(&self, pid: Pid, life: Life) -> Option<(Index<RowKey>, &'r RowKey)> {
        let row = self.map.keys.index(home(pid) & self.geometry.rows.wrapping_sub(1))?;
        let key = self.key(row).ok()?;
        if key.pid.load(Relaxed) != pid {
            return None;
        }
        name_life(key, life);
        Some((row, key))
    }

    #[inline(never)]
    fn row_elsewhere(&self, pid: Pid, life: Life) -> Result<Index<RowKey>> {
        let mut free = None;
        for row in self.window(pid) {
            let key = self.key(row)?;
            match key.pid.load(Relaxed) {
                owner if owner == pid => {
                    name_life(key, life);
                    return Ok(row);
                }
                0 if free.is_none() => free = Some(row),
                _ => {}
            }
        }
        let row = free.ok_or(Error::Full)?;
        let key = self.key(row)?;
        // DEATH: nobody has the row before the next change, so what stands in it does not matter.
        key.life.store(life, Relaxed);
        let mut tx = self.change();
        tx.set32(&key.epoch, self.own.epoch.load(Relaxed).wrapping_sub(1))?;
        self.count_owners(&mut tx, 1)?;
        tx.set32(&key.pid, pid)?;
        tx.commit();
        Ok(row)
    }

    /// Links a row that has adjustments from now on (U5).
    #[inline(always)]
    fn link_row(&self, tx: &mut Tx<'r>, row: Index<RowKey>, key: &RowKey) -> Result<()> {
        let first = self.own.rows.load();
        // In the journal, too: the same change may have unlinked the row, and is rolled back with that if a later operation must wait.
        tx.set_link(&key.next, first)?;
        if !first.is_none() {
            tx.set_link(&self.linked(first)?.prev, row.link())?;
        }
        // The journal's store is a Release: it keeps `next` before the head (U5).
        tx.set_link(&self.own.rows, row.link())
    }

    #[inline(always)]
    fn unlink_row(&self, tx: &mut Tx<'r>, key: &RowKey) -> Result<()> {
        let (next, prev) = (key.next.load(), key.prev.load());
        if !next.is_none() {
            tx.set_link(&self.linked(next)?.prev, prev)?;
        }
        if prev.is_none() {
            return tx.set_link(&self.own.rows, next);
        }
        tx.set_link(&self.linked(prev)?.next, next)?;
        tx.set_link(&key.prev, Link::NONE)
    }

    /// Takes a row from its process.
    pub(super) fn free_row(&self, tx: &mut Tx<'r>, row: Index<RowKey>) -> Result<()> {
        let key = self.key(row)?;
        if self.counts_row(row)? && self.is_linked(row, key) {
            self.unlink_row(tx, key)?;
        }
        tx.set32(&key.pid, 0)?;
        self.count_owners(tx, -1)
    }

    fn count_owners(&self, tx: &mut Tx<'r>, by: i32) -> Result<()> {
        tx.set32(&self.own.owners, self.own.owners.load(Relaxed).wrapping_add_signed(by))
    }

    /// Whether a row of the set's epoch is linked.
    #[inline]
    fn is_linked(&self, row: Index<RowKey>, key: &RowKey) -> bool {
        !key.prev.load().is_none() || self.own.rows.load() == row.link()
    }

    /// Whether a linked row is to be unlinked: it has no adjustments left, and is not the only one (U3).
    #[inline(always)]
    fn is_idle(&self, row: Index<RowKey>, key: &RowKey) -> Result<bool> {
        Ok(!key.is_alone() && !self.has_some(row)?)
    }

    /// Unlinks the only row if it has no adjustments: operations without SEM_UNDO prevail.
    pub(super) fn unlink_idle(&self) -> Result<()> {
        let only = self.own.rows.load();
        if only.is_none() {
            return Ok(());
        }
        let row = self.map.keys.checked(only)?;
        let key = self.key(row)?;
        if key.next.load().is_none() && !self.has_some(row)? {
            let mut tx = self.change();
            self.unlink_row(&mut tx, key)?;
            tx.commit();
        }
        Ok(())
    }

    /// Whether a row has an adjustment that is not 0.
    #[inline(always)]
    fn has_some(&self, row: Index<RowKey>) -> Result<bool> {
        let nsems = self.geometry.nsems;
        Ok(self.counts_row(row)? && any_is_set(self.adjustments, self.map.adjustment(nsems, row, 0)?, nsems)?)
    }

    /// Whether anybody may have adjustments: whoever looks at the set asks first whether all of these processes live.
    #[inline]
    pub fn has_adjustments(&self) -> bool {
        // ORDERING: Acquire pairs with the Release that linked the first row (U5).
        !self.own.rows.load_acquire().is_none()
    }

    /// The life of the only process with adjustments: one row alone is linked. Without the lock, like [`Set::doubtful`]; a row without a life answers 0.
    #[inline]
    pub fn only_life(&self) -> Option<Life> {
        // ORDERING: Acquire pairs with the Release that linked the row (U5).
        let key = self.linked(self.own.rows.load_acquire()).ok()?;
        // ORDERING: Acquire pairs with the Release that linked the row (U5).
        key.next.load_acquire().is_none().then(|| key.life.load(Relaxed))
    }

    /// The processes with adjustments of which nobody can say that they live: `is_held` says whether a life's word is held. Without the lock; 0 stands
    /// for a process that could not be found because the links lead round.
    pub fn doubtful(&self, is_held: impl Fn(Life) -> bool) -> impl Iterator<Item = Pid> {
        // ORDERING: Acquire pairs with the Release that linked the row (U5).
        let (mut at, mut left) = (self.own.rows.load_acquire(), self.geometry.rows);
        core::iter::from_fn(move || {
            while !at.is_none() {
                let (Ok((row, key)), Some(fewer)) = (self.row_at(at), left.checked_sub(1)) else {
                    at = Link::NONE;
                    return Some(0);
                };
                // ORDERING: Acquire pairs with the Release that linked the row (U5).
                (at, left) = (key.next.load_acquire(), fewer);
                // DEATH: a row may be seen in the middle of the dead process's last change. It then seems empty only if that change concerned every
                // semaphore with an adjustment: these words are slow, and whoever wants to know them waits for the dead process's lock.
                if !is_held(key.life.load(Relaxed)) && self.has_some(row).unwrap_or(true) {
                    return Some(key.pid.load(Relaxed));
                }
            }
            None
        })
    }

    /// The same of all processes that have a row, adjustments in it or not: the end of each shows in the time of the last operation.
    pub fn doubtful_in_time(&self, is_held: impl Fn(Life) -> bool) -> impl Iterator<Item = Pid> {
        // ORDERING: Acquire pairs with the Release that counted an owner (U6).
        let rows = if self.own.owners.load(Acquire) == 0 { 0 } else { self.geometry.rows };
        self.map.keys.first(rows).filter_map(move |row| {
            let key = self.key(row).ok()?;
            let pid = key.pid.load(Relaxed);
            (pid != 0 && !is_held(key.life.load(Relaxed))).then_some(pid)
        })
    }

    /// The rows with adjustments. Ends with `Spoiled` where the links do.
    pub(super) fn rows(&self) -> impl Iterator<Item = Result<Index<RowKey>>> {
        let (mut at, mut left) = (self.own.rows.load(), self.geometry.rows);
        core::iter::from_fn(move || {
            if at.is_none() {
                return None;
            }
            let found = if left == 0 { Err(Error::Spoiled) } else { self.row_at(at) };
            left = left.saturating_sub(1);
            at = found.as_ref().map_or(Link::NONE, |(_, key)| key.next.load());
            Some(found.map(|(row, _)| row))
        })
    }

    /// Makes sure that the process has a row. A call with SEM_UNDO that fails has made one all the same, and its owner's end then counts as an
    /// operation in otime. kernel: find_alloc_undo(), called before anything else is checked.
    pub fn claim_row<H: crate::host::Host>(&self, host: &H, who: crate::host::Caller) -> Result<()> {
        let _locked = self.lock(host, who)?;
        self.row(who.pid, who.life).map(|_| ())
    }

    pub(super) fn find_row(&self, pid: Pid) -> Result<Option<Index<RowKey>>> {
        for row in self.window(pid) {
            if self.key(row)?.pid.load(Relaxed) == pid {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    #[inline]
    pub(super) fn key(&self, row: Index<RowKey>) -> Result<&'r RowKey> {
        self.keys.element(row)
    }

    /// Whose the row is that a link means.
    #[inline]
    fn linked(&self, link: Link<RowKey>) -> Result<&'r RowKey> {
        self.keys.linked(link)
    }

    /// The row that a link means, and whose it is.
    #[inline]
    fn row_at(&self, link: Link<RowKey>) -> Result<(Index<RowKey>, &'r RowKey)> {
        let row = self.map.keys.checked(link)?;
        Ok((row, self.key(row)?))
    }

    #[inline]
    fn cell(&self, row: Index<RowKey>, num: u32) -> Result<&'r AtomicU32> {
        self.adjustments.get(self.map.adjustment(self.geometry.nsems, row, num)?)
    }

    /// Whether a row's adjustments count (U4).
    #[inline]
    pub(super) fn counts_row(&self, row: Index<RowKey>) -> Result<bool> {
        Ok(self.is_of_epoch(self.key(row)?))
    }

    #[inline]
    pub(super) fn is_of_epoch(&self, key: &RowKey) -> bool {
        key.epoch.load(Relaxed) == self.own.epoch.load(Relaxed)
    }

    /// A row's adjustment of a semaphore.
    #[inline]
    pub(super) fn adjustment(&self, row: Index<RowKey>, num: u32) -> Result<i32> {
        Ok(if self.counts_row(row)? { self.cell(row, num)?.load(Relaxed) as i32 } else { 0 })
    }

    /// Adds to an adjustment. Answers `false` if it would leave its range; the change must be dropped then. kernel: perform_atomic_semop().
    #[inline(always)]
    pub(super) fn adjust(&self, tx: &mut Tx<'r>, row: Index<RowKey>, num: u32, by: i32) -> Result<bool> {
        let key = self.key(row)?;
        if !self.is_of_epoch(key) {
            self.begin_epoch(tx, row, key)?;
        }
        self.adjust_counted(tx, row, key, num, by)
    }

    /// [`Set::adjust`] in a row of the set's epoch.
    #[inline(always)]
    pub(super) fn adjust_counted(
        &self,
        tx: &mut Tx<'r>,
        row: Index<RowKey>,
        key: &RowKey,
        num: u32,
        by: i32,
    ) -> Result<bool> {
        let cell = self.cell(row, num)?;
        let before = cell.load(Relaxed);
        let adjustment = i64::from(before as i32) + i64::from(by);
        if !(i64::from(-SEMAEM - 1)..=SEMAEM.into()).contains(&adjustment) {
            return Ok(false);
        }
        tx.replace32(cell, before, adjustment as u32)?;
        if adjustment != 0 {
            if !self.is_linked(row, key) {
                self.link_row(tx, row, key)?;
            }
        } else if before != 0 && self.is_idle(row, key)? {
            self.unlink_row(tx, key)?;
        }
        Ok(true)
    }

    /// Clears a row of another epoch, and makes it one of the set's (U4).
    #[cold]
    #[inline(never)]
    fn begin_epoch(&self, tx: &mut Tx<'r>, row: Index<RowKey>, key: &RowKey) -> Result<()> {
        // DEATH: while the epoch differs the row counts as zero, so clearing it needs no journal.
        for n in 0..self.geometry.nsems {
            self.cell(row, n)?.store(0, Relaxed);
        }
        key.prev.store(Link::NONE);
        tx.set32(&key.epoch, self.own.epoch.load(Relaxed))
    }

    /// Sets every process's adjustment of a semaphore to 0. kernel: semctl_setval().
    pub(super) fn clear_adjustments(&self, tx: &mut Tx<'r>, num: u32) -> Result<()> {
        for row in self.rows() {
            let row = row?;
            if self.adjustment(row, num)? != 0 {
                tx.set32(self.cell(row, num)?, 0)?;
                let key = self.key(row)?;
                if self.is_idle(row, key)? {
                    self.unlink_row(tx, key)?;
                }
            }
        }
        Ok(())
    }

    /// Sets all adjustments of all processes to 0. kernel: semctl_main(), SETALL.
    pub(super) fn clear_all_adjustments(&self, tx: &mut Tx<'r>) -> Result<()> {
        tx.set_link(&self.own.rows, Link::NONE)?;
        tx.set32(&self.own.epoch, self.own.epoch.load(Relaxed).wrapping_add(1))
    }
}
