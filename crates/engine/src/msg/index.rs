//! The type index: from a type to its messages, and to the lowest type, without a walk over the queue.
//!
//! A crit-bit tree over the 63 bits of a type. A leaf is a type with the FIFO of its messages; a fork has the number of the
//! highest bit in which the types below it differ. So finding a type, and the lowest one, takes at most 63 steps.
//!
//! # Invariants
//! X1. The bits of forks fall from the root to every leaf; left of a fork its bit is 0, right of it 1.
//! X2. A leaf has messages. Only a leaf that is the root may have none: a queue that fills and empties again and again with the same
//!     type keeps its leaf.
//! X3. A type's messages stand in order of arrival, so the first of all messages is the first of its type.
//!
//! # Death
//! Nodes are made before anything points to them; every change of a node in the tree is journaled.

use super::Queue;
use super::layout::{LEAF, Node, Slot, halves, pair};
use crate::atomic::Relaxed;
use crate::error::{Error, Result};
use crate::journal::Tx;

/// More forks in a row than a type has bits.
const DEPTH: usize = 64;

/// Where a link to a node stands: in the root word, or on one side of a fork.
#[derive(Clone, Copy)]
enum Spot<'r> {
    Root,
    Left(&'r Node),
    Right(&'r Node),
}

impl<'r> Queue<'r> {
    #[inline]
    fn node(&self, link: u32) -> Result<&'r Node> {
        self.map.nodes.get(self.region, link.wrapping_sub(1))
    }

    #[inline]
    fn root(&self) -> u32 {
        halves(self.own.index.load(Relaxed)).0
    }

    /// How many types have a leaf.
    pub(super) fn types(&self) -> u32 {
        halves(self.own.index.load(Relaxed)).1
    }

    /// The first message of a leaf, by link; 0 none.
    #[inline]
    pub(super) fn first_of(&self, leaf: u32) -> Result<u32> {
        Ok(halves(self.node(leaf)?.ends.load(Relaxed)).0)
    }

    /// The last message of a leaf, by link; 0 none.
    pub(super) fn last_of(&self, leaf: u32) -> Result<u32> {
        Ok(halves(self.node(leaf)?.ends.load(Relaxed)).1)
    }

    /// The type of a leaf.
    #[inline]
    pub(super) fn type_of(&self, leaf: u32) -> Result<u64> {
        Ok(self.node(leaf)?.mtype.load(Relaxed))
    }

    /// The first message of this type; 0 none.
    #[inline]
    pub(super) fn first_of_type(&self, mtype: u64) -> Result<u32> {
        Ok(match self.nearest(mtype)? {
            Some((_, leaf)) if leaf.mtype.load(Relaxed) == mtype => halves(leaf.ends.load(Relaxed)).0,
            _ => 0,
        })
    }

    /// The first message of the lowest type, if that is not above `limit`; 0 none.
    #[inline]
    pub(super) fn first_of_lowest(&self, limit: u64) -> Result<u32> {
        Ok(match self.nearest(0)? {
            Some((_, leaf)) if leaf.mtype.load(Relaxed) <= limit => halves(leaf.ends.load(Relaxed)).0,
            _ => 0,
        })
    }

    /// The leaf that shares the most bits with `mtype`: its own if it has one. For 0 that is the lowest. `None`: the index is empty.
    #[inline]
    fn nearest(&self, mtype: u64) -> Result<Option<(u32, &'r Node)>> {
        let mut at = self.root();
        if at == 0 {
            return Ok(None);
        }
        for _ in 0..DEPTH {
            let node = self.node(at)?;
            let bit = node.bit.load(Relaxed);
            if bit == LEAF {
                return Ok(Some((at, node)));
            }
            at = side(node, bit, mtype)?.1;
        }
        Err(Error::Spoiled)
    }

    /// Puts a message behind the others of its type.
    #[inline]
    pub(super) fn index(&self, tx: &mut Tx<'r>, link: u32, slot: &Slot) -> Result<()> {
        let mtype = slot.mtype.load(Relaxed);
        let near = self.nearest(mtype)?;
        if let Some((near, leaf)) = near {
            let (first, last) = halves(leaf.ends.load(Relaxed));
            if first == 0 {
                if leaf.mtype.load(Relaxed) != mtype {
                    tx.set64(&leaf.mtype, mtype)?;
                }
                slot.leaf.store(near, Relaxed);
                return tx.set64(&leaf.ends, pair(link, link));
            }
            if leaf.mtype.load(Relaxed) == mtype {
                slot.leaf.store(near, Relaxed);
                // The last one's link means nothing before the commit: no journal.
                self.slot(last)?.kin.store(link, Relaxed);
                return tx.set64(&leaf.ends, pair(first, link));
            }
        }
        self.plant(tx, link, mtype, near.map(|(_, leaf)| leaf.mtype.load(Relaxed)))
    }

    /// Makes a leaf for a new type. `near` is the nearest other type, if there is one.
    fn plant(&self, tx: &mut Tx<'r>, link: u32, mtype: u64, near: Option<u64>) -> Result<()> {
        let leaf = self.take_node(tx)?;
        let node = self.node(leaf)?;
        node.mtype.store(mtype, Relaxed);
        node.ends.store(pair(link, link), Relaxed);
        node.bit.store(LEAF, Relaxed);
        self.slot(link)?.leaf.store(leaf, Relaxed);
        let types = self.types().checked_add(1).ok_or(Error::Spoiled)?;
        let Some(near) = near else { return tx.set64(&self.own.index, pair(leaf, types)) };
        let bit = 63 - (near ^ mtype).leading_zeros().min(63);
        let (spot, below) = self.spot_for(mtype, bit)?;
        let fork = self.take_node(tx)?;
        let node = self.node(fork)?;
        let ends = if mtype >> bit & 1 == 0 { pair(leaf, below) } else { pair(below, leaf) };
        node.ends.store(ends, Relaxed);
        node.bit.store(bit, Relaxed);
        self.link(tx, spot, fork)?;
        tx.set64(&self.own.index, pair(self.root(), types))
    }

    /// Where a fork of `bit` belongs on the way to `mtype`, and what stands there now.
    fn spot_for(&self, mtype: u64, bit: u32) -> Result<(Spot<'r>, u32)> {
        let (mut spot, mut at) = (Spot::Root, self.root());
        for _ in 0..DEPTH {
            let node = self.node(at)?;
            let here = node.bit.load(Relaxed);
            if here == LEAF || here < bit {
                return Ok((spot, at));
            }
            (spot, at) = side(node, here, mtype)?;
        }
        Err(Error::Spoiled)
    }

    #[inline]
    fn link(&self, tx: &mut Tx<'r>, spot: Spot<'r>, to: u32) -> Result<()> {
        match spot {
            Spot::Root => tx.set64(&self.own.index, pair(to, self.types())),
            Spot::Left(fork) => tx.set64(&fork.ends, pair(to, halves(fork.ends.load(Relaxed)).1)),
            Spot::Right(fork) => tx.set64(&fork.ends, pair(halves(fork.ends.load(Relaxed)).0, to)),
        }
    }

    /// Takes the first message of its type out of the index. Any other is spoiled (X3).
    #[inline]
    pub(super) fn unindex(&self, tx: &mut Tx<'r>, link: u32, slot: &Slot) -> Result<()> {
        let at = slot.leaf.load(Relaxed);
        let leaf = self.node(at)?;
        let (first, last) = halves(leaf.ends.load(Relaxed));
        if first != link {
            return Err(Error::Spoiled);
        }
        if first != last {
            return tx.set64(&leaf.ends, pair(slot.kin.load(Relaxed), last));
        }
        if self.root() == at {
            return tx.set64(&leaf.ends, 0);
        }
        self.fell(tx, at, leaf.mtype.load(Relaxed))
    }

    /// Removes a leaf that is not the root, and the fork above it.
    fn fell(&self, tx: &mut Tx<'r>, leaf: u32, mtype: u64) -> Result<()> {
        let (mut above, mut spot, mut at) = (None, Spot::Root, self.root());
        for _ in 0..DEPTH {
            if at == leaf {
                let (at_fork, other) = match (above, spot) {
                    (Some(above), Spot::Left(fork)) => (above, halves(fork.ends.load(Relaxed)).1),
                    (Some(above), Spot::Right(fork)) => (above, halves(fork.ends.load(Relaxed)).0),
                    _ => return Err(Error::Spoiled),
                };
                let (over, fork): (Spot<'r>, u32) = at_fork;
                self.link(tx, over, other)?;
                let types = self.types().checked_sub(1).ok_or(Error::Spoiled)?;
                tx.set64(&self.own.index, pair(self.root(), types))?;
                self.give_node(tx, leaf)?;
                return self.give_node(tx, fork);
            }
            let node = self.node(at)?;
            let bit = node.bit.load(Relaxed);
            if bit == LEAF {
                return Err(Error::Spoiled);
            }
            above = Some((spot, at));
            (spot, at) = side(node, bit, mtype)?;
        }
        Err(Error::Spoiled)
    }

    fn take_node(&self, tx: &mut Tx<'r>) -> Result<u32> {
        let (free, fresh) = halves(self.own.nodes.load(Relaxed));
        if free != 0 {
            tx.set64(&self.own.nodes, pair(self.node(free)?.free.load(Relaxed), fresh))?;
            return Ok(free);
        }
        if fresh >= self.map.nodes.cap {
            return Err(Error::Full);
        }
        tx.set64(&self.own.nodes, pair(0, fresh + 1))?;
        Ok(fresh + 1)
    }

    fn give_node(&self, tx: &mut Tx<'r>, link: u32) -> Result<()> {
        let (free, fresh) = halves(self.own.nodes.load(Relaxed));
        self.node(link)?.free.store(free, Relaxed);
        tx.set64(&self.own.nodes, pair(link, fresh))
    }

    /// Calls `each` for every leaf, lowest type first.
    ///
    /// # Errors
    /// `Spoiled` where the tree is none; what `each` answers.
    pub(super) fn each_leaf(&self, mut each: impl FnMut(u32) -> Result<()>) -> Result<()> {
        let mut stack = [0; DEPTH];
        let (mut depth, mut at) = (0_usize, self.root());
        let mut left = self.map.nodes.cap;
        while at != 0 {
            left = left.checked_sub(1).ok_or(Error::Spoiled)?;
            let node = self.node(at)?;
            if node.bit.load(Relaxed) == LEAF {
                each(at)?;
                let Some(up) = depth.checked_sub(1) else { return Ok(()) };
                depth = up;
                at = *stack.get(depth).ok_or(Error::Spoiled)?;
            } else {
                let (low, high) = halves(node.ends.load(Relaxed));
                *stack.get_mut(depth).ok_or(Error::Spoiled)? = high;
                depth += 1;
                at = low;
            }
        }
        Ok(())
    }

    /// Checks the tree (X1, X2), for `verify`. Answers how many nodes stand in it.
    pub(super) fn check_index(&self) -> core::result::Result<u32, &'static str> {
        let mut leaves = 0_u32;
        let root = self.root();
        let mut lowest = None;
        let walk = self.each_leaf(|leaf| {
            leaves += 1;
            let mtype = self.type_of(leaf)?;
            let ordered = lowest.replace(mtype).is_none_or(|before| before < mtype);
            let reached = self.nearest(mtype)?.is_some_and(|(near, _)| near == leaf);
            let filled = leaf == root || self.first_of(leaf)? != 0;
            if ordered && reached && filled { Ok(()) } else { Err(Error::Spoiled) }
        });
        walk.map_err(|_| "the type index is no ordered tree of types with messages")?;
        if leaves != self.types() {
            return Err("the number of types is wrong");
        }
        Ok((leaves * 2).saturating_sub(1))
    }

    /// How many nodes are free, for `verify`.
    pub(super) fn free_nodes(&self) -> Result<u32> {
        let (mut at, _) = halves(self.own.nodes.load(Relaxed));
        let mut count = 0;
        while at != 0 && count <= self.map.nodes.cap {
            count += 1;
            at = self.node(at)?.free.load(Relaxed);
        }
        Ok(count)
    }
}

/// The side of a fork to go on for `mtype`, and the node there.
#[inline]
fn side(fork: &Node, bit: u32, mtype: u64) -> Result<(Spot<'_>, u32)> {
    let (low, high) = halves(fork.ends.load(Relaxed));
    let decides = mtype.checked_shr(bit).filter(|_| bit < LEAF).ok_or(Error::Spoiled)?;
    Ok(if decides & 1 == 0 { (Spot::Left(fork), low) } else { (Spot::Right(fork), high) })
}
