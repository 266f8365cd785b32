//! What a queue's region holds, and how large. The page `docs/region-format.md` is this file in prose.
//!
//! Links are indexes + 1, 0 is nobody. Two numbers that change together share a 64-bit word (`pair`), so that they cost one
//! entry in the journal.

use crate::atomic::{AtomicU32, AtomicU64};
use crate::journal::Entry;
use crate::layout;
use crate::object::Header;
use crate::region::{Link, LinkCell, Table};
use crate::ticket::{self, layout::Place};

/// Text that a slot holds itself.
pub const INLINE: usize = 80;
/// Text that a block holds.
pub const BLOCK: usize = 1024;

layout! {
    /// A queue's own fields, behind the common header.
    QueueHeader[128] {
        /// Bytes queued; messages queued.
        counts: AtomicU64,
        /// Bytes allowed, `msg_qbytes`.
        qbytes: AtomicU64,
        /// First and last message in order of arrival, slots + 1.
        order: AtomicU64,
        /// Root of the type index, node + 1; types in it.
        index: AtomicU64,
        /// First free slot + 1; slots never used so far start here.
        slots: AtomicU64,
        /// First free node + 1; nodes never used so far start here.
        nodes: AtomicU64,
        /// Process of the last send; when (`stamp`).
        sent: AtomicU64,
        /// Process of the last receive; when (`stamp`).
        taken: AtomicU64,
        /// Sleeping senders. Starts the second cache line.
        senders: ticket::Queue,
        /// Sleeping receivers.
        receivers: ticket::Queue,
        /// Number of the next message in order of arrival. Only rises; gaps are harmless, so it is not journaled.
        seq: AtomicU64,
        /// Zero of the stamps, seconds since 1970.
        base: AtomicU64,
        /// First free block + 1; how many are free (the list's end is where the count ends).
        blocks: AtomicU64,
        /// Blocks never used so far start here.
        block_fresh: AtomicU32,
        /// Unused.
        spare: [AtomicU32; 5],
    }
    /// One message: queued, owned by a ticket, or free.
    Slot[128] {
        /// The message behind it in order of arrival; means nothing in the last one.
        next: LinkCell<Slot>,
        /// The message before it; means nothing in the first one.
        prev: LinkCell<Slot>,
        /// The next message of the same type; means nothing in the type's last one.
        kin: LinkCell<Slot>,
        /// The type's leaf, node + 1.
        leaf: LinkCell<Node>,
        /// Type.
        mtype: AtomicU64,
        /// Place in the order of arrival.
        seq: AtomicU64,
        /// Bytes of text.
        size: AtomicU32,
        /// First block of a text longer than [`INLINE`], + 1.
        block: LinkCell<Block>,
        /// Next free slot + 1. A field of its own: filling a slot that was just taken leaves the free list restorable.
        free: LinkCell<Slot>,
        /// Unused.
        spare: AtomicU32,
        /// A text of up to [`INLINE`] bytes.
        text: [AtomicU64; 10],
    }
    /// A call's half of its ticket.
    Part[32] {
        /// The message that the ticket owns, slot + 1; 0 none.
        message: LinkCell<Slot>,
        /// What the ticket is for (`part.rs`).
        purpose: AtomicU32,
        /// A receiver's msgflg.
        flags: AtomicU32,
        /// Unused.
        spare: AtomicU32,
        /// A receiver's msgtyp.
        msgtyp: AtomicU64,
        /// The longest text that a receiver takes, bytes.
        size: AtomicU64,
    }
    /// What is noted of a block of text, whose bytes lie elsewhere.
    Block[4] {
        /// The one behind it in its text or in the free list, + 1.
        next: LinkCell<Block>,
    }
    /// A node of the type index: a leaf (a type and its messages) or a fork.
    Node[32] {
        /// Leaf: the type.
        mtype: AtomicU64,
        /// Leaf: first and last message of the type, slots + 1. Fork: the two sides, nodes + 1.
        ends: AtomicU64,
        /// Leaf: [`LEAF`]. Fork: the bit that decides.
        bit: AtomicU32,
        /// Next free node + 1.
        free: LinkCell<Node>,
        /// Unused.
        spare: AtomicU64,
    }
}

impl ticket::Half for Part {}

/// `Node::bit` of a leaf.
pub const LEAF: u32 = 64;

/// Two halves of a word.
#[inline]
pub fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// The halves again.
#[inline]
pub fn halves(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

/// The halves of a word that has two links.
#[inline]
pub fn links<A, B>(word: u64) -> (Link<A>, Link<B>) {
    let (low, high) = halves(word);
    (Link::claim(low), Link::claim(high))
}

/// Two links in a word.
#[inline]
pub fn link_pair<A, B>(low: Link<A>, high: Link<B>) -> u64 {
    pair(low.word(), high.word())
}

/// The halves of a word that has a link and a number.
#[inline]
pub fn headed<T>(word: u64) -> (Link<T>, u32) {
    let (low, high) = halves(word);
    (Link::claim(low), high)
}

/// A link and a number in a word.
#[inline]
pub fn head_pair<T>(low: Link<T>, high: u32) -> u64 {
    pair(low.word(), high)
}

/// How many blocks a text of `size` bytes takes.
#[inline]
pub fn blocks_of(size: usize) -> usize {
    if size <= INLINE { 0 } else { size.div_ceil(BLOCK) }
}

/// Capacities of a queue's region: told by the broker, never read from the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Tickets: threads that may be asleep in the queue, or copying a long text, at one time.
    pub tickets: u32,
    /// Slots: messages queued, sleeping, or being copied.
    pub slots: u32,
    /// Blocks of text.
    pub blocks: u32,
}

/// A page: regions start and end at one.
const PAGE: usize = 4096;
/// No region has more tickets.
const MAX_TICKETS: u32 = 1 << 16;
/// No region has more slots: with MAX_BLOCKS it keeps the bytes in a queue below 2³².
const MAX_SLOTS: u32 = 1 << 20;
/// No region has more blocks.
const MAX_BLOCKS: u32 = 1 << 21;
/// What a new queue gets at most; [`Geometry::grown`] goes on from here when it is used up.
const FIRST: u64 = 1 << 16;

impl Geometry {
    /// For a new queue: all messages that `qbytes` allow (at most 65,536), and tickets with texts of up to `msgmax` bytes.
    pub fn for_queue(qbytes: u64, msgmax: u64) -> Geometry {
        let tickets = 512;
        let long = msgmax.div_ceil(BLOCK as u64).clamp(1, FIRST);
        // A text in blocks is longer than INLINE, and wastes less than one block.
        let queued = (qbytes / (INLINE as u64 + 1)).saturating_add(qbytes / BLOCK as u64).saturating_add(1);
        Geometry {
            tickets,
            slots: qbytes.min(FIRST) as u32 + tickets,
            blocks: (queued.min(FIRST) + (u64::from(tickets) * long).min(FIRST)) as u32,
        }
    }

    /// With twice of everything, or `None` at the limit.
    pub fn grown(self) -> Option<Geometry> {
        let new = Geometry {
            tickets: self.tickets.saturating_mul(2).min(MAX_TICKETS),
            slots: self.slots.saturating_mul(2).min(MAX_SLOTS),
            blocks: self.blocks.saturating_mul(2).min(MAX_BLOCKS),
        };
        (new != self).then_some(new)
    }

    /// Whether it has at least another's capacities: then a queue can move here from there.
    pub fn covers(self, other: Geometry) -> bool {
        self.tickets >= other.tickets && self.slots >= other.slots && self.blocks >= other.blocks
    }

    /// For the wire.
    pub fn encode(self) -> [u32; 8] {
        [self.tickets, self.slots, self.blocks, 0, 0, 0, 0, 0]
    }

    /// From the wire; `None` if no queue is like that.
    pub fn decode(words: [u32; 8]) -> Option<Geometry> {
        let [tickets, slots, blocks, ..] = words;
        let sane = tickets <= MAX_TICKETS && slots <= MAX_SLOTS && blocks <= MAX_BLOCKS;
        sane.then_some(Geometry { tickets, slots, blocks })
    }

    /// Length of the region, bytes; whole pages. Pages that nobody touches cost nothing.
    pub fn len(self) -> usize {
        Map::new(self).len
    }

    /// Whether it is empty: never.
    pub fn is_empty(self) -> bool {
        false
    }
}

/// Where everything is.
#[derive(Clone, Copy, Debug)]
pub struct Map {
    /// The journal.
    pub journal: Table<Entry>,
    /// The tickets.
    pub tickets: Table<Place>,
    /// The messages.
    pub slots: Table<Slot>,
    /// The type index.
    pub nodes: Table<Node>,
    /// What is noted of the blocks.
    pub links: Table<Block>,
    /// Offset of the blocks.
    pub blocks: usize,
    /// Length of all.
    pub len: usize,
}

/// Offset of the queue's own header.
pub const QUEUE_HEADER: usize = size_of::<Header>();
/// Offset of the journal.
pub const JOURNAL: usize = QUEUE_HEADER + size_of::<QueueHeader>();
/// How many entries every journal has at least.
const LEAST_CHANGES: u32 = 64;
/// Entries that do for a message that is sent or received at once. Every journal has them.
pub const FEW_CHANGES: usize = 8;
const _: () = assert!(FEW_CHANGES <= LEAST_CHANGES as usize);

impl Map {
    /// Lays a region out.
    pub fn new(g: Geometry) -> Map {
        let page = |n: usize| n.next_multiple_of(PAGE);
        // The largest change moves every ticket (8 entries each), or serves them, and queues or frees one message.
        let changes = g.tickets.saturating_mul(8).saturating_add(LEAST_CHANGES);
        let journal = Table::new(JOURNAL, changes);
        let tickets = Table::new(page(journal.end()), g.tickets);
        let slots = Table::new(page(tickets.end()), g.slots);
        // A leaf for each message, a fork for each leaf but one.
        let nodes = Table::new(page(slots.end()), g.slots.saturating_mul(2));
        let links = Table::new(page(nodes.end()), g.blocks);
        let blocks = page(links.end());
        Map { journal, tickets, slots, nodes, links, blocks, len: page(blocks + g.blocks as usize * BLOCK) }
    }
}
