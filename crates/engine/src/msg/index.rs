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
use super::layout::{LEAF, Node, Slot, head_pair, headed, link_pair, links};
use crate::atomic::{AtomicU64, Relaxed};
use crate::error::{Error, Result};
use crate::journal::Tx;
use crate::region::Link;

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
    fn node(&self, link: Link<Node>) -> Result<&'r Node> {
        self.nodes.linked(link)
    }

    #[inline]
    fn root(&self) -> Link<Node> {
        headed(self.own.index.load(Relaxed)).0
    }

    /// How many types have a leaf.
    pub(super) fn types(&self) -> u32 {
        headed::<Node>(self.own.index.load(Relaxed)).1
    }

    /// The first message of a leaf, if it has one.
    #[inline]
    pub(super) fn first_of(&self, leaf: Link<Node>) -> Result<Link<Slot>> {
        Ok(links::<Slot, Slot>(self.node(leaf)?.ends.load(Relaxed)).0)
    }

    /// The last message of a leaf, if it has one.
    pub(super) fn last_of(&self, leaf: Link<Node>) -> Result<Link<Slot>> {
        Ok(links::<Slot, Slot>(self.node(leaf)?.ends.load(Relaxed)).1)
    }

    /// The type of a leaf.
    #[inline]
    pub(super) fn type_of(&self, leaf: Link<Node>) -> Result<u64> {
        Ok(self.node(leaf)?.mtype.load(Relaxed))
    }

    /// The first message of this type, if there is one.
    #[inline]
    pub(super) fn first_of_type(&self, mtype: u64) -> Result<Link<Slot>> {
        Ok(match self.nearest(mtype)? {
            Some((_, leaf)) if leaf.mtype.load(Relaxed) == mtype => {
                links::<Slot, Slot>(leaf.ends.load(Relaxed)).0
            }
            _ => Link::NONE,
        })
    }

    /// The first message of the lowest type, if there is one that is not above `limit`.
    #[inline]
    pub(super) fn first_of_lowest(&self, limit: u64) -> Result<Link<Slot>> {
        Ok(match self.nearest(0)? {
            Some((_, leaf)) if leaf.mtype.load(Relaxed) <= limit => {
                links::<Slot, Slot>(leaf.ends.load(Relaxed)).0
            }
            _ => Link::NONE,
        })
    }

    /// The leaf that shares the most bits with `mtype`: its own if it has one. For 0 that is the lowest. `None`: the index is empty.
    #[inline(always)]
    fn nearest(&self, mtype: u64) -> Result<Option<(Link<Node>, &'r Node)>> {
        let root = self.root();
        if root.is_none() {
            return Ok(None);
        }
        // All messages are of one type, mostly.
        let node = self.node(root)?;
        if node.bit.load(Relaxed) == LEAF { Ok(Some((root, node))) } else { self.nearest_below(root, mtype) }
    }

    #[inline(never)]
    fn nearest_below(&self, mut at: Link<Node>, mtype: u64) -> Result<Option<(Link<Node>, &'r Node)>> {
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
    pub(super) fn index(&self, tx: &mut Tx<'r>, link: Link<Slot>, slot: &Slot) -> Result<()> {
        let mtype = slot.mtype.load(Relaxed);
        let near = self.nearest(mtype)?;
        match near.filter(|(_, leaf)| takes(leaf, mtype)) {
            Some((near, leaf)) => self.stand(tx, link, slot, near, leaf, mtype),
            None => self.plant(tx, link, mtype, near.map(|(_, leaf)| leaf.mtype.load(Relaxed))),
        }
    }

    /// The leaf that takes messages of this type, if there is one.
    #[inline(always)]
    pub(super) fn leaf_for(&self, mtype: u64) -> Result<Option<(Link<Node>, &'r Node)>> {
        Ok(self.nearest(mtype)?.filter(|(_, leaf)| takes(leaf, mtype)))
    }

    /// Puts a message behind the others of a leaf that takes it.
    #[inline(always)]
    pub(super) fn stand(
        &self,
        tx: &mut Tx<'r>,
        link: Link<Slot>,
        slot: &Slot,
        at: Link<Node>,
        leaf: &Node,
        mtype: u64,
    ) -> Result<()> {
        slot.leaf.store(at);
        let (first, last) = links::<Slot, Slot>(leaf.ends.load(Relaxed));
        if first.is_none() {
            if leaf.mtype.load(Relaxed) != mtype {
                tx.set64(&leaf.mtype, mtype)?;
            }
            return tx.set64(&leaf.ends, link_pair(link, link));
        }
        // The last one's link means nothing before the commit: no journal.
        self.slot(last)?.kin.store(link);
        tx.set64(&leaf.ends, link_pair(first, link))
    }

    /// Makes a leaf for a new type. `near` is the nearest other type, if there is one.
    fn plant(&self, tx: &mut Tx<'r>, link: Link<Slot>, mtype: u64, near: Option<u64>) -> Result<()> {
        let leaf = self.take_node(tx)?;
        let node = self.node(leaf)?;
        node.mtype.store(mtype, Relaxed);
        node.ends.store(link_pair(link, link), Relaxed);
        node.bit.store(LEAF, Relaxed);
        self.slot(link)?.leaf.store(leaf);
        let types = self.types().checked_add(1).ok_or(Error::Spoiled)?;
        let Some(near) = near else { return tx.set64(&self.own.index, head_pair(leaf, types)) };
        let bit = 63 - (near ^ mtype).leading_zeros().min(63);
        let (spot, below) = self.spot_for(mtype, bit)?;
        let fork = self.take_node(tx)?;
        let node = self.node(fork)?;
        let ends = if mtype >> bit & 1 == 0 { link_pair(leaf, below) } else { link_pair(below, leaf) };
        node.ends.store(ends, Relaxed);
        node.bit.store(bit, Relaxed);
        self.link(tx, spot, fork)?;
        tx.set64(&self.own.index, head_pair(self.root(), types))
    }

    /// Where a fork of `bit` belongs on the way to `mtype`, and what stands there now.
    fn spot_for(&self, mtype: u64, bit: u32) -> Result<(Spot<'r>, Link<Node>)> {
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
    fn link(&self, tx: &mut Tx<'r>, spot: Spot<'r>, to: Link<Node>) -> Result<()> {
        match spot {
            Spot::Root => tx.set64(&self.own.index, head_pair(to, self.types())),
            Spot::Left(fork) => tx.set64(&fork.ends, link_pair(to, sides(fork).1)),
            Spot::Right(fork) => tx.set64(&fork.ends, link_pair(sides(fork).0, to)),
        }
    }

    /// Takes the first message of its type out of the index. Any other is spoiled (X3).
    #[inline]
    pub(super) fn unindex(&self, tx: &mut Tx<'r>, link: Link<Slot>, slot: &Slot) -> Result<()> {
        match self.step_out(link, slot)? {
            Some((ends, left)) => tx.set64(ends, left),
            None => {
                let leaf = slot.leaf.load();
                self.fell(tx, leaf, self.node(leaf)?.mtype.load(Relaxed))
            }
        }
    }

    /// What is left of its leaf's messages without the first: the leaf's word, and what it will say. `None`: the leaf goes, too.
    #[inline(always)]
    pub(super) fn step_out(&self, link: Link<Slot>, slot: &Slot) -> Result<Option<(&'r AtomicU64, u64)>> {
        let at = slot.leaf.load();
        let leaf = self.node(at)?;
        let (first, last) = links(leaf.ends.load(Relaxed));
        if first != link {
            return Err(Error::Spoiled);
        }
        if first != last {
            return Ok(Some((&leaf.ends, link_pair(slot.kin.load(), last))));
        }
        Ok((self.root() == at).then_some((&leaf.ends, 0)))
    }

    /// Removes a leaf that is not the root, and the fork above it.
    fn fell(&self, tx: &mut Tx<'r>, leaf: Link<Node>, mtype: u64) -> Result<()> {
        let (mut above, mut spot, mut at) = (None, Spot::Root, self.root());
        for _ in 0..DEPTH {
            if at == leaf {
                let (at_fork, other) = match (above, spot) {
                    (Some(above), Spot::Left(fork)) => (above, sides(fork).1),
                    (Some(above), Spot::Right(fork)) => (above, sides(fork).0),
                    _ => return Err(Error::Spoiled),
                };
                let (over, fork): (Spot<'r>, Link<Node>) = at_fork;
                self.link(tx, over, other)?;
                let types = self.types().checked_sub(1).ok_or(Error::Spoiled)?;
                tx.set64(&self.own.index, head_pair(self.root(), types))?;
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

    fn take_node(&self, tx: &mut Tx<'r>) -> Result<Link<Node>> {
        let (free, fresh) = headed::<Node>(self.own.nodes.load(Relaxed));
        if !free.is_none() {
            tx.set64(&self.own.nodes, head_pair(self.node(free)?.free.load(), fresh))?;
            return Ok(free);
        }
        let index = self.map.nodes.index(fresh).ok_or(Error::Full)?;
        tx.set64(&self.own.nodes, head_pair::<Node>(Link::NONE, fresh + 1))?;
        Ok(index.link())
    }

    fn give_node(&self, tx: &mut Tx<'r>, link: Link<Node>) -> Result<()> {
        let (free, fresh) = headed(self.own.nodes.load(Relaxed));
        self.node(link)?.free.store(free);
        tx.set64(&self.own.nodes, head_pair(link, fresh))
    }

    /// Calls `each` for every leaf, lowest type first.
    ///
    /// # Errors
    /// `Spoiled` where the tree is none; what `each` answers.
    pub(super) fn each_leaf(&self, mut each: impl FnMut(Link<Node>) -> Result<()>) -> Result<()> {
        let mut stack = [Link::NONE; DEPTH];
        let (mut depth, mut at) = (0_usize, self.root());
        let mut left = self.map.nodes.cap;
        while !at.is_none() {
            left = left.checked_sub(1).ok_or(Error::Spoiled)?;
            let node = self.node(at)?;
            if node.bit.load(Relaxed) == LEAF {
                each(at)?;
                let Some(up) = depth.checked_sub(1) else { return Ok(()) };
                depth = up;
                at = *stack.get(depth).ok_or(Error::Spoiled)?;
            } else {
                let (low, high) = sides(node);
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
            let filled = leaf == root || !self.first_of(leaf)?.is_none();
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
        let (mut at, _) = headed::<Node>(self.own.nodes.load(Relaxed));
        let mut count = 0;
        while !at.is_none() && count <= self.map.nodes.cap {
            count += 1;
            at = self.node(at)?.free.load();
        }
        Ok(count)
    }
}

/// Whether the nearest leaf takes messages of this type: its own, or the root's that has none (X2).
#[inline]
fn takes(leaf: &Node, mtype: u64) -> bool {
    leaf.mtype.load(Relaxed) == mtype || links::<Slot, Slot>(leaf.ends.load(Relaxed)).0.is_none()
}

/// The two sides of a fork.
#[inline]
fn sides(fork: &Node) -> (Link<Node>, Link<Node>) {
    links(fork.ends.load(Relaxed))
}

/// The side of a fork to go on for `mtype`, and the node there.
#[inline]
fn side(fork: &Node, bit: u32, mtype: u64) -> Result<(Spot<'_>, Link<Node>)> {
    let (low, high) = sides(fork);
    let decides = mtype.checked_shr(bit).filter(|_| bit < LEAF).ok_or(Error::Spoiled)?;
    Ok(if decides & 1 == 0 { (Spot::Left(fork), low) } else { (Spot::Right(fork), high) })
}
