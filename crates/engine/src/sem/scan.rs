//! Serving sleepers: whoever changed a value does for them what they wait to do. kernel: do_smart_update(), update_queue().

use super::Set;
use super::op::{ALTERS, Attempt, Ops, Owner};
use crate::atomic::Relaxed;
use crate::error::Result;
use crate::host::Host;
use crate::wait::{Sleeper, Ticket, Tickets};
use ring3_abi::Errno;

/// How many wake-ups are kept for after the lock; more are made under it.
const KEPT: usize = 16;

/// Those to wake once the lock is given back.
#[derive(Debug)]
pub(super) struct Served<'r> {
    tickets: Tickets<'r>,
    kept: [u32; KEPT],
    len: usize,
    /// Whether anybody's operations were done.
    pub(super) any: bool,
}

impl Served<'_> {
    fn add<H: Host>(&mut self, host: &H, ticket: Ticket) {
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
    pub(super) fn wake<H: Host>(self, host: &H) {
        for &index in self.kept.iter().take(self.len) {
            self.tickets.wake(host, Ticket(index));
        }
    }
}

impl<'r> Set<'r> {
    #[inline]
    pub(super) fn served(self) -> Served<'r> {
        Served { tickets: self.tickets(), kept: [0; KEPT], len: 0, any: false }
    }

    /// Serves everybody who can go on, in the kernel's order: waiters for zero first, then those who change values, first come first
    /// served, from the start again when one's success may concern an earlier one.
    #[inline]
    pub(super) fn scan<H: Host>(self, host: &H, served: &mut Served<'r>) -> Result<()> {
        if self.own.alter.head.load(Relaxed) == 0 && self.own.zero.head.load(Relaxed) == 0 {
            return Ok(());
        }
        self.scan_zero(host, served)?;
        while self.scan_alter(host, served)? {}
        Ok(())
    }

    /// One walk along the queue of those who change values. Answers whether it must be walked again.
    fn scan_alter<H: Host>(self, host: &H, served: &mut Served<'r>) -> Result<bool> {
        let mut complex = false;
        for item in self.tickets().walk(&self.own.alter) {
            let (ticket, record) = item?;
            complex |= record.a.load(Relaxed) > 1;
            if self.serve(host, served, ticket, record)? == Attempt::Done {
                self.scan_zero(host, served)?;
                if complex {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Those who wait for zero: single operations first, as they stand before the complex ones in the kernel.
    fn scan_zero<H: Host>(self, host: &H, served: &mut Served<'r>) -> Result<()> {
        for pass in [true, false] {
            for item in self.tickets().walk(&self.own.zero) {
                let (ticket, record) = item?;
                if (record.a.load(Relaxed) == 1) == pass {
                    self.serve(host, served, ticket, record)?;
                }
            }
        }
        Ok(())
    }

    /// Tries a sleeper's operations; done or impossible, the sleeper is served.
    fn serve<H: Host>(self, host: &H, served: &mut Served<'r>, ticket: Ticket, record: &Sleeper) -> Result<Attempt> {
        let ops = Ops::Sleeper { ticket, count: record.a.load(Relaxed).min(self.geometry.ops) };
        let owner = Owner { pid: record.pid.load(Relaxed), row: record.d.load(Relaxed).checked_sub(1) };
        let queue = if record.c.load(Relaxed) & ALTERS != 0 { &self.own.alter } else { &self.own.zero };
        let mut tx = self.change();
        let attempt = match self.attempt(&mut tx, ops, owner)? {
            Attempt::Blocked(n) => {
                drop(tx);
                record.b.store(n, Relaxed);
                if i32::from(ops.get(self, n)?.sem_flg) & ring3_abi::ipc::IPC_NOWAIT == 0 {
                    return Ok(Attempt::Blocked(n));
                }
                tx = self.change();
                Attempt::Failed(Errno::EAGAIN)
            }
            Attempt::Failed(errno) => {
                drop(tx);
                tx = self.change();
                Attempt::Failed(errno)
            }
            Attempt::Done => Attempt::Done,
        };
        let result = if let Attempt::Failed(errno) = attempt { errno.0 } else { 0 };
        let wake = self.tickets().serve(&mut tx, queue, ticket, result)?;
        tx.commit();
        served.any |= attempt == Attempt::Done;
        if wake {
            served.add(host, ticket);
        }
        Ok(attempt)
    }
}
