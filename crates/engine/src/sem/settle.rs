//! After a death: everything of the dead process is finished or undone, and sleepers that can go on are served. exit(2); kernel: exit_sem().
//!
//! # Death
//! What a death in semop leaves, and what repairs it:
//! - before the lock, or in the lock-free compare-and-swap: nothing, or the whole operation;
//! - with the lock, before the commit: old values in the journal; rolled back here;
//! - with the lock, after the commit: sleepers not served yet; the scan here serves them;
//! - after the lock, before the wake-ups: sleepers that are served and sleep; woken here;
//! - asleep: a ticket in a queue; taken out here, or before by whoever meets it (`ticket/owner.rs`).
//!
//! Settling twice changes nothing: the row is cleared in the change that applies it.

use super::Set;
use super::scan::Touched;
use super::sleeper::Record;
use crate::atomic::Relaxed;
use crate::error::Result;
use crate::host::{Caller, Host};
use crate::journal::rollback;
use crate::lock::{Held, lock_any, seize};
use crate::object::LIVE;
use crate::ticket::Ticket;
use ring3_abi::Pid;
use ring3_abi::sem::SEMVMX;

/// Whether a process's adjustments are applied: at its end, not when it executes another program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undo {
    /// The process ended.
    Apply,
    /// Its image was replaced.
    Keep,
}

impl<'r> Set<'r> {
    /// Settles what process `dead` left here. Idempotent.
    ///
    /// # Errors
    /// `Stuck` if a living process keeps the lock: try again later.
    pub fn settle<H: Host>(&self, host: &H, dead: Pid, who: Caller, undo: Undo) -> Result<()> {
        let (locked, was_held) = seize(self.header, host, dead, who)?;
        rollback(self.region, self.header, self.journal)?;
        if self.header.state.load(Relaxed) == LIVE {
            let of_the_dead = |record: Record<'_>| record.pid() == dead;
            self.tickets().for_each(of_the_dead, |ticket, record| self.end(ticket, record))?;
            let held = locked.held();
            let mut served = self.served();
            if was_held {
                // What the dead process did comes first, with all its consequences; then its adjustments. Without the lock it has left no
                // consequences, and a look at the sleepers that the kernel does not take would show in GETZCNT.
                self.scan(held, &mut served, Touched::All)?;
            }
            if undo == Undo::Apply && self.apply_adjustments(held, dead, host.now())? {
                self.scan(held, &mut served, Touched::All)?;
            }
        }
        drop(locked);
        self.tickets().wake_left(host)
    }

    /// Applies a process's adjustments and frees its row, in one change. Answers whether it had one.
    fn apply_adjustments(&self, held: Held<'_>, dead: Pid, now: i64) -> Result<bool> {
        let Some(row) = self.find_row(dead)? else { return Ok(false) };
        let time = self.time_for(held, now)?;
        let mut tx = self.change();
        if self.counts_row(row)? {
            for num in 0..self.geometry.nsems {
                let adjustment = self.adjustment(row, num)?;
                if adjustment != 0 {
                    let word = self.take(held, num)?;
                    let seen = word.seen();
                    let value = (seen.value() + adjustment).clamp(0, SEMVMX);
                    word.put(&mut tx, seen.with_value(value).with_pid(dead))?;
                }
            }
        }
        self.stamp(held, &mut tx, time)?;
        self.free_row(&mut tx, row)?;
        tx.commit();
        Ok(true)
    }

    /// Drops this thread's ticket, if it has one: a call that nobody will resume.
    pub fn withdraw<H: Host>(&self, host: &H, who: Caller) -> Result<()> {
        let _locked = lock_any(self.header, host, who)?;
        self.tickets().for_each(|record| record.is_of(who), |ticket, record| self.end(ticket, record))
    }

    /// This thread's ticket, if it has one: to go on after the set moved. # Errors: `Moved` or `Spoiled` if it has moved on since.
    pub fn adopt<H: Host>(&self, host: &H, who: Caller) -> Result<Option<Ticket>> {
        let _locked = lock_any(self.header, host, who)?;
        self.header.is_home()?;
        self.tickets().adopt(host, who)
    }
}
