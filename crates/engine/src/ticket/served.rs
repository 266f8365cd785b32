//! The sleepers that were served under the lock and are woken after it: a wake-up costs microseconds, for which nobody else should wait.

use super::{Half, Ticket, Tickets};
use crate::host::Host;

/// How many wake-ups are kept for after the lock; more are made under it.
const KEPT: usize = 16;

/// Those to wake once the lock is given back.
#[derive(Debug)]
pub struct Served<'r, P> {
    tickets: Tickets<'r, P>,
    kept: [u32; KEPT],
    len: usize,
}

impl<'r, P: Half> Served<'r, P> {
    /// Nobody yet.
    #[inline]
    pub fn new(tickets: Tickets<'r, P>) -> Served<'r, P> {
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
