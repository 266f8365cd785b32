//! The sleepers that were served under the lock and are woken after it: a wake-up costs microseconds, for which nobody else should wait.
//!
//! The first are kept by their number. Of the others only the lowest and the highest number is known: whoever is marked served in between is woken, once
//! more than needed where somebody else has served it. So the memory that this takes does not grow with the sleepers.
//!
//! Where there are several, the host may gather them on a word of the header and wake them there in one call: woken one by one, each of them would take the CPU from whoever
//! wakes, which is a switch of processes more for each, or have another CPU called out of its rest.
//!
//! # Death
//! After the lock and before a wake-up: `settle` wakes every ticket that is marked served (`state.rs`), and whoever is gathered: by whomever, for all of those have been served.

use super::state::SERVED;
use super::{Half, Ticket, Tickets};
use crate::host::Host;
use crate::object::Header;
use core::ops::Range;

/// How many are kept by their number.
const KEPT: usize = 16;
/// How many are woken one by one.
const FEW: usize = 2;

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
        let kept = self.kept.get(..self.len).unwrap_or(&[]);
        if kept.len() > FEW {
            return self.wake_many(host);
        }
        for &index in kept {
            self.tickets.wake(host, Ticket(index));
        }
    }

    #[inline(never)]
    fn wake_many<H: Host>(self, host: &H) {
        let Served { tickets, kept, len, others } = self;
        let kept = kept.into_iter().take(len).filter_map(|index| tickets.common(index).ok());
        let others = others.map_while(|index| tickets.common(index).ok());
        let words = kept.chain(others.filter(|common| common.state.load().is_done()));
        let Header { gathering, peer_cpu, .. } = tickets.header;
        host.wake_together(words.map(|common| common.state.futex()), SERVED, gathering, peer_cpu);
    }
}
