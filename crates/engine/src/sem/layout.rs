//! What a set's region holds, and how large. The page `docs/region-format.md` is this file in prose.

use crate::atomic::{AtomicU32, AtomicU64};
use crate::error::{Error, Result};
use crate::journal::Entry;
use crate::layout;
use crate::object::Header;
use crate::region::{Index, LinkCell, Table};
use crate::ticket::Queue;
use crate::ticket::layout::Place;

layout! {
    /// A set's own fields, behind the common header.
    SetHeader[64] {
        /// Zero of the times in the words, seconds since 1970.
        otime_base: AtomicU64,
        /// Undo rows of another epoch count as zero (SETALL).
        epoch: AtomicU32,
        /// How many more slow operations keep words slow that nobody waits for.
        hysteresis: AtomicU32,
        /// Sleepers that would change a value, first come first.
        alter: Queue,
        /// Sleepers that only wait for zero.
        zero: Queue,
        /// Semaphores; for people who look at memory.
        nsems: AtomicU32,
        /// First undo row that is linked, + 1 (`undo.rs`).
        rows: LinkCell<RowKey>,
        /// How many undo rows have a process.
        owners: AtomicU32,
        /// How many sleepers in `alter` have several operations. kernel: complex_count.
        complex: AtomicU32,
        /// Unused.
        spare: [AtomicU32; 4],
    }
    /// A sleeping call's half of its ticket. Its operations are in [`Map::ops`].
    Sleeper[32] {
        /// How many operations it has.
        count: AtomicU32,
        /// The one that blocks.
        blocked: AtomicU32,
        /// 1 if an operation would change a value, 0 if all wait for zero.
        alters: AtomicU32,
        /// The undo row of its process, + 1; 0 none.
        row: LinkCell<RowKey>,
        /// The one behind it in its semaphore's line (`line.rs`).
        behind: LinkCell<Place>,
        /// The one before it.
        before: LinkCell<Place>,
        /// Unused.
        spare: [AtomicU32; 2],
    }
    /// Both ends of a semaphore's line.
    Line[8] {
        /// The first one in it.
        first: LinkCell<Place>,
        /// The last one.
        last: LinkCell<Place>,
    }
    /// Who an undo row belongs to.
    RowKey[32] {
        /// Process; 0 nobody.
        pid: AtomicU32,
        /// The epoch its adjustments are of.
        epoch: AtomicU32,
        /// Next row that is linked, + 1.
        next: LinkCell<RowKey>,
        /// Previous one, + 1.
        prev: LinkCell<RowKey>,
        /// The process's life (`life.rs`); 0 none.
        life: AtomicU32,
        /// Unused.
        spare: [AtomicU32; 3],
    }
}
impl crate::ticket::Half for Sleeper {}

/// Capacities of a set's region: told by the broker, never read from the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Semaphores.
    pub nsems: u32,
    /// Undo rows: processes that may have adjustments at one time. A power of two.
    pub rows: u32,
    /// Tickets: threads that may sleep on the set at one time.
    pub tickets: u32,
    /// Operations in one call.
    pub ops: u32,
}

/// A page: regions start and end at one.
const PAGE: usize = 4096;

impl Geometry {
    /// For a new set.
    pub fn for_set(nsems: u32, semopm: u32) -> Geometry {
        let rows = (8 * 1024 * 1024 / (nsems.max(1) * 4)).next_power_of_two().clamp(64, 2048);
        Geometry { nsems, rows, tickets: 1024, ops: semopm.clamp(1, 1 << 20) }
    }

    /// With twice the rows and tickets, or `None` at the limit.
    pub fn grown(self, semopm: u32) -> Option<Geometry> {
        let new = Geometry {
            rows: (self.rows * 2).min(1 << 16),
            tickets: (self.tickets * 2).min(1 << 16),
            ops: self.ops.max(semopm),
            ..self
        };
        (new != self).then_some(new)
    }

    /// For the wire.
    pub fn encode(self) -> [u32; 8] {
        [self.nsems, self.rows, self.tickets, self.ops, 0, 0, 0, 0]
    }

    /// From the wire; `None` if no set is like that.
    pub fn decode(words: [u32; 8]) -> Option<Geometry> {
        let [nsems, rows, tickets, ops, ..] = words;
        let sane = nsems <= 1 << 20
            && rows <= 1 << 16
            && tickets <= 1 << 16
            && rows.is_power_of_two()
            && (1..=1 << 20).contains(&ops);
        sane.then_some(Geometry { nsems, rows, tickets, ops })
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
    /// The semaphores.
    pub words: Table<AtomicU64>,
    /// The line before each.
    pub lines: Table<Line>,
    /// The journal.
    pub journal: Table<Entry>,
    /// The tickets.
    pub tickets: Table<Place>,
    /// Owners of undo rows.
    pub keys: Table<RowKey>,
    /// Adjustments: `nsems` for each row, as i32.
    pub adjustments: Table<AtomicU32>,
    /// Operations of sleepers: `ops` for each ticket.
    pub ops: Table<AtomicU64>,
    /// Length of all.
    pub len: usize,
}

/// Offset of the set's own header.
pub const SET_HEADER: usize = size_of::<Header>();

impl Map {
    /// Lays a region out.
    pub fn new(g: Geometry) -> Map {
        let page = |n: usize| n.next_multiple_of(PAGE);
        let words = Table::<AtomicU64>::new(SET_HEADER + size_of::<SetHeader>(), g.nsems);
        let lines = Table::new(words.end(), g.nsems);
        // One change: all values (SETALL), or a call's operations, of which each may change a value, an adjustment and four links, or one column
        // of all rows with as many links (SETVAL), or a process's end; and a ticket.
        let changes = g.nsems.max(g.ops.saturating_mul(6)).max(g.rows.saturating_mul(5)) + 64;
        let journal = Table::new(lines.end().next_multiple_of(64), changes);
        let tickets = Table::new(page(journal.end()), g.tickets);
        let keys = Table::new(tickets.end(), g.rows);
        let adjustments = Table::new(page(keys.end()), g.rows.saturating_mul(g.nsems));
        let ops = Table::new(page(adjustments.end()), g.tickets.saturating_mul(g.ops));
        Map { words, lines, journal, tickets, keys, adjustments, ops, len: page(ops.end()) }
    }

    /// Index of row `row`'s adjustment of semaphore `num`. # Errors: `Spoiled` if it is beyond all tables.
    #[inline]
    pub fn adjustment(self, nsems: u32, row: Index<RowKey>, num: u32) -> Result<u32> {
        // At most 2⁶⁴ - 2³² - 1.
        let index = u64::from(row.number()) * u64::from(nsems) + u64::from(num);
        u32::try_from(index).map_err(|_| Error::Spoiled)
    }
}
