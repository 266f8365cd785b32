//! Tickets: what a thread leaves in a region to be served by others while it sleeps, and what a copying thread owns there.
//!
//! `state.rs` is the state word with its invariants, `owner.rs` the word by which the end of a sleeping owner is known, `queue.rs` the queues that tickets wait in, `served.rs` the owners to be woken after the
//! lock; here is how tickets are taken, resumed, given back, moved. A mechanism adds its own half to the record (`layout.rs`).

pub mod layout;
mod owner;
mod queue;
mod served;
mod state;
#[cfg(test)]
mod tests;

pub use layout::{Half, Queue};
pub use queue::Walk;
pub use served::Served;
pub use state::{State, ask_to_look};

use crate::atomic::Relaxed;
use crate::error::{Error, Result};
use crate::host::{Caller, Host, Parked, WaitWord};
use crate::journal::Tx;
use crate::object::{Header, LIVE, MOVED};
use crate::region::{Region, Table};
use core::marker::PhantomData;
use layout::{Common, OWN, Place};
use ring3_abi::{Errno, Pid};

/// No index: end of a list.
pub const NONE: u32 = 0;

/// A ticket's index. Good for the thread that got it, until its call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(pub u32);

/// A ticket's record: the common half and the mechanism's.
#[derive(Debug)]
pub struct Record<'r, P> {
    common: &'r Common,
    /// The mechanism's half.
    pub own: &'r P,
}

impl<P> Clone for Record<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<P> Copy for Record<'_, P> {}

impl<P> Record<'_, P> {
    /// Its state.
    #[inline]
    pub fn state(&self) -> State {
        self.common.state.load()
    }

    /// The owner's process.
    #[inline]
    pub fn pid(&self) -> Pid {
        self.common.pid.load(Relaxed)
    }

    /// The owner's thread.
    #[inline]
    pub fn tid(&self) -> Pid {
        self.common.owner.thread()
    }

    /// Whether the owner of a ticket that waits has ended: it must not be served, nor counted (O3).
    #[inline]
    pub fn has_ended(&self) -> bool {
        self.common.owner.has_ended()
    }

    /// The calling thread, which owns the ticket, will sleep: if it ends, [`Record::has_ended`] says so. Before the ticket can be seen in its queue (O2).
    #[inline]
    pub fn watch<H: Host>(&self, host: &H) {
        self.common.owner.watch(host);
    }

    /// Whether this thread owns the ticket.
    #[inline]
    pub fn is_of(&self, who: Caller) -> bool {
        self.pid() == who.pid && self.tid() == who.tid
    }

    /// The previous one in its queue, + 1.
    pub fn previous(&self) -> u32 {
        self.common.prev.load(Relaxed)
    }

    /// What a ticket that waits gets instead of its turn; 0 its turn.
    pub fn verdict(&self) -> u16 {
        self.common.result.load(Relaxed) as u16
    }

    /// Says what the ticket gets when its turn comes. DEATH: one word, old or new, by which the server goes.
    pub fn judge(&self, verdict: u16) {
        self.common.result.store(u32::from(verdict), Relaxed);
    }

    /// The owner, who has a text to copy, waits for its turn from `now` on: the ticket joins a queue in this change.
    pub fn wait(&self, tx: &mut Tx<'_>, now: i64) -> Result<()> {
        self.common.since.store(now as u64, Relaxed);
        self.common.state.wait(tx)
    }

    /// The owner, who was served, has a text to copy first.
    pub fn hold(&self, tx: &mut Tx<'_>) -> Result<()> {
        self.common.state.hold(tx)
    }
}

/// What the owner of a ticket finds when it comes back from its sleep.
#[derive(Debug)]
pub enum Resumed<'r, P> {
    /// It was served, with this error number or 0. The ticket is still its own.
    Served(Record<'r, P>, u16),
    /// It was not: it sleeps again.
    Again,
    /// It stops waiting, for this reason, and must leave its queue.
    Over(Record<'r, P>, Error),
}

/// The tickets of a region, with a mechanism's half `P`.
#[derive(Debug)]
pub struct Tickets<'r, P> {
    region: Region<'r>,
    header: &'r Header,
    table: Table<Place>,
    half: PhantomData<fn() -> P>,
}

impl<P> Clone for Tickets<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<P> Copy for Tickets<'_, P> {}

impl<'r, P: Half> Tickets<'r, P> {
    /// Those of a region.
    #[inline]
    pub fn new(region: Region<'r>, header: &'r Header, table: Table<Place>) -> Tickets<'r, P> {
        const { P::FITS }
        Tickets { region, header, table, half: PhantomData }
    }

    #[inline]
    fn common(self, index: u32) -> Result<&'r Common> {
        self.table.get(self.region, index).map(|place| &place.common)
    }

    /// The record of a ticket.
    #[inline]
    pub fn get(self, ticket: Ticket) -> Result<Record<'r, P>> {
        let common = self.common(ticket.0)?;
        let own = self.table.offset + ticket.0 as usize * size_of::<Place>() + OWN;
        Ok(Record { common, own: self.region.at(own)? })
    }

    /// The record of a ticket that `who` must own; anything else is spoiled.
    pub fn owned(self, ticket: Ticket, who: Caller) -> Result<Record<'r, P>> {
        let record = self.get(ticket)?;
        if record.is_of(who) { Ok(record) } else { Err(Error::Spoiled) }
    }

    /// Where the owner of a ticket sleeps.
    pub fn wait_word(self, ticket: Ticket) -> Result<WaitWord<'r>> {
        Ok(self.common(ticket.0)?.state.wait_word(&self.header.peer_cpu))
    }

    /// Takes a ticket for `who` that waits from `now` on: it joins a queue in this change. # Errors: `Full`.
    #[inline]
    pub fn take_to_wait(self, tx: &mut Tx<'r>, who: Caller, now: i64) -> Result<(Ticket, Record<'r, P>)> {
        let (ticket, record) = self.take(tx, who, now)?;
        record.common.state.wait(tx)?;
        Ok((ticket, record))
    }

    /// Takes a ticket for `who` that owns something and waits for nothing. # Errors: `Full`.
    #[inline]
    pub fn take_to_hold(self, tx: &mut Tx<'r>, who: Caller, now: i64) -> Result<(Ticket, Record<'r, P>)> {
        let (ticket, record) = self.take(tx, who, now)?;
        record.common.state.hold(tx)?;
        Ok((ticket, record))
    }

    fn take(self, tx: &mut Tx<'r>, who: Caller, now: i64) -> Result<(Ticket, Record<'r, P>)> {
        let free = self.header.ticket_free.load(Relaxed);
        let ticket = if free != NONE {
            let next = self.common(free - 1)?.next.load(Relaxed);
            tx.set32(&self.header.ticket_free, next)?;
            Ticket(free - 1)
        } else {
            let fresh = self.header.ticket_fresh.load(Relaxed);
            if fresh >= self.table.cap {
                return Err(Error::Full);
            }
            tx.set32(&self.header.ticket_fresh, fresh + 1)?;
            Ticket(fresh)
        };
        let record = self.get(ticket)?;
        tx.set32(&record.common.next, NONE)?;
        // DEATH: these need no journal: before the commit the ticket is free, and a free ticket's owner means nothing.
        record.common.pid.store(who.pid, Relaxed);
        record.common.owner.set(who.tid);
        record.common.result.store(0, Relaxed);
        record.common.since.store(now as u64, Relaxed);
        tx.set32(&record.common.prev, NONE)?;
        Ok((ticket, record))
    }

    /// Gives a ticket back. It stands in no queue any more.
    pub fn free(self, tx: &mut Tx<'r>, ticket: Ticket) -> Result<()> {
        let common = self.common(ticket.0)?;
        common.state.free(tx)?;
        tx.set32(&common.next, self.header.ticket_free.load(Relaxed))?;
        tx.set32(&self.header.ticket_free, ticket.0 + 1)
    }

    /// What the owner of a ticket comes back to. The lock is held, whatever the object's state.
    ///
    /// # Errors
    /// `Moved`: the ticket is in the new region; `Spoiled`.
    pub fn resume<H: Host>(
        self,
        host: &H,
        ticket: Ticket,
        who: Caller,
        why: Parked,
    ) -> Result<Resumed<'r, P>> {
        let resumed = self.look(ticket, who, why)?;
        if !matches!(resumed, Resumed::Again) {
            host.watch_no_more();
        }
        Ok(resumed)
    }

    fn look(self, ticket: Ticket, who: Caller, why: Parked) -> Result<Resumed<'r, P>> {
        let object = self.header.state.load(Relaxed);
        if object == MOVED {
            return Err(Error::Moved);
        }
        let record = self.owned(ticket, who)?;
        let state = record.state();
        if state.is_done() {
            return Ok(Resumed::Served(record, record.verdict()));
        }
        if !state.waits() {
            return Err(Error::Spoiled);
        }
        if object != LIVE {
            // DEATH: of whoever removed the object, before it came to this ticket.
            return Ok(Resumed::Over(record, Error::Removed));
        }
        Ok(match why {
            Parked::Woken => {
                record.common.state.look_again();
                Resumed::Again
            }
            Parked::TimedOut => Resumed::Over(record, Error::Errno(Errno::EAGAIN)),
            Parked::Interrupted => Resumed::Over(record, Error::Errno(Errno::EINTR)),
        })
    }

    /// The ticket of this thread, if it has one, to sleep on with it: after the object moved.
    pub fn adopt<H: Host>(self, host: &H, who: Caller) -> Result<Option<Ticket>> {
        for index in 0..self.used() {
            let record = self.get(Ticket(index))?;
            if !record.state().is_free() && record.is_of(who) {
                record.watch(host);
                return Ok(Some(Ticket(index)));
            }
        }
        Ok(None)
    }

    /// Calls `each` with the tickets that somebody has and `whose` names.
    pub fn for_each(
        self,
        whose: impl Fn(Record<'r, P>) -> bool,
        mut each: impl FnMut(Ticket, Record<'r, P>) -> Result<()>,
    ) -> Result<()> {
        for index in 0..self.used() {
            let record = self.get(Ticket(index))?;
            if whose(record) && !record.state().is_free() {
                each(Ticket(index), record)?;
            }
        }
        Ok(())
    }

    /// How many tickets were ever in use: the rest of the table is untouched.
    pub fn used(self) -> u32 {
        self.header.ticket_fresh.load(Relaxed).min(self.table.cap)
    }

    /// How many tickets the free list has; one more than `most` where it has more, or does not end.
    pub fn free_listed(self, most: u32) -> Result<u32> {
        let (mut at, mut listed) = (self.header.ticket_free.load(Relaxed), 0);
        while at != NONE && listed <= most {
            at = self.common(at - 1)?.next.load(Relaxed);
            listed += 1;
        }
        Ok(listed)
    }

    /// Copies every ticket to a region that the object moves to: each keeps its number and its queue.
    pub fn copy_to(self, new: Tickets<'_, P>) -> Result<()> {
        let used = self.used();
        if used > new.table.cap {
            return Err(Error::Spoiled);
        }
        for (from, to) in [
            (&self.header.ticket_free, &new.header.ticket_free),
            (&self.header.ticket_fresh, &new.header.ticket_fresh),
        ] {
            to.store(from.load(Relaxed), Relaxed);
        }
        let len = used as usize * size_of::<Place>();
        self.region.copy_to(new.region, self.table.offset, new.table.offset, len)
    }

    /// Makes sure that nobody parks here any more: the object has left the region. The owners are to be woken.
    pub fn close_all(self) -> Result<()> {
        for index in 0..self.used() {
            self.common(index)?.state.close();
        }
        Ok(())
    }

    /// Wakes the owner of a ticket.
    pub fn wake<H: Host>(self, host: &H, ticket: Ticket) {
        if let Ok(common) = self.common(ticket.0) {
            host.wake(common.state.futex(), 1, &self.header.peer_cpu);
        }
    }

    /// Wakes whoever may sleep on a ticket, whatever the table says of its tickets: somebody may have spoiled it.
    pub fn wake_everybody<H: Host>(self, host: &H) {
        for index in 0..self.table.cap {
            let Ok(common) = self.common(index) else { continue };
            common.state.ask_to_look();
            host.wake(common.state.futex(), u32::MAX >> 1, &self.header.peer_cpu);
        }
        self.wake_gathered(host);
    }

    /// Wakes the owners that may be asleep though they were served or shall look: after a death. Those that wait for their turn sleep on. Without
    /// the lock.
    pub fn wake_left<H: Host>(self, host: &H) -> Result<()> {
        if self.header.state.load(Relaxed) != LIVE {
            // DEATH: of whoever removed or moved the object, before it came to all of them.
            return self.wake_all(host);
        }
        // Without the lock: if the object has left the region meanwhile, or has ended, whoever did that wakes them too.
        for index in 0..self.used() {
            let state = &self.common(index)?.state;
            if state.load().is_owed_a_wake() {
                host.wake(state.futex(), u32::MAX >> 1, &self.header.peer_cpu);
            }
        }
        self.wake_gathered(host);
        Ok(())
    }

    /// Wakes whoever was being gathered to be woken (`served.rs`): somebody who did that may have died. Each of them was served.
    fn wake_gathered<H: Host>(self, host: &H) {
        host.wake(&self.header.gathering, u32::MAX >> 1, &self.header.peer_cpu);
    }

    /// Makes every owner look: those that were served go on, the others park again. With or without the lock.
    pub fn wake_all<H: Host>(self, host: &H) -> Result<()> {
        for index in 0..self.used() {
            let state = &self.common(index)?.state;
            // An owner that is about to sleep would miss the wake-up: the word must change.
            state.ask_to_look();
            if !state.load().is_free() {
                host.wake(state.futex(), u32::MAX >> 1, &self.header.peer_cpu);
            }
        }
        self.wake_gathered(host);
        Ok(())
    }
}
