//! Moving a set to another region: to a larger one, or to another class of permission.
//!
//! # Death
//! Only the broker moves sets. Until the old region says MOVED it is the set; the new one is nobody's before the broker's directory names it.

use super::Set;
use crate::atomic::Relaxed;
use crate::error::{Error, Result};
use crate::host::{Caller, Host};
use crate::object::{LIVE, MOVED};
use crate::wait::{DONE, FREE};

impl<'r> Set<'r> {
    /// Copies the set into `new`, a zeroed region at least as large in every table, and marks this one MOVED.
    /// Tickets keep their numbers; their owners are woken and find them in the new region.
    pub fn move_to<H: Host>(self, host: &H, who: Caller, new: Set<'_>) -> Result<()> {
        let (from, to) = (self.geometry, new.geometry);
        if to.nsems != from.nsems || to.rows < from.rows || to.tickets < from.tickets || to.ops < from.ops {
            return Err(Error::Spoiled);
        }
        let locked = self.lock(host, who)?;
        for num in 0..from.nsems {
            new.word(num)?.store(self.take(locked.held(), num)?.seen().bits(), Relaxed);
        }
        self.copy_headers(new);
        self.copy_rows(new)?;
        self.copy_tickets(new)?;
        new.header.state.store(LIVE, crate::atomic::Release);
        self.header.state.store(MOVED, Relaxed);
        self.turn_out()?;
        drop(locked);
        self.tickets().wake_all(host)
    }

    /// Changes the word of every sleeper here: one that was about to park looks again, and finds that the set has moved.
    fn turn_out(self) -> Result<()> {
        for index in 0..self.tickets().used() {
            let state = &self.map.tickets.get(self.region, index)?.state;
            if state.load(Relaxed) != FREE {
                state.store(DONE, Relaxed);
            }
        }
        Ok(())
    }

    fn copy_headers(self, new: Set<'_>) {
        let (a, b) = (self.header, new.header);
        for (from, to) in [
            (&a.magic, &b.magic),
            (&a.id, &b.id),
            (&a.kind, &b.kind),
            (&a.ticket_free, &b.ticket_free),
            (&a.ticket_fresh, &b.ticket_fresh),
            (&self.own.epoch, &new.own.epoch),
            (&self.own.nsems, &new.own.nsems),
            (&self.own.alter.head, &new.own.alter.head),
            (&self.own.alter.tail, &new.own.alter.tail),
            (&self.own.zero.head, &new.own.zero.head),
            (&self.own.zero.tail, &new.own.zero.tail),
        ] {
            to.store(from.load(Relaxed), Relaxed);
        }
        b.ctime.store(a.ctime.load(Relaxed), Relaxed);
        new.own.otime_base.store(self.own.otime_base.load(Relaxed), Relaxed);
    }

    /// Rows go to the place that the new table gives them; sleepers' references follow in `copy_tickets`.
    fn copy_rows(self, new: Set<'_>) -> Result<()> {
        for row in self.rows() {
            let row = row?;
            self.copy_row(new, row, self.key(row)?.pid.load(Relaxed))?;
        }
        Ok(())
    }

    fn copy_row(self, new: Set<'_>, row: u32, pid: ring3_abi::Pid) -> Result<()> {
        let there = new.row(pid)?;
        if !self.counts_row(row)? {
            return Ok(());
        }
        for num in 0..self.geometry.nsems {
            let mut tx = new.change();
            if !new.adjust(&mut tx, there, num, self.owed(row, num)?)? {
                return Err(Error::Spoiled);
            }
            tx.commit();
        }
        Ok(())
    }

    fn copy_tickets(self, new: Set<'_>) -> Result<()> {
        for index in 0..self.tickets().used() {
            let (a, b) = (self.map.tickets.get(self.region, index)?, new.map.tickets.get(new.region, index)?);
            for (from, to) in [
                (&a.state, &b.state),
                (&a.pid, &b.pid),
                (&a.tid, &b.tid),
                (&a.result, &b.result),
                (&a.next, &b.next),
                (&a.prev, &b.prev),
                (&a.a, &b.a),
                (&a.b, &b.b),
                (&a.c, &b.c),
            ] {
                to.store(from.load(Relaxed), Relaxed);
            }
            b.since.store(a.since.load(Relaxed), Relaxed);
            if a.state.load(Relaxed) == FREE {
                continue;
            }
            if a.d.load(Relaxed) != 0 {
                let row = new.find_row(a.pid.load(Relaxed))?.ok_or(Error::Spoiled)?;
                b.d.store(row + 1, Relaxed);
            }
            let ticket = crate::wait::Ticket(index);
            for n in 0..a.a.load(Relaxed).min(self.geometry.ops) {
                new.stored(ticket, n)?.store(self.stored(ticket, n)?.load(Relaxed), Relaxed);
            }
        }
        Ok(())
    }
}
