//! The line before one semaphore: the sleepers that want one thing alone, to take something from it, first come first. kernel: pending_alter of struct sem,
//! beside that of struct sem_array.
//!
//! Such a sleeper stands in two rows: in the queue of all those who change values, which says who came before whom where somebody wants several
//! things, and in this one, so that who gives to a semaphore looks at nobody who waits for another.
//!
//! # Invariants
//! N1. A ticket stands in a semaphore's line if and only if it stands in the queue of those who change values and has one operation, on this semaphore.
//! N2. Those in a line stand in it as they stand in the queue.
//!
//! # Death
//! A ticket joins and leaves its line in the change in which it joins and leaves its queue. Its own links need no journal: on joining, they are stored
//! while it is free still, and on leaving they are left as they were, as what they say means something in a line alone.

use super::Set;
use super::layout::{Line, Sleeper};
use super::sleeper::Record;
use crate::error::{Error, Result};
use crate::journal::Tx;
use crate::region::Link;
use crate::ticket::Ticket;
use crate::ticket::layout::Place;

impl Line {
    /// Whether nobody stands in it.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.first.load().is_none()
    }

    /// Copies the ends to the same line in another region, whose tickets have the same numbers.
    pub(super) fn copy_to(&self, new: &Line) {
        new.first.store(self.first.load());
        new.last.store(self.last.load());
    }
}

impl<'r> Set<'r> {
    /// A semaphore's line.
    #[inline]
    pub(super) fn line(&self, num: u32) -> Result<&'r Line> {
        self.lines.get(num)
    }

    /// The line of a sleeper that stands in one.
    #[inline]
    fn line_of(&self, ticket: Ticket, record: Record<'r>) -> Result<&'r Line> {
        self.line(u32::from(self.ops_of(ticket, record).get(self, 0)?.sem_num))
    }

    /// Puts a sleeper at the end of its line.
    pub(super) fn line_up(&self, tx: &mut Tx<'r>, ticket: Ticket, record: Record<'r>) -> Result<()> {
        let line = self.line_of(ticket, record)?;
        let (last, link) = (line.last.load(), Link::claim(ticket.0.wrapping_add(1)));
        record.own.before.store(last);
        record.own.behind.store(Link::NONE);
        let place = if last.is_none() { &line.first } else { &self.sleeper(last)?.behind };
        tx.set_link(place, link)?;
        tx.set_link(&line.last, link)
    }

    /// Takes a sleeper out of its line.
    pub(super) fn step_out(&self, tx: &mut Tx<'r>, ticket: Ticket, record: Record<'r>) -> Result<()> {
        let line = self.line_of(ticket, record)?;
        let (before, behind) = (record.own.before.load(), record.own.behind.load());
        let ahead = if before.is_none() { &line.first } else { &self.sleeper(before)?.behind };
        tx.set_link(ahead, behind)?;
        let after = if behind.is_none() { &line.last } else { &self.sleeper(behind)?.before };
        tx.set_link(after, before)
    }

    /// Those in a line, which may be taken out on the way. It ends with `Spoiled` where the links do.
    pub(super) fn in_line(&self, num: u32) -> Result<impl Iterator<Item = Result<(Ticket, Record<'r>)>>> {
        let (set, mut at, mut left) = (*self, self.line(num)?.first.load(), self.geometry.tickets);
        Ok(core::iter::from_fn(move || {
            if at.is_none() {
                return None;
            }
            let found = left.checked_sub(1).ok_or(Error::Spoiled).and_then(|fewer| {
                left = fewer;
                set.ticket_at(at)
            });
            at = found.as_ref().map_or(Link::NONE, |(_, record)| record.own.behind.load());
            Some(found)
        }))
    }

    fn ticket_at(&self, link: Link<Place>) -> Result<(Ticket, Record<'r>)> {
        let ticket = Ticket(self.map.tickets.checked(link)?.number());
        Ok((ticket, self.tickets().get(ticket)?))
    }

    fn sleeper(&self, link: Link<Place>) -> Result<&'r Sleeper> {
        self.ticket_at(link).map(|(_, record)| record.own)
    }
}
