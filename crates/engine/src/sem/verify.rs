//! Whether a set at rest is as its invariants say. For tests, and for `ring3 doctor` on a namespace.

use super::Set;
use super::op::Attempt;
use super::sleeper::Record;
use super::word;
use crate::atomic::Relaxed;
use crate::error::Result;
use crate::lock::Held;
use crate::object::LIVE;
use crate::region::Link;
use crate::ticket::Ticket;

/// What a check found.
type Verdict = core::result::Result<(), &'static str>;

impl<'r> Set<'r> {
    /// Checks the invariants. Nobody may be at work on the set.
    pub fn verify(&self) -> Verdict {
        if self.header.lock.load(Relaxed) != 0 {
            return Err("the lock is held");
        }
        if self.header.journal_len.load(Relaxed) != 0 {
            return Err("the journal is not empty");
        }
        for verdict in [self.verify_queues(), self.verify_lines(), self.verify_rows()] {
            verdict.unwrap_or(Err("a link leaves the region"))?;
        }
        self.verify_tickets().unwrap_or(Err("a ticket's record leaves the region"))
    }

    fn verify_queues(&self) -> Result<Verdict> {
        let mut complex = 0;
        for alters in [true, false] {
            let queue = self.queue(alters);
            let mut last = 0;
            for item in self.tickets().walk(queue) {
                let (ticket, record) = item?;
                if record.previous() != last {
                    return Ok(Err("a queue's links disagree"));
                }
                if record.own.alters() != alters {
                    return Ok(Err("a ticket stands in the wrong queue"));
                }
                let verdict = self.verify_sleeper(ticket, record)?;
                if verdict.is_err() {
                    return Ok(verdict);
                }
                complex += u32::from(record.own.is_complex());
                last = ticket.0 + 1;
            }
            if queue.tail.load(Relaxed) != last {
                return Ok(Err("a queue's tail is not its last ticket"));
            }
        }
        // Nobody asks for the number any more once the set is removed.
        let wrong = self.header.state.load(Relaxed) == LIVE && complex != self.own.complex.load(Relaxed);
        Ok(if wrong { Err("another number of sleepers has several operations") } else { Ok(()) })
    }

    /// In the lines stand those who want one thing alone, as they stand in the queue.
    fn verify_lines(&self) -> Result<Verdict> {
        if self.header.state.load(Relaxed) != LIVE {
            // Nobody looks at them any more once the set is removed.
            return Ok(Ok(()));
        }
        let mut in_lines = 0;
        for num in 0..self.geometry.nsems {
            let mut queue = self.tickets().walk(&self.own.alter);
            let mut last = Link::NONE;
            for item in self.in_line(num)? {
                let (ticket, record) = item?;
                let next = queue.find(|item| item.as_ref().map_or(true, |(other, _)| *other == ticket));
                let wanted = self.ops_of(ticket, record).get(self, 0)?.sem_num;
                if next.transpose()?.is_none() || !record.own.is_simple() || u32::from(wanted) != num {
                    return Ok(Err("a line has others than the queue, or in another order"));
                }
                if record.own.before.load() != last {
                    return Ok(Err("a line's links disagree"));
                }
                (last, in_lines) = (Link::claim(ticket.0 + 1), in_lines + 1);
            }
            if self.line(num)?.last.load() != last {
                return Ok(Err("a line's end is not its last ticket"));
            }
        }
        let simple = self.tickets().walk(&self.own.alter);
        let simple = simple.filter(|item| item.as_ref().is_ok_and(|(_, record)| record.own.is_simple()));
        Ok(if simple.count() == in_lines {
            Ok(())
        } else {
            Err("somebody who wants one thing stands in no line")
        })
    }

    fn verify_rows(&self) -> Result<Verdict> {
        let (mut last, mut listed) = (Link::NONE, 0);
        for row in self.rows() {
            let row = row?;
            if self.key(row)?.prev.load() != last || self.key(row)?.pid.load(Relaxed) == 0 {
                return Ok(Err("the undo rows' links disagree"));
            }
            (last, listed) = (row.link(), listed + 1);
        }
        let mut adjusted = 0;
        for row in self.map.keys.first(self.geometry.rows) {
            if self.key(row)?.pid.load(Relaxed) == 0 {
                continue;
            }
            let mut some = false;
            for num in 0..self.geometry.nsems {
                some |= self.adjustment(row, num)? != 0;
            }
            adjusted += u32::from(some);
        }
        let mut idle = 0;
        for row in self.rows() {
            let row = row?;
            let mut some = false;
            for num in 0..self.geometry.nsems {
                some |= self.adjustment(row, num)? != 0;
            }
            idle += u32::from(!some);
        }
        Ok(if idle <= 1 && adjusted + idle == listed {
            Ok(())
        } else {
            Err("other undo rows are listed than those with adjustments")
        })
    }

    /// A ticket in a queue waits, its semaphores are slow, and it cannot go on.
    fn verify_sleeper(&self, ticket: Ticket, record: Record<'r>) -> Result<Verdict> {
        if !record.state().waits() {
            return Ok(Err("a ticket in a queue does not wait"));
        }
        let ops = self.ops_of(ticket, record);
        for n in 0..ops.len() {
            if !word::read(self.word(u32::from(ops.get(self, n)?.sem_num))?).slow() {
                return Ok(Err("a semaphore that a ticket names is not slow"));
            }
        }
        let owner = self.owner_of(record);
        let blocked = matches!(
            self.attempt::<true>(Held::alone(), &mut self.change(), ops.each(self), owner)?,
            Attempt::Blocked(_)
        );
        Ok(if blocked { Ok(()) } else { Err("a ticket waits that could go on") })
    }

    fn verify_tickets(&self) -> Result<Verdict> {
        let (mut queued, mut free) = (0, 0);
        for index in 0..self.tickets().used() {
            let state = self.tickets().get(Ticket(index))?.state();
            if !state.is_known() {
                return Ok(Err("a ticket has no state"));
            }
            queued += u32::from(state.waits());
            free += u32::from(state.is_free());
        }
        let tickets = self.tickets();
        if queued != tickets.walk(&self.own.alter).chain(tickets.walk(&self.own.zero)).count() as u32 {
            return Ok(Err("a ticket that waits stands in no queue"));
        }
        Ok(if self.tickets().free_listed(free)? == free {
            Ok(())
        } else {
            Err("the free tickets are not all listed")
        })
    }
}
