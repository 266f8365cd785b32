//! What can be done at once under the lock: a call's operations that need not wait, with nobody asleep who must be served. semop(2).
//!
//! Whatever is different is seen before anything is changed, or the change is dropped, and the caller goes the long way (`op.rs`), which
//! finds every error in its order.
//!
//! # Death
//! As on the long way: one change, an adjustment before its value, whose journal the lock's next holder rolls back.

use super::Set;
use super::layout::SET_HEADER;
use super::op::HYSTERESIS;
use super::word::Mark;
use crate::atomic::Relaxed;
use crate::host::{Caller, Host};
use crate::lock::{self, Held};
use ring3_abi::sem::{SEM_UNDO, SEMVMX, Sembuf};

/// Entries of the journal that one operation takes at most: its value, its adjustment, and a row that is linked or unlinked.
const ONE_OPERATION: u32 = 8;

impl<'r> Set<'r> {
    /// semop of several operations, or of one with SEM_UNDO: with `UNDO` if there is one, and then the caller's life is held. Answers whether all were
    /// done; if not, nothing has happened.
    #[inline(always)]
    pub fn semop_at_once<const UNDO: bool, H: Host>(
        &self,
        host: &H,
        who: Caller,
        now: i64,
        ops: &[Sembuf],
    ) -> bool {
        let Some(time) = self.time(now) else { return false };
        let Some(locked) = lock::lock_at_once(self.header, host, who) else { return false };
        if !self.nobody_sleeps() {
            return false;
        }
        let done = self.do_all::<UNDO>(locked.held(), ops, who, time);
        if done.is_some() {
            // As Set::calm() does after such a call.
            self.own.hysteresis.store(HYSTERESIS, Relaxed);
        }
        done.is_some()
    }

    /// The same set for a call of one operation: whose headers are reckoned from the region's base alone, so that the compiler knows where in the region their fields lie, and needs
    /// few registers; and whose journal has room for it, which is asked here once.
    #[inline(always)]
    pub fn at_hand(&self) -> Option<Set<'r>> {
        let (header, own) = (self.region.at(0).ok()?, self.region.at(SET_HEADER).ok()?);
        (self.journal.cap() >= ONE_OPERATION).then_some(Set { header, own, ..*self })
    }

    /// Does the operations in one change, or none.
    #[inline(always)]
    fn do_all<const UNDO: bool>(&self, held: Held<'_>, ops: &[Sembuf], who: Caller, time: u64) -> Option<()> {
        let later = Mark::of(who.pid);
        let (mut tx, mut mark) = (self.change(), later.at(time));
        // A row of another epoch is cleared on the long way.
        let row = if UNDO {
            Some(self.row_at_home(who.pid, who.life).filter(|(_, key)| self.is_of_epoch(key))?)
        } else {
            None
        };
        for op in ops {
            let num = u32::from(op.sem_num);
            let word = self.take(held, num).ok()?;
            let seen = word.seen();
            let value = seen.value() + i32::from(op.sem_op);
            if !(0..=SEMVMX).contains(&value) || (op.sem_op == 0 && value != 0) {
                return None;
            }
            if UNDO && op.sem_flg & SEM_UNDO != 0 {
                let (row, key) = row?;
                let adjusted = self.adjust_counted(&mut tx, row, key, num, -i32::from(op.sem_op)).ok()?;
                adjusted.then_some(())?;
            }
            word.put(&mut tx, seen.marked(value, mark)).ok()?;
            mark = later;
        }
        tx.commit();
        Some(())
    }
}
