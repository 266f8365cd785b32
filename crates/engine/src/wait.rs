//! Sleepers: tickets, their states, and the queues they stand in.
//!
//! # Invariants
//! W1. A ticket's state word is one of [`FREE`], [`WAITING`], [`PARKED`], [`DONE`]. Only the sleeper itself turns WAITING into PARKED, without
//!     the lock; every other transition is made under the lock, inside a change.
//! W2. A ticket stands in a queue if and only if it is WAITING or PARKED (a mechanism may use other tickets for other ends: [`HELD`]).
//! W3. DONE is final only for whoever sees it under the lock: a change that made it DONE may still be rolled back.
//! W4. Who makes a ticket DONE wakes its word after the commit, if it was PARKED.
//!
//! # Death
//! Of the sleeper: `settle` takes its tickets out. Of the server between commit and wake: `settle` wakes every ticket that is not free;
//! a sleeper that is woken for nothing parks again.

use crate::atomic::{AtomicU32, AtomicU64, Relaxed};
use crate::error::{Error, Result};
use crate::host::{Caller, Host, Seat};
use crate::journal::Tx;
use crate::layout;
use crate::object::Header;
use crate::region::{Region, Table};

/// State of a ticket that nobody has.
pub const FREE: u32 = 0;
/// State of a ticket whose owner looks at the word, or is about to sleep.
pub const WAITING: u32 = 1;
/// State of a ticket whose owner sleeps in the kernel.
pub const PARKED: u32 = 2;
/// State of a ticket that was served: `result` says how.
pub const DONE: u32 = 3;
/// State of a ticket that stands in no queue and owns something for its thread.
pub const HELD: u32 = 4;

/// No index: end of a list.
pub const NONE: u32 = 0;

layout! {
    /// The common part of a ticket, one cache line.
    Sleeper[64] {
        /// The state word, and the futex.
        state: AtomicU32,
        /// The process that sleeps.
        pid: AtomicU32,
        /// Its thread.
        tid: AtomicU32,
        /// Error number of a ticket that is DONE, or what one that waits gets instead of its turn; 0 success.
        result: AtomicU32,
        /// Next in the queue, + 1.
        next: AtomicU32,
        /// Previous in the queue, + 1.
        prev: AtomicU32,
        /// Since when, seconds.
        since: AtomicU64,
        /// For the mechanism.
        a: AtomicU32,
        /// For the mechanism.
        b: AtomicU32,
        /// For the mechanism.
        c: AtomicU32,
        /// For the mechanism.
        d: AtomicU32,
        /// For the mechanism.
        e: AtomicU64,
        /// For the mechanism.
        f: AtomicU64,
    }
    /// Both ends of a queue of tickets.
    Queue[8] {
        /// First ticket + 1.
        head: AtomicU32,
        /// Last ticket + 1.
        tail: AtomicU32,
    }
}

/// A ticket's index. Good for the thread that got it, until its call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(pub u32);

/// The tickets of a region.
#[derive(Clone, Copy, Debug)]
pub struct Tickets<'r> {
    /// The region.
    pub region: Region<'r>,
    /// Its header.
    pub header: &'r Header,
    /// The records.
    pub table: Table<Sleeper>,
}

impl<'r> Tickets<'r> {
    /// The record of a ticket.
    #[inline]
    pub fn get(self, ticket: Ticket) -> Result<&'r Sleeper> {
        self.table.get(self.region, ticket.0)
    }

    /// The record of a ticket that `who` must own; anything else is spoiled.
    pub fn own(self, ticket: Ticket, who: Caller) -> Result<&'r Sleeper> {
        let record = self.get(ticket)?;
        if record.pid.load(Relaxed) == who.pid && record.tid.load(Relaxed) == who.tid {
            Ok(record)
        } else {
            Err(Error::Spoiled)
        }
    }

    /// Where the owner of a ticket sleeps.
    pub fn seat(self, ticket: Ticket) -> Result<Seat<'r>> {
        let record = self.get(ticket)?;
        Ok(Seat { word: &record.state, spinning: WAITING, parked: PARKED, cpu: &self.header.peer_cpu })
    }

    /// Takes a ticket in `state` for `who`. # Errors: `Full`.
    pub fn take(self, tx: &mut Tx<'r>, who: Caller, state: u32, now: i64) -> Result<(Ticket, &'r Sleeper)> {
        let free = self.header.ticket_free.load(Relaxed);
        let index = if free != NONE {
            let record = self.table.get(self.region, free - 1)?;
            tx.set32(&self.header.ticket_free, record.next.load(Relaxed))?;
            free - 1
        } else {
            let fresh = self.header.ticket_fresh.load(Relaxed);
            if fresh >= self.table.cap {
                return Err(Error::Full);
            }
            tx.set32(&self.header.ticket_fresh, fresh + 1)?;
            fresh
        };
        let record = self.table.get(self.region, index)?;
        tx.set32(&record.next, NONE)?;
        record.pid.store(who.pid, Relaxed);
        record.tid.store(who.tid, Relaxed);
        record.result.store(0, Relaxed);
        record.since.store(now as u64, Relaxed);
        tx.set32(&record.prev, NONE)?;
        tx.set32(&record.state, state)?;
        Ok((Ticket(index), record))
    }

    /// Gives a ticket back. It stands in no queue any more.
    pub fn give(self, tx: &mut Tx<'r>, ticket: Ticket) -> Result<()> {
        let record = self.get(ticket)?;
        tx.set32(&record.state, FREE)?;
        tx.set32(&record.next, self.header.ticket_free.load(Relaxed))?;
        tx.set32(&self.header.ticket_free, ticket.0 + 1)
    }

    /// Serves a ticket: out of its queue, DONE with `result`. Answers whether its owner must be woken (after the commit).
    pub fn serve(self, tx: &mut Tx<'r>, queue: &Queue, ticket: Ticket, result: u16) -> Result<bool> {
        let record = self.get(ticket)?;
        self.unlink(tx, queue, ticket)?;
        tx.set32(&record.result, u32::from(result))?;
        Ok(tx.swap32(&record.state, DONE)? == PARKED)
    }

    /// Wakes the owner of a ticket.
    pub fn wake<H: Host>(self, host: &H, ticket: Ticket) {
        if let Ok(record) = self.get(ticket) {
            host.wake(&record.state, 1, &self.header.peer_cpu);
        }
    }

    /// Wakes every owner: those that were served go on, the others park again.
    pub fn wake_all<H: Host>(self, host: &H) -> Result<()> {
        for index in 0..self.used() {
            let record = self.table.get(self.region, index)?;
            // An owner in the kernel must look at its word again, so that word must have changed or it sleeps on: WAITING says "look".
            let _ = record.state.compare_exchange(PARKED, WAITING, Relaxed, Relaxed);
            if record.state.load(Relaxed) != FREE {
                host.wake(&record.state, u32::MAX >> 1, &self.header.peer_cpu);
            }
        }
        Ok(())
    }

    /// How many tickets were ever in use: the rest of the table is untouched.
    pub fn used(self) -> u32 {
        self.header.ticket_fresh.load(Relaxed).min(self.table.cap)
    }

    /// Puts a ticket at the end of a queue.
    pub fn push(self, tx: &mut Tx<'r>, queue: &Queue, ticket: Ticket) -> Result<()> {
        let record = self.get(ticket)?;
        let tail = queue.tail.load(Relaxed);
        tx.set32(&record.prev, tail)?;
        tx.set32(&record.next, NONE)?;
        if tail == NONE {
            tx.set32(&queue.head, ticket.0 + 1)?;
        } else {
            tx.set32(&self.table.get(self.region, tail - 1)?.next, ticket.0 + 1)?;
        }
        tx.set32(&queue.tail, ticket.0 + 1)
    }

    /// Takes a ticket out of the queue it stands in.
    pub fn unlink(self, tx: &mut Tx<'r>, queue: &Queue, ticket: Ticket) -> Result<()> {
        let record = self.get(ticket)?;
        let (prev, next) = (record.prev.load(Relaxed), record.next.load(Relaxed));
        if prev == NONE {
            tx.set32(&queue.head, next)?;
        } else {
            tx.set32(&self.table.get(self.region, prev - 1)?.next, next)?;
        }
        if next == NONE {
            tx.set32(&queue.tail, prev)?;
        } else {
            tx.set32(&self.table.get(self.region, next - 1)?.prev, prev)?;
        }
        tx.set32(&record.next, NONE)?;
        tx.set32(&record.prev, NONE)
    }

    /// Walks a queue from its head. Ends with `Spoiled` where the links do.
    pub fn walk(self, queue: &Queue) -> Walk<'r> {
        Walk { tickets: self, at: queue.head.load(Relaxed), left: self.table.cap }
    }

    /// The ticket of this thread, if it has one: after the object moved.
    pub fn find(self, who: Caller) -> Result<Option<Ticket>> {
        for index in 0..self.used() {
            let record = self.table.get(self.region, index)?;
            if record.state.load(Relaxed) != FREE
                && record.pid.load(Relaxed) == who.pid
                && record.tid.load(Relaxed) == who.tid
            {
                return Ok(Some(Ticket(index)));
            }
        }
        Ok(None)
    }
}

/// How many wake-ups are kept for after the lock; more are made under it.
const KEPT: usize = 16;

/// Those to wake once the lock is given back: a wake-up costs microseconds that nobody should wait for.
#[derive(Debug)]
pub struct Served<'r> {
    tickets: Tickets<'r>,
    kept: [u32; KEPT],
    len: usize,
}

impl<'r> Served<'r> {
    /// Nobody yet.
    #[inline]
    pub fn new(tickets: Tickets<'r>) -> Served<'r> {
        Served { tickets, kept: [0; KEPT], len: 0 }
    }

    /// One more. The change that served it is committed, or will be before the lock is given back.
    pub fn add<H: Host>(&mut self, host: &H, ticket: Ticket) {
        match self.kept.get_mut(self.len) {
            Some(place) => {
                *place = ticket.0;
                self.len += 1;
            }
            None => self.tickets.wake(host, ticket),
        }
    }

    /// Wakes them. The lock is free again.
    #[inline]
    pub fn wake<H: Host>(self, host: &H) {
        for &index in self.kept.iter().take(self.len) {
            self.tickets.wake(host, Ticket(index));
        }
    }
}

/// A walk along a queue; may be continued after the ticket at hand was taken out.
#[derive(Debug)]
pub struct Walk<'r> {
    tickets: Tickets<'r>,
    at: u32,
    left: u32,
}

impl<'r> Iterator for Walk<'r> {
    type Item = Result<(Ticket, &'r Sleeper)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == NONE {
            return None;
        }
        let ticket = Ticket(self.at - 1);
        let Ok(record) = self.tickets.get(ticket) else {
            self.at = NONE;
            return Some(Err(Error::Spoiled));
        };
        if self.left == 0 {
            self.at = NONE;
            return Some(Err(Error::Spoiled));
        }
        self.left -= 1;
        self.at = record.next.load(Relaxed);
        Some(Ok((ticket, record)))
    }
}
