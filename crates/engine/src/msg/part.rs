//! A call's half of its ticket, by name: what the ticket is for, which message it owns, which one it waits for.
//!
//! # Invariants
//! P1. A ticket that waits is a sender's, which owns its message, or a receiver's, which owns none until it is served.
//! P2. A ticket that is held owns a message whose text its thread copies in (`Reserved`) or out (`Received`).

use super::Queue;
use super::layout::{Part, Slot};
use super::receive::Selection;
use crate::atomic::Relaxed;
use crate::error::Result;
use crate::host::Host;
use crate::journal::Tx;
use crate::object::Receipt;
use crate::region::Link;
use crate::ticket::{self, Ticket};

/// A call's ticket.
pub(super) type Record<'r> = ticket::Record<'r, Part>;

/// What a ticket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It waits for a message.
    Receiver = 0,
    /// It waits for room for its message.
    Sender = 1,
    /// Its owner is copying the text of its message in.
    Reserved = 2,
    /// Its owner is copying the text of its message out.
    Received = 3,
}

impl Part {
    /// Whether this is what the ticket is for.
    #[inline]
    pub(super) fn is(&self, purpose: Purpose) -> bool {
        self.purpose.load(Relaxed) == purpose as u32
    }

    /// The message that the ticket owns, if it owns one.
    #[inline]
    pub(super) fn message(&self) -> Link<Slot> {
        self.message.load()
    }

    /// What a receiver waits for.
    #[inline]
    pub(super) fn selection(&self) -> Selection {
        Selection {
            msgtyp: self.msgtyp.load(Relaxed) as i64,
            size: self.size.load(Relaxed) as usize,
            flags: self.flags.load(Relaxed) as i32,
        }
    }

    /// Fills a ticket that was just taken: before the commit it is free, and its halves mean nothing.
    #[inline]
    pub(super) fn fill(&self, purpose: Purpose, message: Link<Slot>) {
        self.message.store(message);
        self.purpose.store(purpose as u32, Relaxed);
    }

    /// Fills a receiver's ticket that was just taken.
    #[inline]
    pub(super) fn fill_receiver(&self, selection: Selection) {
        self.fill(Purpose::Receiver, Link::NONE);
        self.msgtyp.store(selection.msgtyp as u64, Relaxed);
        self.size.store(selection.size as u64, Relaxed);
        self.flags.store(selection.flags as u32, Relaxed);
    }

    /// The ticket goes on as one for something else, with its message.
    pub(super) fn become_for(&self, tx: &mut Tx<'_>, purpose: Purpose) -> Result<()> {
        tx.set32(&self.purpose, purpose as u32)
    }

    /// Puts a message into a receiver's ticket.
    #[inline]
    pub(super) fn hand_over(&self, tx: &mut Tx<'_>, message: Link<Slot>) -> Result<()> {
        self.set_message(tx, message)
    }

    /// Takes a sender's message out of its ticket: it belongs to the queue, or to a receiver, now.
    pub(super) fn take_message(&self, tx: &mut Tx<'_>) -> Result<()> {
        self.set_message(tx, Link::NONE)
    }

    #[inline]
    fn set_message(&self, tx: &mut Tx<'_>, message: Link<Slot>) -> Result<()> {
        tx.set_link(&self.message, message)
    }
}

impl<'r> Queue<'r> {
    /// The queue that a waiting ticket stands in.
    pub(super) fn queue_of(&self, record: Record<'r>) -> &'r ticket::Queue {
        if record.own.is(Purpose::Sender) { &self.own.senders } else { &self.own.receivers }
    }

    /// Takes a ticket out of its queue, if it stands in one, and gives it back with the message that it owns.
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
        let owns = record.own.message();
        if record.state().waits() {
            self.tickets().unlink(&mut tx, self.queue_of(record), ticket)?;
        }
        self.tickets().free(&mut tx, ticket)?;
        if !owns.is_none() {
            self.give_slot(&mut tx, owns, self.slot(owns)?)?;
        }
        tx.commit();
        Ok(())
    }
}
