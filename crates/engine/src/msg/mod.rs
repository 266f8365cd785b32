//! Message queues. msgop(2), msgctl(2); kernel: ipc/msg.c.
//!
//! `store.rs` is where texts live; `index.rs` finds messages by type; `order.rs` is the queue itself; `send.rs` and `receive.rs` are the
//! calls, `at_once.rs` is the short way through them, `part.rs` is what a call keeps in its ticket, `admit.rs` lets sleeping senders in; `ctl.rs` are msgctl's commands; `settle.rs` is what happens after a death; `rules.rs` is what calls check
//! before that; `transfer.rs` moves a queue to another region.
//!
//! # Invariants
//! I1. A call puts its message into the queue, into a receiver's hands, or into its own ticket, in one change of the journal.
//! I2. No receiver sleeps that a queued message fits; no sender sleeps whose message fits the queue and comes before those that went in.
//! I3. A ticket that owns a slot names it, and says what the ticket is for (`part.rs`).

mod admit;
mod at_once;
pub mod ctl;
mod index;
pub mod layout;
mod order;
mod part;
pub mod receive;
pub mod rules;
pub mod send;
mod settle;
pub mod store;
#[cfg(test)]
mod tests;
mod transfer;
mod verify;

pub use at_once::{SHORT, Short};
pub use ctl::Stat;
pub use layout::Geometry;
pub use receive::{Received, ReceivedText, Room, Selection};
pub use send::ReservedMessage;
pub use store::{Piece, Pieces};

use crate::atomic::Relaxed;
use crate::error::{Error, Result};
use crate::host::{Caller, Host, WaitWord};
use crate::journal::{Entry, Tx};
use crate::lock::{self, Locked};
use crate::object::{Header, LIVE, MAGIC};
use crate::region::{Array, Region};
use crate::ticket::{Ticket, Tickets};
use layout::{Block, Map, Node, Part, QUEUE_HEADER, QueueHeader, Slot, pair};
use ring3_abi::{IpcId, Kind, Pid};

/// How many bytes of text are staged at most: a longer one is reserved, copied, posted; and comes as a [`ReceivedText`].
pub const STAGE: usize = layout::BLOCK;

/// A handle on a queue's region. Copies name the same queue.
#[derive(Clone, Copy, Debug)]
pub struct Queue<'r> {
    region: Region<'r>,
    geometry: Geometry,
    map: Map,
    header: &'r Header,
    own: &'r QueueHeader,
    journal: Array<'r, Entry>,
    slots: Array<'r, Slot>,
    nodes: Array<'r, Node>,
    links: Array<'r, Block>,
}

impl<'r> Queue<'r> {
    /// A handle. # Errors: `Spoiled` if the region is shorter than the geometry says.
    pub fn new(region: Region<'r>, geometry: Geometry) -> Result<Queue<'r>> {
        let map = Map::new(geometry);
        if region.len() < map.len {
            return Err(Error::Spoiled);
        }
        Ok(Queue {
            region,
            geometry,
            map,
            header: region.at(0)?,
            own: region.at(QUEUE_HEADER)?,
            journal: map.journal.lies_in(region)?,
            slots: map.slots.lies_in(region)?,
            nodes: map.nodes.lies_in(region)?,
            links: map.links.lies_in(region)?,
        })
    }

    /// Makes a zeroed region a new queue. The broker only.
    pub fn format(&self, id: IpcId, qbytes: u64, now: i64) -> Result<()> {
        self.own.qbytes.store(qbytes, Relaxed);
        self.own.base.store(now as u64, Relaxed);
        self.header.ctime.store(now as u64, Relaxed);
        self.header.id.store(id as u32, Relaxed);
        self.header.kind.store(Kind::Msg as u32, Relaxed);
        self.header.magic.store(MAGIC, Relaxed);
        // ORDERING: Release: nobody knows the region before the broker's directory names it, by a Release of its own; this keeps a reader
        // of memory from seeing a live object without its fields.
        self.header.state.store(LIVE, crate::atomic::Release);
        Ok(())
    }

    /// The capacities.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    #[inline]
    fn lock<'h, H: Host>(&self, host: &'h H, who: Caller) -> Result<Locked<'r, 'h, H>> {
        lock::lock(self.header, host, who)
    }

    #[inline]
    fn change(&self) -> Tx<'r> {
        Tx::begin(self.region, self.header, self.journal)
    }

    #[inline]
    fn tickets(&self) -> Tickets<'r, Part> {
        Tickets::new(self.region, self.header, self.map.tickets)
    }

    /// Where the owner of a ticket sleeps.
    pub fn wait_word(&self, ticket: Ticket) -> Result<WaitWord<'r>> {
        self.tickets().wait_word(ticket)
    }

    /// A process and a time as one word. A time too early or too late for it becomes the first or the last.
    #[inline]
    fn stamp(&self, pid: Pid, now: i64) -> u64 {
        const LAST: u32 = u32::MAX - 1;
        let base = self.own.base.load(Relaxed);
        let since = match (now as u64).wrapping_sub(base) {
            since if since <= u64::from(LAST) => since as u32,
            _ if now < base as i64 => 0,
            _ => LAST,
        };
        pair(pid, since + 1)
    }
}
