//! Semaphore sets. semop(2), semctl(2); kernel: ipc/sem.c.
//!
//! `word.rs` is one semaphore; `op.rs` does operations and decides which calls sleep; `at_once.rs` is the short way for those that do not; `scan.rs` serves sleepers, of whom those that want one thing alone stand in a line before their semaphore (`line.rs`); `undo.rs` has the adjustments of
//! SEM_UNDO; `sleeper.rs` is a call that sleeps; `ctl.rs` are semctl's commands; `settle.rs` is what happens after a death; `rules.rs` is what
//! calls check before that; `hand_over.rs` is for processes that owe together; `transfer.rs` moves a set to another region.
//!
//! # Invariants
//! I1. A call's operations change all their semaphores and adjustments in one change of the journal, or none.
//! I2. No call sleeps that could go on: an operation that changes a value scans the queues before it gives the lock back.
//! I3. Every semaphore that a ticket names is slow (`word.rs`), so no change of it misses the scan.

mod at_once;
pub mod ctl;
mod hand_over;
pub mod layout;
mod line;
pub mod op;
pub mod rules;
mod scan;
mod settle;
mod sleeper;
#[cfg(test)]
mod tests;
mod transfer;
mod undo;
mod verify;
pub mod word;

pub use layout::Geometry;
pub use settle::Undo;

use crate::atomic::{AtomicU32, AtomicU64, Relaxed};
use crate::error::{Error, Result};
use crate::host::{Caller, Host, WaitWord};
use crate::journal::{Entry, Tx};
use crate::lock::{self, Locked};
use crate::object::{Header, LIVE, MAGIC};
use crate::region::{Array, Region};
use crate::ticket::{Ticket, Tickets};
use layout::{Line, Map, RowKey, SET_HEADER, SetHeader, Sleeper};
use ring3_abi::sem::Sembuf;
use ring3_abi::{IpcId, Kind, Pid};

/// A handle on a set's region. Copies name the same set.
#[derive(Clone, Copy, Debug)]
pub struct Set<'r> {
    region: Region<'r>,
    geometry: Geometry,
    map: Map,
    header: &'r Header,
    own: &'r SetHeader,
    words: Array<'r, AtomicU64>,
    lines: Array<'r, Line>,
    journal: Array<'r, Entry>,
    keys: Array<'r, RowKey>,
    adjustments: Array<'r, AtomicU32>,
}

impl<'r> Set<'r> {
    /// A handle. # Errors: `Spoiled` if the region is shorter than the geometry says.
    pub fn new(region: Region<'r>, geometry: Geometry) -> Result<Set<'r>> {
        let map = Map::new(geometry);
        if region.len() < map.len {
            return Err(Error::Spoiled);
        }
        Ok(Set {
            region,
            geometry,
            map,
            header: region.at(0)?,
            own: region.at(SET_HEADER)?,
            words: map.words.lies_in(region)?,
            lines: map.lines.lies_in(region)?,
            journal: map.journal.lies_in(region)?,
            keys: map.keys.lies_in(region)?,
            adjustments: map.adjustments.lies_in(region)?,
        })
    }

    /// Makes a zeroed region a new set. The broker only.
    pub fn format(&self, id: IpcId, now: i64) -> Result<()> {
        self.own.otime_base.store(word::base_for(now), Relaxed);
        self.own.epoch.store(1, Relaxed);
        self.own.nsems.store(self.geometry.nsems, Relaxed);
        self.header.ctime.store(now as u64, Relaxed);
        self.header.id.store(id as u32, Relaxed);
        self.header.kind.store(Kind::Sem as u32, Relaxed);
        self.header.magic.store(MAGIC, Relaxed);
        // ORDERING: Release: nobody knows the region before the broker's directory names it, by a Release of its own; this keeps a reader
        // of memory from seeing a live object without its fields.
        self.header.state.store(LIVE, crate::atomic::Release);
        Ok(())
    }

    /// How many semaphores.
    pub fn nsems(&self) -> u32 {
        self.geometry.nsems
    }

    /// The capacities.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Does one plain operation without the lock, if nothing stands in the way. `false`: call [`Set::semop`].
    #[inline(always)]
    pub fn fast(&self, pid: Pid, now: i64, op: &Sembuf) -> bool {
        let Some(time) = self.time(now) else { return false };
        match self.words.get(u32::from(op.sem_num)) {
            Ok(word) => word::operate(word, op.sem_op, pid, time),
            Err(_) => false,
        }
    }

    /// A semaphore as it stands, for whoever waits for its turn and has no place in the queue. `None`: there is none.
    pub fn glimpse(&self, num: u32) -> Option<word::Snapshot> {
        self.words.get(num).ok().map(word::read)
    }

    /// A time as words hold it, if they can.
    #[inline]
    fn time(&self, now: i64) -> Option<u64> {
        let time = (now as u64).wrapping_sub(self.own.otime_base.load(Relaxed)).wrapping_add(1);
        (1..=word::TIME_MAX).contains(&time).then_some(time)
    }

    #[inline]
    fn word(&self, num: u32) -> Result<&'r AtomicU64> {
        self.words.get(num)
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
    fn tickets(&self) -> Tickets<'r, Sleeper> {
        Tickets::new(self.region, self.header, self.map.tickets)
    }

    /// Where the owner of a ticket sleeps.
    pub fn wait_word(&self, ticket: Ticket) -> Result<WaitWord<'r>> {
        self.tickets().wait_word(ticket)
    }
}
