//! What the loop does before it sleeps: it looks for a while, as long as that has been worth it. To be woken costs a client that asks several things in turn more
//! than the answers do.
//!
//! # Invariants
//! T1. A look that found nothing is not repeated at once: each time the loop goes to sleep twice as often without looking, up to [`RAREST`] times. So a
//!     broker that is asked something now and then spends next to nothing on looks.
//! T2. Between two looks the CPU is given away: whoever has something to ask may have this one.

use rustix::event::epoll::{self, Event};
use rustix::fs::Timespec;
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// Looks before a sleep: some 50 µs, about what an idle virtual machine takes to be woken.
const LOOKS: u32 = 100;
/// How often the loop goes to sleep at once at most, before it looks again.
const RAREST: u32 = 64;

/// What came of it so far.
#[derive(Debug, Default)]
pub(super) struct Attention {
    /// How often it goes to sleep at once from now on.
    at_once: u32,
    /// How often it did after the last look in vain.
    pause: u32,
}

impl Attention {
    /// Waits for events, at most as long as `patience` says. # Errors: epoll_wait's.
    pub(super) fn wait(
        &mut self,
        events: &OwnedFd,
        found: &mut Vec<Event>,
        patience: Option<&Timespec>,
    ) -> Result<(), Errno> {
        let may_sleep = patience.is_none_or(|patience| *patience != Timespec::default());
        if may_sleep && self.is_worth_it() && self.look(events, found)? {
            return Ok(());
        }
        epoll::wait(events, rustix::buffer::spare_capacity(found), patience).map(|_| ())
    }

    /// Whether to look before this sleep (T1).
    fn is_worth_it(&mut self) -> bool {
        let now = self.at_once == 0;
        self.at_once = self.at_once.saturating_sub(1);
        now
    }

    /// Looks for a while, and answers whether there was something.
    fn look(&mut self, events: &OwnedFd, found: &mut Vec<Event>) -> Result<bool, Errno> {
        for _ in 0..LOOKS {
            epoll::wait(events, rustix::buffer::spare_capacity(found), Some(&Timespec::default()))?;
            if !found.is_empty() {
                self.pause = 0;
                return Ok(true);
            }
            std::thread::yield_now();
        }
        self.pause = (self.pause * 2).clamp(1, RAREST);
        self.at_once = self.pause;
        Ok(false)
    }
}
