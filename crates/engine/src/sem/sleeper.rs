//! A call of semop that sleeps: its half of a ticket, by name.

use super::Set;
use super::layout::{RowKey, Sleeper};
use super::op::{Ops, Owner};
use crate::atomic::{AtomicU64, Relaxed};
use crate::error::{Error, Result};
use crate::host::{Caller, Host};
use crate::journal::Tx;
use crate::object::Receipt;
use crate::region::{Index, Link};
use crate::ticket::{self, Queue, Ticket};
use ring3_abi::sem::Sembuf;

/// A sleeping call's ticket.
pub(super) type Record<'r> = ticket::Record<'r, Sleeper>;

impl Sleeper {
    /// How many operations it has. A claim: [`Ops::get`] checks every index.
    #[inline]
    pub(super) fn count(&self) -> u32 {
        self.count.load(Relaxed)
    }

    /// The operation that blocks, as it was seen last.
    pub(super) fn blocked(&self) -> u32 {
        self.blocked.load(Relaxed)
    }

    /// Notes which operation blocks. No journal: the next one to try the call finds out anew.
    pub(super) fn set_blocked(&self, n: u32) {
        self.blocked.store(n, Relaxed);
    }

    /// Whether it would change a value.
    #[inline]
    pub(super) fn alters(&self) -> bool {
        self.alters.load(Relaxed) != 0
    }

    /// Whether it is one of those that [`super::layout::SetHeader`] counts: it would change a value, and has several operations.
    #[inline]
    pub(super) fn is_complex(&self) -> bool {
        self.count() > 1 && self.alters()
    }

    /// Whether it stands in a line: it would change a value, and has one operation.
    #[inline]
    pub(super) fn is_simple(&self) -> bool {
        self.count() == 1 && self.alters()
    }

    /// The undo row of its process, if that had one.
    #[inline]
    pub(super) fn row(&self) -> Link<RowKey> {
        self.row.load()
    }

    /// The set has moved, and the row with it.
    pub(super) fn set_row(&self, row: Index<RowKey>) {
        self.row.store(row.link());
    }
}

/// A call that goes to sleep.
pub(super) struct Asleep<'a> {
    /// Its operations.
    pub(super) ops: &'a [Sembuf],
    /// Whether one would change a value.
    pub(super) alters: bool,
    /// The undo row of its process.
    pub(super) row: Option<Index<RowKey>>,
    /// The operation that blocks.
    pub(super) blocked: u32,
}

impl<'r> Set<'r> {
    /// A sleeper's operations, where they stand in the region.
    #[inline]
    pub(super) fn ops_of(&self, ticket: Ticket, record: Record<'r>) -> Ops<'static> {
        Ops::Sleeper { ticket, count: record.own.count().min(self.geometry.ops) }
    }

    /// The process for which a sleeper's operations are done.
    #[inline]
    pub(super) fn owner_of(&self, record: Record<'r>) -> Owner {
        Owner { pid: record.pid(), row: self.map.keys.checked(record.own.row()).ok(), time: None }
    }

    /// The queue that a sleeper stands in.
    #[inline]
    pub(super) fn queue_of(&self, record: Record<'r>) -> &'r Queue {
        self.queue(record.own.alters())
    }

    /// The queue of those who change values, or of those who wait for zero.
    #[inline]
    pub(super) fn queue(&self, alters: bool) -> &'r Queue {
        if alters { &self.own.alter } else { &self.own.zero }
    }

    /// Place of a sleeper's operation.
    pub(super) fn stored(&self, ticket: Ticket, n: u32) -> Result<&'r AtomicU64> {
        let per = self.geometry.ops;
        if n >= per {
            return Err(Error::Spoiled);
        }
        let index = ticket.0.checked_mul(per).and_then(|at| at.checked_add(n)).ok_or(Error::Spoiled)?;
        self.map.ops.get(self.region, index)
    }

    /// Puts a call to sleep: a ticket with its operations, at the end of its queue.
    pub(super) fn sleep<H: Host>(
        &self,
        host: &H,
        who: Caller,
        call: &Asleep<'_>,
        now: i64,
    ) -> Result<Ticket> {
        let mut tx = self.change();
        let (ticket, record) = self.tickets().take_to_wait(&mut tx, who, now)?;
        // DEATH: before the commit the ticket is free, and what it holds means nothing.
        for (i, op) in call.ops.iter().enumerate() {
            self.stored(ticket, i as u32)?.store(op.word(), Relaxed);
        }
        record.own.count.store(call.ops.len() as u32, Relaxed);
        record.own.set_blocked(call.blocked);
        record.own.alters.store(call.alters.into(), Relaxed);
        record.own.row.store(call.row.map_or(Link::NONE, Index::link));
        self.tickets().push(&mut tx, self.queue(call.alters), ticket)?;
        if record.own.is_simple() {
            self.line_up(&mut tx, ticket, record)?;
        } else if record.own.is_complex() {
            tx.set32(&self.own.complex, self.own.complex.load(Relaxed).wrapping_add(1))?;
        }
        record.watch(host);
        tx.commit();
        Ok(ticket)
    }

    /// A sleeper leaves its queue in this change: its line, too, or the number of those with several operations.
    #[inline]
    pub(super) fn leave(&self, tx: &mut Tx<'r>, ticket: Ticket, record: Record<'r>) -> Result<()> {
        if record.own.is_simple() {
            self.step_out(tx, ticket, record)?;
        } else if record.own.is_complex() {
            tx.set32(&self.own.complex, self.own.complex.load(Relaxed).wrapping_sub(1))?;
        }
        Ok(())
    }

    /// Takes a sleeper out if it has ended, and answers whether it had. No change is under way.
    #[inline]
    pub(super) fn take_out_if_ended(&self, ticket: Ticket, record: Record<'r>) -> Result<bool> {
        let ended = record.has_ended();
        if ended {
            self.end(ticket, record)?;
        }
        Ok(ended)
    }

    /// Takes a ticket out of its queue, if it stands in one, and gives it back.
    pub(super) fn end(&self, ticket: Ticket, record: Record<'r>) -> Result<()> {
        self.end_in(self.change(), ticket, record)
    }

    /// The same of a call that has this result.
    pub(super) fn end_call<H: Host>(
        &self,
        host: &H,
        ticket: Ticket,
        record: Record<'r>,
        result: u16,
    ) -> Result<()> {
        let mut tx = self.change();
        Receipt::leave(host, &mut tx, self.header, result)?;
        self.end_in(tx, ticket, record)
    }

    fn end_in(&self, mut tx: Tx<'r>, ticket: Ticket, record: Record<'r>) -> Result<()> {
        if record.state().waits() {
            self.tickets().unlink(&mut tx, self.queue_of(record), ticket)?;
            self.leave(&mut tx, ticket, record)?;
        }
        self.tickets().free(&mut tx, ticket)?;
        tx.commit();
        Ok(())
    }
}
