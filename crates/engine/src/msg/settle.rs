//! After a death: what the dead process was doing is finished or undone, what it owned is free, whoever can go on is served.
//!
//! # Death
//! - before the lock: nothing;
//! - with the lock, before the commit: old values in the journal; rolled back here;
//! - after a commit that made room, before sleeping senders were let in: done here;
//! - after the lock, before the wake-ups: sleepers that are served and sleep; woken here;
//! - copying a text in or out: a ticket that owns the slot; both are freed here. A message that was being copied out has been received;
//! - asleep: a ticket in a queue; taken out here, with a sender's message. A message in a receiver's hands has been received.
//!
//! Settling twice changes nothing.

use super::Queue;
use super::layout::halves;
use crate::atomic::Relaxed;
use crate::error::Result;
use crate::host::{Caller, Host};
use crate::journal::rollback;
use crate::lock::seize;
use crate::object::LIVE;
use crate::wait::{FREE, PARKED, Served, Sleeper, Ticket, WAITING};
use ring3_abi::Pid;

impl<'r> Queue<'r> {
    /// Settles what process `dead`, or its former image, left here. Idempotent.
    ///
    /// # Errors
    /// `Stuck` if a living process keeps the lock: try again later.
    pub fn settle<H: Host>(&self, host: &H, dead: Pid, who: Caller) -> Result<()> {
        let (locked, was_held) = seize(self.header, host, dead, who)?;
        rollback(self.region, self.header, self.map.journal)?;
        if self.header.state.load(Relaxed) == LIVE {
            self.dismiss(|record| record.pid.load(Relaxed) == dead)?;
            if was_held {
                // Without the lock it has made no room that senders wait for, and admit() would change their order.
                let mut served = Served::new(self.tickets());
                self.admit(host, &mut served, host.now())?;
            }
        }
        drop(locked);
        self.tickets().wake_all(host)
    }

    /// Frees the tickets that `whose` names, and what they own.
    pub(super) fn dismiss(&self, whose: impl Fn(&Sleeper) -> bool) -> Result<()> {
        for index in 0..self.tickets().used() {
            let ticket = Ticket(index);
            let record = self.tickets().get(ticket)?;
            if !whose(record) {
                continue;
            }
            match record.state.load(Relaxed) {
                FREE => {}
                WAITING | PARKED => self.leave(ticket, record)?,
                _ => self.drop_held(ticket, record.a.load(Relaxed))?,
            }
        }
        Ok(())
    }

    /// Drops this thread's ticket, if it has one: a call that nobody will resume.
    pub fn forsake<H: Host>(&self, host: &H, who: Caller) -> Result<()> {
        let _locked = crate::lock::lock_any(self.header, host, who)?;
        self.dismiss(|record| record.pid.load(Relaxed) == who.pid && record.tid.load(Relaxed) == who.tid)
    }

    /// This thread's ticket, if it has one: to go on after the queue moved. # Errors: `Moved` or `Spoiled` if it has moved on since.
    pub fn adopt<H: Host>(&self, host: &H, who: Caller) -> Result<Option<Ticket>> {
        let _locked = crate::lock::lock_any(self.header, host, who)?;
        self.header.is_home()?;
        self.tickets().find(who)
    }

    /// Slots that were ever in use.
    pub(super) fn slots_used(&self) -> u32 {
        halves(self.own.slots.load(Relaxed)).1.min(self.map.slots.cap)
    }
}
