//! Where texts live: slots and blocks, taken and given back.
//!
//! # Invariants
//! S1. A slot below the fresh mark is in exactly one place: the free list, the queue, or a ticket that owns it (`Sleeper::a`).
//!     Its blocks go with it: a block below the fresh mark is free or belongs to exactly one slot.
//! S2. A chain of blocks ends where its count ends (a text's size, the free list's length); the last link means nothing.
//!     So taking and giving a chain moves one word, and appending to a chain overwrites nothing that means something.
//! S3. A change takes slots or gives them, never both: else a rollback would find a free link overwritten.
//!
//! # Death
//! Before the commit the free lists' heads are restored; what was written into slots, blocks and links of the change is free
//! again. After it a ticket owns them, and `settle` gives them back.

use super::Queue;
use super::layout::{BLOCK, INLINE, Slot, blocks_of, halves, pair};
use crate::atomic::Relaxed;
use crate::error::{Error, Result};
use crate::journal::Tx;

impl<'r> Queue<'r> {
    /// The slot with this link (index + 1); no link is spoiled here.
    #[inline]
    pub(super) fn slot(&self, link: u32) -> Result<&'r Slot> {
        self.map.slots.get(self.region, link.wrapping_sub(1))
    }

    /// Takes a slot, and blocks for `size` bytes, for a message that nobody can reach before the commit. Answers the link and the slot.
    ///
    /// # Errors
    /// `Full`.
    #[inline]
    pub(super) fn take_slot(&self, tx: &mut Tx<'r>, mtype: i64, size: usize) -> Result<(u32, &'r Slot)> {
        let word = self.own.slots.load(Relaxed);
        let (free, fresh) = halves(word);
        let (link, slot) = if free != 0 {
            let slot = self.slot(free)?;
            tx.set64(&self.own.slots, pair(slot.free.load(Relaxed), fresh))?;
            (free, slot)
        } else {
            if fresh >= self.map.slots.cap {
                return Err(Error::Full);
            }
            tx.set64(&self.own.slots, pair(0, fresh + 1))?;
            (fresh + 1, self.slot(fresh + 1)?)
        };
        slot.mtype.store(mtype as u64, Relaxed);
        slot.size.store(size as u32, Relaxed);
        if size > INLINE {
            slot.block.store(self.take_blocks(tx, blocks_of(size))?, Relaxed);
        }
        Ok((link, slot))
    }

    /// Gives a slot and its blocks back.
    #[inline]
    pub(super) fn give_slot(&self, tx: &mut Tx<'r>, link: u32, slot: &Slot) -> Result<()> {
        let size = slot.size.load(Relaxed) as usize;
        if size > INLINE {
            self.give_blocks(tx, slot.block.load(Relaxed), blocks_of(size))?;
        }
        let (free, fresh) = halves(self.own.slots.load(Relaxed));
        slot.free.store(free, Relaxed);
        tx.set64(&self.own.slots, pair(link, fresh))
    }

    fn take_blocks(&self, tx: &mut Tx<'r>, count: usize) -> Result<u32> {
        let count = u32::try_from(count).map_err(|_| Error::Full)?;
        let (mut head, mut free) = halves(self.own.blocks.load(Relaxed));
        if free < count {
            (head, free) = (self.refill(tx, head, count - free)?, count);
        }
        let mut last = head;
        for _ in 1..count {
            last = self.behind(last)?;
        }
        let rest = if free > count { self.behind(last)? } else { 0 };
        tx.set64(&self.own.blocks, pair(rest, free - count))?;
        Ok(head)
    }

    /// Puts `more` fresh blocks in front of the free list; the caller writes the list's word. Answers the new head.
    #[cold]
    fn refill(&self, tx: &mut Tx<'r>, head: u32, more: u32) -> Result<u32> {
        let fresh = self.own.block_fresh.load(Relaxed);
        let end = fresh.checked_add(more).ok_or(Error::Spoiled)?;
        if end > self.map.links.cap {
            return Err(Error::Full);
        }
        for index in fresh..end {
            let link = if index + 1 < end { index + 2 } else { head };
            self.map.links.get(self.region, index)?.store(link, Relaxed);
        }
        tx.set32(&self.own.block_fresh, end)?;
        Ok(fresh + 1)
    }

    fn give_blocks(&self, tx: &mut Tx<'r>, first: u32, count: usize) -> Result<()> {
        let count = u32::try_from(count).map_err(|_| Error::Spoiled)?;
        if count > self.map.links.cap {
            return Err(Error::Spoiled);
        }
        let mut last = first;
        for _ in 1..count {
            last = self.behind(last)?;
        }
        let (head, free) = halves(self.own.blocks.load(Relaxed));
        self.map.links.get(self.region, last.wrapping_sub(1))?.store(head, Relaxed);
        tx.set64(&self.own.blocks, pair(first, free.checked_add(count).ok_or(Error::Spoiled)?))
    }

    /// The block behind a block, both as links.
    #[inline]
    pub(super) fn behind(&self, link: u32) -> Result<u32> {
        Ok(self.map.links.get(self.region, link.wrapping_sub(1))?.load(Relaxed))
    }

    /// Offset in the region of a block's bytes.
    #[inline]
    fn block_at(&self, link: u32) -> Result<usize> {
        let index = link.wrapping_sub(1);
        if index >= self.map.links.cap {
            return Err(Error::Spoiled);
        }
        Ok(self.map.blocks + index as usize * BLOCK)
    }

    /// Offset in the region of a text's first bytes: all of them, or its first block's.
    #[inline]
    fn text_at(&self, slot: &Slot) -> Result<usize> {
        if slot.size.load(Relaxed) as usize <= INLINE {
            self.region.offset_of(&slot.text)
        } else {
            self.block_at(slot.block.load(Relaxed))
        }
    }

    /// Writes a text of at most a block into a slot that was just taken for it.
    #[inline]
    pub(super) fn fill(&self, slot: &Slot, text: &[u8]) -> Result<()> {
        if text.len() > BLOCK {
            return Err(Error::Spoiled);
        }
        self.region.write_bytes(self.text_at(slot)?, text)
    }

    /// Reads the first bytes of a text, at most a block.
    #[inline]
    pub(super) fn read(&self, slot: &Slot, out: &mut [u8]) -> Result<()> {
        if out.len() > BLOCK {
            return Err(Error::Spoiled);
        }
        self.region.read_bytes(self.text_at(slot)?, out)
    }

    /// Copies one slot's text to another's of the same size.
    pub(super) fn duplicate(&self, from: &Slot, to: &Slot, size: usize) -> Result<()> {
        let (mut a, mut b) = (from.block.load(Relaxed), to.block.load(Relaxed));
        if size <= INLINE {
            return self.region.copy_to(self.region, self.text_at(from)?, self.text_at(to)?, size);
        }
        let mut left = size;
        while left > 0 {
            let part = left.min(BLOCK);
            self.region.copy_to(self.region, self.block_at(a)?, self.block_at(b)?, part)?;
            left -= part;
            if left > 0 {
                (a, b) = (self.behind(a)?, self.behind(b)?);
            }
        }
        Ok(())
    }

    /// The first `len` bytes of a text, piece by piece.
    pub(super) fn pieces(&self, link: u32, size: usize, len: usize) -> Pieces<'r> {
        let at = match self.slot(link) {
            Ok(slot) if size <= INLINE => self.region.offset_of(&slot.text).map(Place::Inline),
            Ok(slot) => Ok(Place::Block(slot.block.load(Relaxed))),
            Err(error) => Err(error),
        };
        Pieces { queue: *self, at: at.unwrap_or(Place::Nowhere), left: len }
    }
}

/// A stretch of a text in the mapping. Peers may write it at any time: raw copies only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where.
    pub ptr: *mut u8,
    /// How many bytes.
    pub len: usize,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Inline(usize),
    Block(u32),
    Nowhere,
}

/// The pieces of a text, in order. Neighbouring blocks come as one piece. Ends after `Spoiled`.
#[derive(Debug)]
pub struct Pieces<'r> {
    queue: Queue<'r>,
    at: Place,
    left: usize,
}

impl Pieces<'_> {
    fn piece(&mut self) -> Result<Piece> {
        let (offset, len) = match self.at {
            Place::Inline(offset) => (offset, self.left),
            Place::Block(link) => (self.queue.block_at(link)?, self.stretch(link)?),
            Place::Nowhere => return Err(Error::Spoiled),
        };
        let ptr = self.queue.region.raw(offset, len)?;
        self.left -= len;
        Ok(Piece { ptr: ptr.as_ptr(), len })
    }

    /// How many bytes stand in a row from this block on; moves on to the block behind them.
    fn stretch(&mut self, first: u32) -> Result<usize> {
        let (mut last, mut len) = (first, BLOCK);
        while len < self.left {
            let next = self.queue.behind(last)?;
            if next != last.wrapping_add(1) {
                self.at = Place::Block(next);
                return Ok(len);
            }
            (last, len) = (next, len + BLOCK);
        }
        Ok(self.left)
    }
}

impl Iterator for Pieces<'_> {
    type Item = Result<Piece>;

    fn next(&mut self) -> Option<Result<Piece>> {
        if self.left == 0 {
            return None;
        }
        let piece = self.piece();
        if piece.is_err() {
            self.left = 0;
        }
        Some(piece)
    }
}
