//! The queue itself: messages in order of arrival, and how much there is of them.
//!
//! # Invariants
//! O1. The first message's `prev` and the last one's `next` mean nothing; the ends are in the header's word.
//! O2. The order, the type index and the counts change together.

use super::Queue;
use super::layout::{Slot, halves, link_pair, links, pair};
use crate::atomic::Relaxed;
use crate::error::{Error, Result};
use crate::journal::Tx;
use crate::region::Link;

impl<'r> Queue<'r> {
    /// Whether a message fits. kernel: msg_fits_inqueue().
    #[inline]
    pub(super) fn fits(&self, size: usize) -> bool {
        let (bytes, messages) = halves(self.own.counts.load(Relaxed));
        let qbytes = self.own.qbytes.load(Relaxed);
        u64::from(bytes).saturating_add(size as u64) <= qbytes && u64::from(messages) < qbytes
    }

    /// The first message, if there is one.
    #[inline]
    pub(super) fn first(&self) -> Link<Slot> {
        links::<Slot, Slot>(self.own.order.load(Relaxed)).0
    }

    /// Puts a message that nobody else can reach at the end of the queue.
    #[inline]
    pub(super) fn append(&self, tx: &mut Tx<'r>, link: Link<Slot>, slot: &Slot) -> Result<()> {
        self.line_up(tx, link, slot, slot.size.load(Relaxed))?;
        self.index(tx, link, slot)
    }

    /// The order's part of [`Queue::append`], and the counts'.
    #[inline(always)]
    pub(super) fn line_up(&self, tx: &mut Tx<'r>, link: Link<Slot>, slot: &Slot, size: u32) -> Result<()> {
        let seq = self.own.seq.load(Relaxed);
        self.own.seq.store(seq.wrapping_add(1), Relaxed);
        slot.seq.store(seq, Relaxed);
        let order = self.own.order.load(Relaxed);
        let (first, last) = links::<Slot, Slot>(order);
        if first.is_none() {
            tx.replace64(&self.own.order, order, link_pair(link, link))?;
        } else {
            // The last one's link means nothing before the commit (O1): no journal.
            self.slot(last)?.next.store(link);
            slot.prev.store(last);
            tx.replace64(&self.own.order, order, link_pair(first, link))?;
        }
        let counts = self.own.counts.load(Relaxed);
        halves(counts).0.checked_add(size).ok_or(Error::Spoiled)?;
        // So the bytes do not overflow into the messages, of which there are no more than slots.
        tx.replace64(&self.own.counts, counts, counts.wrapping_add(pair(size, 1)))
    }

    /// Takes a message out of the queue: the first of its type.
    #[inline]
    pub(super) fn detach(&self, tx: &mut Tx<'r>, link: Link<Slot>, slot: &Slot) -> Result<()> {
        self.leave_line(tx, link, slot, slot.size.load(Relaxed))?;
        self.unindex(tx, link, slot)
    }

    /// The order's part of [`Queue::detach`], and the counts'.
    #[inline(always)]
    pub(super) fn leave_line(&self, tx: &mut Tx<'r>, link: Link<Slot>, slot: &Slot, size: u32) -> Result<()> {
        let (first, last) = links(self.own.order.load(Relaxed));
        if first == link && last == link {
            tx.set64(&self.own.order, 0)?;
        } else if first == link {
            tx.set64(&self.own.order, link_pair(slot.next.load(), last))?;
        } else if last == link {
            tx.set64(&self.own.order, link_pair(first, slot.prev.load()))?;
        } else {
            let (next, prev) = (slot.next.load(), slot.prev.load());
            tx.set_link(&self.slot(prev)?.next, next)?;
            tx.set_link(&self.slot(next)?.prev, prev)?;
        }
        let (bytes, messages) = halves(self.own.counts.load(Relaxed));
        let bytes = bytes.checked_sub(size).ok_or(Error::Spoiled)?;
        tx.set64(&self.own.counts, pair(bytes, messages.checked_sub(1).ok_or(Error::Spoiled)?))
    }

    /// The message at a place in the order of arrival, if there is one. For MSG_COPY.
    pub(super) fn at_place(&self, place: u64) -> Result<Link<Slot>> {
        let (mut link, last) = links(self.own.order.load(Relaxed));
        let (_, messages) = halves(self.own.counts.load(Relaxed));
        if place >= u64::from(messages.min(self.map.slots.cap)) {
            return Ok(Link::NONE);
        }
        for _ in 0..place {
            if link == last {
                return Ok(Link::NONE);
            }
            link = self.slot(link)?.next.load();
        }
        Ok(link)
    }
}
