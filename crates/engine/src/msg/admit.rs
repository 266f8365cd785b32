//! Sending for sleeping senders when room appears. kernel: ss_wakeup(), and what the senders that it wakes do.
//!
//! The kernel wakes, in their order, the sleepers whose message would fit now, each looked at alone, and moves the others to the end. The
//! woken ones then try one after the other: one that has lost its right ends with EACCES, and those that find the room gone again go to the
//! end, too. Here the same happens at once, and a message that fits is sent on the spot.
//!
//! # Death
//! Putting the queue in its new order is one change, every message sent another. `settle` runs it all again.

use super::Queue;
use super::layout::Part;
use super::part::Record;
use crate::atomic::Relaxed;
use crate::error::{Error, Result};
use crate::ticket::{Served, Ticket};

impl<'r> Queue<'r> {
    /// Sends what sleeping senders wait to send, as far as it fits. The lock is held, no change is under way.
    #[cold]
    pub(super) fn admit(&self, served: &mut Served<'r, Part>, now: i64) -> Result<()> {
        let (mut fitting, mut all) = (0_u32, 0_u32);
        for item in self.tickets().walk(&self.own.senders) {
            let (ticket, record) = item?;
            if record.has_ended() {
                self.end(ticket, record)?;
                continue;
            }
            all += 1;
            fitting += u32::from(self.sender_fits(record)?);
        }
        if fitting != 0 && fitting != all {
            self.put_back(all)?;
        }
        for _ in 0..fitting {
            let Some(first) = self.tickets().walk(&self.own.senders).next() else { return Ok(()) };
            let (ticket, record) = first?;
            // A sender that was woken is refused before it looks for room. kernel: do_msgsnd() asks ipcperms() first.
            if record.verdict() != 0 || self.sender_fits(record)? {
                self.send_for(served, ticket, record, now)?;
            } else {
                let mut tx = self.change();
                self.tickets().unlink(&mut tx, &self.own.senders, ticket)?;
                self.tickets().push(&mut tx, &self.own.senders, ticket)?;
                tx.commit();
            }
        }
        Ok(())
    }

    /// Whether the message of a sleeping sender fits now.
    pub(super) fn sender_fits(&self, record: Record<'r>) -> Result<bool> {
        Ok(self.fits(self.slot(record.own.message())?.size.load(Relaxed) as usize))
    }

    /// Moves those that do not fit to the end, each of the `all` looked at once.
    fn put_back(&self, all: u32) -> Result<()> {
        let mut tx = self.change();
        let mut walk = self.tickets().walk(&self.own.senders);
        for _ in 0..all {
            let (ticket, record) = walk.next().ok_or(Error::Spoiled)??;
            if !self.sender_fits(record)? {
                self.tickets().unlink(&mut tx, &self.own.senders, ticket)?;
                self.tickets().push(&mut tx, &self.own.senders, ticket)?;
            }
        }
        tx.commit();
        Ok(())
    }

    /// Sends a sleeper's message, or refuses it if the sleeper has lost its right (`judge`), and serves the sleeper. One change.
    fn send_for(
        &self,
        served: &mut Served<'r, Part>,
        ticket: Ticket,
        record: Record<'r>,
        now: i64,
    ) -> Result<()> {
        let (link, verdict) = (record.own.message(), record.verdict());
        let mut tx = self.change();
        if verdict == 0 {
            record.own.take_message(&mut tx)?;
            self.deliver(&mut tx, served, link, record.pid(), now)?;
        }
        let wake = self.tickets().serve(&mut tx, &self.own.senders, ticket, verdict)?;
        tx.commit();
        if wake {
            served.add(ticket);
        }
        Ok(())
    }
}
