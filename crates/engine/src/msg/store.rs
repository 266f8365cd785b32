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
use super::layout::{BLOCK, Block, INLINE, Slot, blocks_of, head_pair, headed};
use crate::atomic::Relaxed;
use crate::error::{Error, Result};
use crate::journal::Tx;
use crate::region::Link;

impl<'r> Queue<'r> {
    /// The slot that a link means; no link is spoiled here.
    #[inline]
    pub(super) fn slot(&self, link: Link<Slot>) -> Result<&'r Slot> {
        self.slots.linked(link)
    }

    /// Takes a slot, and blocks for `size` bytes, for a message that nobody can reach before the commit. Answers the link and the slot.
    ///
    /// # Errors
    /// `Full`.
    #[inline]
    pub(super) fn take_slot(
        &self,
        tx: &mut Tx<'r>,
        mtype: i64,
        size: usize,
    ) -> Result<(Link<Slot>, &'r Slot)> {
        let (link, slot) = self.take_short(tx)?;
        slot.mtype.store(mtype as u64, Relaxed);
        slot.size.store(size as u32, Relaxed);
        if size > INLINE {
            slot.block.store(self.take_blocks(tx, blocks_of(size))?);
        }
        Ok((link, slot))
    }

    /// Takes a slot for a text that needs no blocks; its fields are the caller's to fill.
    #[inline(always)]
    pub(super) fn take_short(&self, tx: &mut Tx<'r>) -> Result<(Link<Slot>, &'r Slot)> {
        let (free, fresh) = headed::<Slot>(self.own.slots.load(Relaxed));
        let taken = if !free.is_none() {
            let slot = self.slot(free)?;
            tx.set64(&self.own.slots, head_pair(slot.free.load(), fresh))?;
            (free, slot)
        } else {
            let index = self.map.slots.index(fresh).ok_or(Error::Full)?;
            tx.set64(&self.own.slots, head_pair::<Slot>(Link::NONE, fresh + 1))?;
            (index.link(), self.slots.element(index)?)
        };
        Ok(taken)
    }

    /// Gives a slot and its blocks back.
    #[inline]
    pub(super) fn give_slot(&self, tx: &mut Tx<'r>, link: Link<Slot>, slot: &Slot) -> Result<()> {
        let size = slot.size.load(Relaxed) as usize;
        if size > INLINE {
            self.give_blocks(tx, slot.block.load(), blocks_of(size))?;
        }
        self.give_short(tx, link, slot)
    }

    /// Gives a slot back whose text has no blocks.
    #[inline(always)]
    pub(super) fn give_short(&self, tx: &mut Tx<'r>, link: Link<Slot>, slot: &Slot) -> Result<()> {
        let (free, fresh) = headed(self.own.slots.load(Relaxed));
        slot.free.store(free);
        tx.set64(&self.own.slots, head_pair(link, fresh))
    }

    fn take_blocks(&self, tx: &mut Tx<'r>, count: usize) -> Result<Link<Block>> {
        let count = u32::try_from(count).map_err(|_| Error::Full)?;
        let (mut head, mut free) = headed(self.own.blocks.load(Relaxed));
        if free < count {
            (head, free) = (self.refill(tx, head, count - free)?, count);
        }
        let mut last = head;
        for _ in 1..count {
            last = self.behind(last)?;
        }
        let rest = if free > count { self.behind(last)? } else { Link::NONE };
        tx.set64(&self.own.blocks, head_pair(rest, free - count))?;
        Ok(head)
    }

    /// Puts `more` fresh blocks in front of the free list; the caller writes the list's word. Answers the new head.
    #[cold]
    fn refill(&self, tx: &mut Tx<'r>, head: Link<Block>, more: u32) -> Result<Link<Block>> {
        let fresh = self.own.block_fresh.load(Relaxed);
        let end = fresh.checked_add(more).ok_or(Error::Spoiled)?;
        let mut first = head;
        for number in (fresh..end).rev() {
            let index = self.map.links.index(number).ok_or(Error::Full)?;
            self.links.element(index)?.next.store(first);
            first = index.link();
        }
        tx.set32(&self.own.block_fresh, end)?;
        Ok(first)
    }

    fn give_blocks(&self, tx: &mut Tx<'r>, first: Link<Block>, count: usize) -> Result<()> {
        let count = u32::try_from(count).map_err(|_| Error::Spoiled)?;
        if count > self.map.links.cap {
            return Err(Error::Spoiled);
        }
        let mut last = first;
        for _ in 1..count {
            last = self.behind(last)?;
        }
        let (head, free) = headed(self.own.blocks.load(Relaxed));
        self.links.linked(last)?.next.store(head);
        tx.set64(&self.own.blocks, head_pair(first, free.checked_add(count).ok_or(Error::Spoiled)?))
    }

    /// The block behind a block, both as links.
    #[inline]
    pub(super) fn behind(&self, link: Link<Block>) -> Result<Link<Block>> {
        Ok(self.links.linked(link)?.next.load())
    }

    /// Offset in the region of a block's bytes.
    #[inline]
    fn block_at(&self, link: Link<Block>) -> Result<usize> {
        Ok(self.map.blocks + self.map.links.checked(link)?.number() as usize * BLOCK)
    }

    /// Offset in the region of a text's first bytes: all of them, or its first block's.
    #[inline]
    fn text_at(&self, slot: &Slot) -> Result<usize> {
        if slot.size.load(Relaxed) as usize <= INLINE {
            self.region.offset_of(&slot.text)
        } else {
            self.block_at(slot.block.load())
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
        let (mut a, mut b) = (from.block.load(), to.block.load());
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
    pub(super) fn pieces(&self, link: Link<Slot>, size: usize, len: usize) -> Pieces<'r> {
        let at = match self.slot(link) {
            Ok(slot) if size <= INLINE => self.region.offset_of(&slot.text).map(Place::Inline),
            Ok(slot) => Ok(Place::Block(slot.block.load())),
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
    Block(Link<Block>),
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
    fn stretch(&mut self, first: Link<Block>) -> Result<usize> {
        let (mut last, mut len) = (first, BLOCK);
        while len < self.left {
            let next = self.queue.behind(last)?;
            if !next.follows(last) {
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
