//! Moving a set to another region: to a larger one, or to another class of permission.
//!
//! # Death
//! Only the broker moves sets. Until the old region says MOVED it is the set; the new one is nobody's before the broker's directory names it.

use super::Set;
use super::layout::RowKey;
use super::sleeper::Record;
use crate::atomic::Relaxed;
use crate::error::{Error, Result};
use crate::host::{Caller, Host};
use crate::object::{LIVE, MOVED};
use crate::region::Index;
use crate::ticket::Ticket;

impl<'r> Set<'r> {
    /// Copies the set into `new`, a zeroed region at least as large in every table, and marks this one MOVED.
    /// Tickets keep their numbers; their owners are woken and find them in the new region.
    pub fn move_to<H: Host>(&self, host: &H, who: Caller, new: Set<'_>) -> Result<()> {
        let (from, to) = (self.geometry, new.geometry);
        if to.nsems != from.nsems || to.rows < from.rows || to.tickets < from.tickets || to.ops < from.ops {
            return Err(Error::Spoiled);
        }
        let locked = self.lock(host, who)?;
        for num in 0..from.nsems {
            new.word(num)?.store(self.take(locked.held(), num)?.seen().bits(), Relaxed);
            self.line(num)?.copy_to(new.line(num)?);
        }
        self.copy_headers(&new);
        self.copy_rows(&new)?;
        self.copy_tickets(&new)?;
        // ORDERING: Release, as in format().
        new.header.state.store(LIVE, crate::atomic::Release);
        self.header.state.store(MOVED, Relaxed);
        self.tickets().close_all()?;
        drop(locked);
        self.tickets().wake_all(host)
    }

    fn copy_headers(&self, new: &Set<'_>) {
        self.header.copy_identity(new.header);
        self.own.alter.copy_to(&new.own.alter);
        self.own.zero.copy_to(&new.own.zero);
        for (from, to) in [
            (&self.own.epoch, &new.own.epoch),
            (&self.own.nsems, &new.own.nsems),
            (&self.own.complex, &new.own.complex),
        ] {
            to.store(from.load(Relaxed), Relaxed);
        }
        new.own.otime_base.store(self.own.otime_base.load(Relaxed), Relaxed);
    }

    /// Rows go to the place that the new table gives them; sleepers' references follow in `copy_tickets`.
    fn copy_rows(&self, new: &Set<'_>) -> Result<()> {
        for row in self.map.keys.first(self.geometry.rows) {
            let key = self.key(row)?;
            let pid = key.pid.load(Relaxed);
            if pid != 0 {
                self.copy_row(new, row, new.row(pid, key.life.load(Relaxed))?)?;
            }
        }
        Ok(())
    }

    fn copy_row(&self, new: &Set<'_>, row: Index<RowKey>, there: Index<RowKey>) -> Result<()> {
        if !self.counts_row(row)? {
            return Ok(());
        }
        for num in 0..self.geometry.nsems {
            let mut tx = new.change();
            if !new.adjust(&mut tx, there, num, self.adjustment(row, num)?)? {
                return Err(Error::Spoiled);
            }
            tx.commit();
        }
        Ok(())
    }

    fn copy_tickets(&self, new: &Set<'_>) -> Result<()> {
        self.tickets().copy_to(new.tickets())?;
        self.tickets().for_each(|_| true, |ticket, record| self.copy_call(new, ticket, record))
    }

    /// A sleeper's operations, and where its undo row is now.
    fn copy_call(&self, new: &Set<'_>, ticket: Ticket, record: Record<'r>) -> Result<()> {
        if !record.own.row().is_none() {
            let row = new.find_row(record.pid())?.ok_or(Error::Spoiled)?;
            new.tickets().get(ticket)?.own.set_row(row);
        }
        for n in 0..record.own.count().min(self.geometry.ops) {
            new.stored(ticket, n)?.store(self.stored(ticket, n)?.load(Relaxed), Relaxed);
        }
        Ok(())
    }
}
