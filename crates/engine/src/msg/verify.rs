//! Whether a queue at rest is as its invariants say. For tests, and for looking at a namespace.

use super::Queue;
use super::layout::{Slot, halves, headed, links};
use super::part::Purpose;
use crate::atomic::Relaxed;
use crate::error::{Error, Result};
use crate::region::Link;
use crate::ticket::Ticket;

/// What a check found.
type Verdict = core::result::Result<(), &'static str>;

impl<'r> Queue<'r> {
    /// Checks the invariants. Nobody may be at work on the queue.
    pub fn verify(&self) -> Verdict {
        if self.header.lock.load(Relaxed) != 0 {
            return Err("the lock is held");
        }
        if self.header.journal_len.load(Relaxed) != 0 {
            return Err("the journal is not empty");
        }
        let links = |_: Error| "a link leaves the region";
        let in_tree = self.check_index()?;
        let nodes = halves(self.own.nodes.load(Relaxed)).1;
        if in_tree + self.free_nodes().map_err(links)? != nodes {
            return Err("a node of the index is lost");
        }
        let queued = self.check_order().map_err(links)??;
        if self.count_kin().map_err(links)? != queued {
            return Err("a message does not stand with its type");
        }
        let owned = self.check_tickets().map_err(links)??;
        if queued + owned + self.free_slots().map_err(links)? != self.slots_used() {
            return Err("a slot is lost");
        }
        self.check_blocks().map_err(links)?
    }

    /// Checks the queue's links and counts, and that no receiver sleeps that a message would serve. Answers how many messages there are.
    fn check_order(&self) -> Result<core::result::Result<u32, &'static str>> {
        let (first, last) = links::<Slot, Slot>(self.own.order.load(Relaxed));
        let (bytes, messages) = halves(self.own.counts.load(Relaxed));
        let (mut link, mut sum, mut count, mut before, mut seq) = (first, 0_u64, 0, Link::NONE, None);
        while !link.is_none() && count <= messages {
            let slot = self.slot(link)?;
            if !before.is_none() && slot.prev.load() != before {
                return Ok(Err("the queue's links disagree"));
            }
            let now = slot.seq.load(Relaxed);
            if seq.is_some_and(|s| s >= now) {
                return Ok(Err("the queue is not in order of arrival"));
            }
            let mtype = slot.mtype.load(Relaxed) as i64;
            for item in self.tickets().walk(&self.own.receivers) {
                if item?.1.own.selection().accepts(mtype) {
                    return Ok(Err("a receiver sleeps that a message would serve"));
                }
            }
            (before, seq) = (link, Some(now));
            sum += u64::from(slot.size.load(Relaxed));
            count += 1;
            link = if link == last { Link::NONE } else { slot.next.load() };
        }
        let right = count == messages && sum == u64::from(bytes) && before == last;
        Ok(if right { Ok(count) } else { Err("the queue's counts are wrong") })
    }

    /// How many messages stand with their type, in order of arrival.
    fn count_kin(&self) -> Result<u32> {
        let mut count = 0;
        self.each_leaf(|leaf| {
            let (mut link, mut seq) = (self.first_of(leaf)?, None);
            while !link.is_none() && count < self.map.slots.cap {
                let slot = self.slot(link)?;
                let later =
                    seq.replace(slot.seq.load(Relaxed)).is_none_or(|seq| seq < slot.seq.load(Relaxed));
                if !later || slot.leaf.load() != leaf || slot.mtype.load(Relaxed) != self.type_of(leaf)? {
                    return Err(Error::Spoiled);
                }
                count += 1;
                link = if link == self.last_of(leaf)? { Link::NONE } else { slot.kin.load() };
            }
            Ok(())
        })?;
        Ok(count)
    }

    /// Tickets: their states, queues, and how many slots they own.
    fn check_tickets(&self) -> Result<core::result::Result<u32, &'static str>> {
        let (mut waiting, mut free, mut owned) = (0, 0, 0);
        for index in 0..self.tickets().used() {
            let record = self.tickets().get(Ticket(index))?;
            let (state, is) = (record.state(), |purpose| record.own.is(purpose));
            let owns = !record.own.message().is_none();
            let agree = state.is_free()
                || state.is_done()
                || state.waits() && (is(Purpose::Sender) && owns || is(Purpose::Receiver) && !owns)
                || state.is_held() && (is(Purpose::Reserved) || is(Purpose::Received)) && owns;
            if !agree {
                return Ok(Err("a ticket's state and purpose disagree"));
            }
            free += u32::from(state.is_free());
            waiting += u32::from(state.waits());
            owned += u32::from(!state.is_free() && owns);
        }
        let tickets = self.tickets();
        if tickets.walk(&self.own.senders).chain(tickets.walk(&self.own.receivers)).count() as u32 != waiting
        {
            return Ok(Err("a ticket that waits stands in no queue"));
        }
        for item in self.tickets().walk(&self.own.senders) {
            if self.sender_fits(item?.1)? {
                return Ok(Err("a sender sleeps whose message fits"));
            }
        }
        Ok(if self.tickets().free_listed(free)? == free {
            Ok(owned)
        } else {
            Err("the free tickets are not all listed")
        })
    }

    fn free_slots(&self) -> Result<u32> {
        let mut at = headed::<Slot>(self.own.slots.load(Relaxed)).0;
        let mut count = 0;
        while !at.is_none() && count <= self.slots_used() {
            count += 1;
            at = self.slot(at)?.free.load();
        }
        Ok(count)
    }

    /// Blocks: those of queued and owned texts and the free ones are all there are.
    fn check_blocks(&self) -> Result<Verdict> {
        let (_, free) = halves(self.own.blocks.load(Relaxed));
        let blocks = |link: Link<Slot>| -> Result<u64> {
            Ok(super::layout::blocks_of(self.slot(link)?.size.load(Relaxed) as usize) as u64)
        };
        // Wide enough for whatever the words say.
        let mut used = u64::from(free);
        let (first, last) = links::<Slot, Slot>(self.own.order.load(Relaxed));
        let mut link = first;
        while !link.is_none() {
            used += blocks(link)?;
            link = if link == last { Link::NONE } else { self.slot(link)?.next.load() };
        }
        for index in 0..self.tickets().used() {
            let record = self.tickets().get(Ticket(index))?;
            let link = record.own.message();
            if !record.state().is_free() && !link.is_none() {
                used += blocks(link)?;
            }
        }
        let all = u64::from(self.own.block_fresh.load(Relaxed));
        Ok(if used == all { Ok(()) } else { Err("a block of text is lost") })
    }
}
