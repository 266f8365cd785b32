//! Undo rows: the adjustments that the set gets when a process ends. SEM_UNDO in semop(2); kernel: struct sem_undo, exit_sem().
//!
//! # Invariants
//! U1. A value and its adjustment change in one change of the journal.
//! U2. A process has at most one row: its key is within [`WINDOW`] places of the process number's own.
//! U3. The rows that somebody has are linked, in no order; a key and its links change in one change.
//! U4. A row of another epoch than the set's counts as zero, whatever it holds (SETALL).

use super::Set;
use super::layout::RowKey;
use crate::atomic::{AtomicU32, Relaxed};
use crate::error::{Error, Result};
use crate::journal::Tx;
use ring3_abi::Pid;
use ring3_abi::sem::SEMAEM;

/// How far from its own place a process's row may stand.
const WINDOW: u32 = 64;

impl<'r> Set<'r> {
    /// Places where a process's row may be.
    fn window(self, pid: Pid) -> impl Iterator<Item = u32> {
        let rows = self.geometry.rows;
        let start = pid.wrapping_mul(0x9E37_79B1);
        (0..WINDOW.min(rows)).map(move |n| start.wrapping_add(n) & rows.wrapping_sub(1))
    }

    /// The process's row, made if it has none. # Errors: `Full`.
    pub(super) fn row(self, pid: Pid) -> Result<u32> {
        let mut free = None;
        for row in self.window(pid) {
            match self.key(row)?.pid.load(Relaxed) {
                owner if owner == pid => return Ok(row),
                0 if free.is_none() => free = Some(row),
                _ => {}
            }
        }
        let row = free.ok_or(Error::Full)?;
        let key = self.key(row)?;
        let mut tx = self.change();
        tx.set32(&key.epoch, self.own.epoch.load(Relaxed).wrapping_sub(1))?;
        tx.set32(&key.pid, pid)?;
        self.link_row(&mut tx, row, key)?;
        tx.commit();
        Ok(row)
    }

    fn link_row(self, tx: &mut Tx<'r>, row: u32, key: &RowKey) -> Result<()> {
        let first = self.own.rows.load(Relaxed);
        tx.set32(&key.next, first)?;
        tx.set32(&key.prev, 0)?;
        if let Some(next) = first.checked_sub(1) {
            tx.set32(&self.key(next)?.prev, row + 1)?;
        }
        tx.set32(&self.own.rows, row + 1)
    }

    /// Takes a row from its process.
    pub(super) fn free_row(self, tx: &mut Tx<'r>, row: u32) -> Result<()> {
        let key = self.key(row)?;
        let (next, prev) = (key.next.load(Relaxed), key.prev.load(Relaxed));
        if let Some(next) = next.checked_sub(1) {
            tx.set32(&self.key(next)?.prev, prev)?;
        }
        match prev.checked_sub(1) {
            Some(prev) => tx.set32(&self.key(prev)?.next, next)?,
            None => tx.set32(&self.own.rows, next)?,
        }
        tx.set32(&key.pid, 0)
    }

    /// The rows that somebody has. Ends with `Spoiled` where the links do.
    pub(super) fn rows(self) -> impl Iterator<Item = Result<u32>> {
        let (mut at, mut left) = (self.own.rows.load(Relaxed), self.geometry.rows);
        core::iter::from_fn(move || {
            let row = at.checked_sub(1)?;
            let next =
                if left == 0 { Err(Error::Spoiled) } else { self.key(row).map(|key| key.next.load(Relaxed)) };
            left = left.saturating_sub(1);
            at = *next.as_ref().unwrap_or(&0);
            Some(next.map(|_| row))
        })
    }

    /// Makes sure that the process has a row. A call with SEM_UNDO that fails has made one all the same, and its owner's end then counts as an
    /// operation in otime. kernel: find_alloc_undo(), called before anything else is checked.
    pub fn claim_row<H: crate::host::Host>(self, host: &H, who: crate::host::Caller) -> Result<()> {
        let _locked = self.lock(host, who)?;
        self.row(who.pid).map(|_| ())
    }

    pub(super) fn find_row(self, pid: Pid) -> Result<Option<u32>> {
        for row in self.window(pid) {
            if self.key(row)?.pid.load(Relaxed) == pid {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    #[inline]
    pub(super) fn key(self, row: u32) -> Result<&'r RowKey> {
        self.map.keys.get(self.region, row)
    }

    #[inline]
    fn cell(self, row: u32, num: u32) -> Result<&'r AtomicU32> {
        self.map.adjustments.get(self.region, self.map.adjustment(self.geometry.nsems, row, num)?)
    }

    /// Whether a row's adjustments count (U4).
    pub(super) fn counts_row(self, row: u32) -> Result<bool> {
        Ok(self.key(row)?.epoch.load(Relaxed) == self.own.epoch.load(Relaxed))
    }

    /// A row's adjustment of a semaphore.
    pub(super) fn adjustment(self, row: u32, num: u32) -> Result<i32> {
        Ok(if self.counts_row(row)? { self.cell(row, num)?.load(Relaxed) as i32 } else { 0 })
    }

    /// Adds to an adjustment. Answers `false`, with nothing done, if it would leave its range. kernel: perform_atomic_semop().
    pub(super) fn adjust(self, tx: &mut Tx<'r>, row: u32, num: u32, by: i32) -> Result<bool> {
        let adjustment = self.adjustment(row, num)?.saturating_add(by);
        if !(-SEMAEM - 1..=SEMAEM).contains(&adjustment) {
            return Ok(false);
        }
        if !self.counts_row(row)? {
            // DEATH: while the epoch differs the row counts as zero, so clearing it needs no journal.
            for n in 0..self.geometry.nsems {
                self.cell(row, n)?.store(0, Relaxed);
            }
            tx.set32(&self.key(row)?.epoch, self.own.epoch.load(Relaxed))?;
        }
        tx.set32(self.cell(row, num)?, adjustment as u32)?;
        Ok(true)
    }

    /// Sets every process's adjustment of a semaphore to 0. kernel: semctl_setval().
    pub(super) fn clear_adjustments(self, tx: &mut Tx<'r>, num: u32) -> Result<()> {
        for row in self.rows() {
            let row = row?;
            if self.adjustment(row, num)? != 0 {
                tx.set32(self.cell(row, num)?, 0)?;
            }
        }
        Ok(())
    }

    /// Sets all adjustments of all processes to 0. kernel: semctl_main(), SETALL.
    pub(super) fn clear_all_adjustments(self, tx: &mut Tx<'r>) -> Result<()> {
        tx.set32(&self.own.epoch, self.own.epoch.load(Relaxed).wrapping_add(1))
    }
}
