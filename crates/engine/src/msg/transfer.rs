//! Moving a queue to another region: to a larger one, or to another class of permission.
//!
//! Everything keeps its number, so the tables are copied as they are, as far as they were ever used. Texts that are being copied in or out
//! stay behind: a sender that copies in must begin again, a receiver that copies out reads the old region to the end.
//!
//! # Death
//! Only the broker moves queues. Until the old region says MOVED it is the queue; the new one is nobody's before the broker's directory names it.

use super::Queue;
use super::layout::{BLOCK, Block, Node, QUEUE_HEADER, QueueHeader, Slot, halves};
use super::part::Record;
use crate::atomic::{Relaxed, Release};
use crate::error::{Error, Result};
use crate::host::{Caller, Host};
use crate::object::{LIVE, MOVED};
use crate::region::{Layout, Table};

impl<'r> Queue<'r> {
    /// Copies the queue into `new`, a zeroed region at least as large in every table, and marks this one MOVED. Tickets keep their numbers;
    /// their owners are woken and find them in the new region.
    pub fn move_to<H: Host>(&self, host: &H, who: Caller, new: Queue<'_>) -> Result<()> {
        if !new.geometry.covers(self.geometry) {
            return Err(Error::Spoiled);
        }
        let locked = self.lock(host, who)?;
        let nodes = halves(self.own.nodes.load(Relaxed)).1.min(self.map.nodes.cap);
        let blocks = self.own.block_fresh.load(Relaxed).min(self.map.links.cap);
        self.copy_header(new)?;
        self.tickets().copy_to(new.tickets())?;
        self.copy_table::<Slot>(new, self.map.slots, new.map.slots, self.slots_used())?;
        self.copy_table::<Node>(new, self.map.nodes, new.map.nodes, nodes)?;
        self.copy_table::<Block>(new, self.map.links, new.map.links, blocks)?;
        self.region.copy_to(new.region, self.map.blocks, new.map.blocks, blocks as usize * BLOCK)?;
        // ORDERING: Release, as in format().
        new.header.state.store(LIVE, Release);
        let held = |record: Record<'_>| record.state().is_held();
        new.tickets().for_each(held, |ticket, record| new.end(ticket, record))?;
        self.header.state.store(MOVED, Relaxed);
        self.tickets().close_all()?;
        drop(locked);
        self.tickets().wake_all(host)
    }

    fn copy_header(&self, new: Queue<'_>) -> Result<()> {
        self.region.copy_to(new.region, QUEUE_HEADER, QUEUE_HEADER, size_of::<QueueHeader>())?;
        self.header.copy_identity(new.header);
        Ok(())
    }

    fn copy_table<T: Layout>(&self, new: Queue<'_>, from: Table<T>, to: Table<T>, used: u32) -> Result<()> {
        self.region.copy_to(new.region, from.offset, to.offset, used as usize * size_of::<T>())
    }
}
