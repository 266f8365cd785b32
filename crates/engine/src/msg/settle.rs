//! After a death: what the dead process was doing is finished or undone, what it owned is freed, sleepers that can go on are served.
//!
//! # Death
//! - before the lock: nothing;
//! - with the lock, before the commit: old values in the journal; rolled back here;
//! - after a commit that made room, before sleeping senders were let in: done here;
//! - after the lock, before the wake-ups: sleepers that are served and sleep; woken here;
//! - copying a text in or out: a ticket that owns the slot; both are freed here. A message that was being copied out has been received;
//! - asleep: a ticket in a queue; taken out here, or before by whoever meets it (`ticket/owner.rs`), with a sender's message. A message in a receiver's hands has been received.
//!
//! Settling twice changes nothing.

use super::Queue;
use super::layout::halves;
use super::part::Record;
use crate::atomic::Relaxed;
use crate::error::Result;
use crate::host::{Caller, Host};
use crate::journal::rollback;
use crate::lock::{lock_any, seize};
use crate::object::LIVE;
use crate::ticket::{Served, Ticket};
use ring3_abi::Pid;

impl<'r> Queue<'r> {
    /// Settles what process `dead`, or its former image, left here. Idempotent.
    ///
    /// # Errors
    /// `Stuck` if a living process keeps the lock: try again later.
    pub fn settle<H: Host>(&self, host: &H, dead: Pid, who: Caller) -> Result<()> {
        let (locked, was_held) = seize(self.header, host, dead, who)?;
        rollback(self.region, self.header, self.journal)?;
        if self.header.state.load(Relaxed) == LIVE {
            let of_the_dead = |record: Record<'_>| record.pid() == dead;
            self.tickets().for_each(of_the_dead, |ticket, record| self.end(ticket, record))?;
            if was_held {
                // Without the lock it has made no room that senders wait for, and admit() would change their order.
                let mut served = Served::new(self.tickets());
                self.admit(&mut served, host.now())?;
            }
        }
        drop(locked);
        self.tickets().wake_left(host)
    }

    /// Drops this thread's ticket, if it has one: a call that nobody will resume.
    pub fn withdraw<H: Host>(&self, host: &H, who: Caller) -> Result<()> {
        let _locked = lock_any(self.header, host, who)?;
        self.tickets().for_each(|record| record.is_of(who), |ticket, record| self.end(ticket, record))
    }

    /// This thread's ticket, if it has one: to go on after the queue moved. # Errors: `Moved` or `Spoiled` if it has moved on since.
    pub fn adopt<H: Host>(&self, host: &H, who: Caller) -> Result<Option<Ticket>> {
        let _locked = lock_any(self.header, host, who)?;
        self.header.is_home()?;
        self.tickets().adopt(host, who)
    }

    /// Slots that were ever in use.
    pub(super) fn slots_used(&self) -> u32 {
        halves(self.own.slots.load(Relaxed)).1.min(self.map.slots.cap)
    }
}
