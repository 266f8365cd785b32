//! The sleepers that were served under the lock and are woken after it: a wake-up costs microseconds, for which nobody else should wait.
//!
//! The first are kept by their number. Of the others only the lowest and the highest number is known: whoever is marked served in between is woken, once
//! more than needed where somebody else has served it. So the memory that this takes does not grow with the sleepers.
//!
//! # Death
//! After the lock and before a wake-up: `settle` wakes every ticket that is marked served (`state.rs`).

use super::{Half, Ticket, Tickets};
use crate::host::Host;
use core::ops::Range;

/// How many are kept by their number.
const KEPT: usize = 16;

/// Those to wake once the lock is given back.
#[derive(Debug)]
pub struct Served<'r, P> {
    tickets: Tickets<'r, P>,
    kept: [u32; KEPT],
    len: usize,
    /// Where the others are.
    others: Range<u32>,
}

impl<'r, P: Half> Served<'r, P> {
    /// Nobody yet.
    #[inline]
    pub fn new(tickets: Tickets<'r, P>) -> Served<'r, P> {
        Served { tickets, kept: [0; KEPT], len: 0, others: 0..0 }
    }

    /// One more. The change that served it is committed, or will be before the lock is given back.
    pub fn add(&mut self, Ticket(index): Ticket) {
        if let Some(place) = self.kept.get_mut(self.len) {
            *place = index;
            self.len += 1;
            return;
        }
        let alone = index..index + 1;
        self.others = match self.others.clone() {
            others if others.is_empty() => alone,
            others => others.start.min(alone.start)..others.end.max(alone.end),
        };
    }

    /// Wakes them. The lock is free again.
    #[inline]
    pub fn wake<H: Host>(self, host: &H) {
        for &index in self.kept.iter().take(self.len) {
            self.tickets.wake(host, Ticket(index));
        }
        if !self.others.is_empty() {
            self.tickets.wake_owed(host, self.others);
        }
    }
}
