//! The queues that tickets wait in, first come first.

use super::layout::Queue;
use super::{Half, NONE, Record, Ticket, Tickets};
use crate::atomic::Relaxed;
use crate::error::{Error, Result};
use crate::journal::Tx;
use ring3_abi::Errno;

impl Queue {
    /// Whether nobody waits in it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.head.load(Relaxed) == NONE
    }

    /// Copies the ends to the same queue in another region, whose tickets have the same numbers.
    pub fn copy_to(&self, new: &Queue) {
        new.head.store(self.head.load(Relaxed), Relaxed);
        new.tail.store(self.tail.load(Relaxed), Relaxed);
    }
}

impl<'r, P: Half> Tickets<'r, P> {
    /// Puts a ticket at the end of a queue.
    pub fn push(self, tx: &mut Tx<'r>, queue: &Queue, ticket: Ticket) -> Result<()> {
        let record = self.common(ticket.0)?;
        let tail = queue.tail.load(Relaxed);
        tx.set32(&record.prev, tail)?;
        tx.set32(&record.next, NONE)?;
        if tail == NONE {
            tx.set32(&queue.head, ticket.0 + 1)?;
        } else {
            tx.set32(&self.common(tail - 1)?.next, ticket.0 + 1)?;
        }
        tx.set32(&queue.tail, ticket.0 + 1)
    }

    /// Takes a ticket out of the queue it waits in.
    pub fn unlink(self, tx: &mut Tx<'r>, queue: &Queue, ticket: Ticket) -> Result<()> {
        let record = self.common(ticket.0)?;
        let (prev, next) = (record.prev.load(Relaxed), record.next.load(Relaxed));
        if prev == NONE {
            tx.set32(&queue.head, next)?;
        } else {
            tx.set32(&self.common(prev - 1)?.next, next)?;
        }
        if next == NONE {
            tx.set32(&queue.tail, prev)?;
        } else {
            tx.set32(&self.common(next - 1)?.prev, prev)?;
        }
        tx.set32(&record.next, NONE)?;
        tx.set32(&record.prev, NONE)
    }

    /// Serves a ticket: out of its queue, done with `result`. Answers whether its owner must be woken, after the commit.
    pub fn serve(self, tx: &mut Tx<'r>, queue: &Queue, ticket: Ticket, result: u16) -> Result<bool> {
        let record = self.common(ticket.0)?;
        self.unlink(tx, queue, ticket)?;
        tx.set32(&record.result, u32::from(result))?;
        record.state.serve(tx)
    }

    /// Serves everybody in a queue with an error, each in a change of its own. The owners are to be woken.
    pub fn refuse_all(self, begin: impl Fn() -> Tx<'r>, queue: &Queue, errno: Errno) -> Result<()> {
        for item in self.walk(queue) {
            let (ticket, _) = item?;
            let mut tx = begin();
            self.serve(&mut tx, queue, ticket, errno.0)?;
            tx.commit();
        }
        Ok(())
    }

    /// Walks a queue from its head. Ends with `Spoiled` where the links do.
    pub fn walk(self, queue: &Queue) -> Walk<'r, P> {
        Walk { tickets: self, at: queue.head.load(Relaxed), left: self.table.cap }
    }
}

/// A walk along a queue; may be continued after the ticket at hand was taken out.
#[derive(Debug)]
pub struct Walk<'r, P> {
    tickets: Tickets<'r, P>,
    at: u32,
    left: u32,
}

impl<'r, P: Half> Iterator for Walk<'r, P> {
    type Item = Result<(Ticket, Record<'r, P>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == NONE {
            return None;
        }
        let ticket = Ticket(self.at - 1);
        let record = match self.tickets.get(ticket) {
            Ok(record) if self.left > 0 => record,
            _ => {
                self.at = NONE;
                return Some(Err(Error::Spoiled));
            }
        };
        self.left -= 1;
        self.at = record.common.next.load(Relaxed);
        Some(Ok((ticket, record)))
    }
}
