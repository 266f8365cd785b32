//! Serving sleepers: the call that changed a value does for them what they wait to do. kernel: do_smart_update(), update_queue().

use super::Set;
use super::layout::Sleeper;
use super::op::{Attempt, Ops};
use super::sleeper::Record;
use super::word;
use crate::atomic::Relaxed;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::lock::Held;
use crate::ticket::{Served, Ticket};
use ring3_abi::Errno;

/// Which semaphores a change has touched: those that wait for zero are looked at only if one of these is zero now.
/// kernel: do_smart_wakeup_zero().
#[derive(Clone, Copy)]
pub(super) enum Touched<'a> {
    /// Those of these operations.
    By(Ops<'a>),
    /// Perhaps all.
    All,
}

/// The sleepers that were served, and whether the operations of any were done.
#[derive(Debug)]
pub(super) struct Outcome<'r> {
    served: Served<'r, Sleeper>,
    pub(super) any: bool,
}

impl Outcome<'_> {
    /// Wakes them. The lock is free again.
    #[inline]
    pub(super) fn wake<H: Host>(self, host: &H) {
        self.served.wake(host);
    }
}

impl<'r> Set<'r> {
    /// Whether both queues are empty.
    #[inline]
    pub(super) fn nobody_sleeps(&self) -> bool {
        self.own.alter.is_empty() && self.own.zero.is_empty()
    }

    #[inline]
    pub(super) fn served(&self) -> Outcome<'r> {
        Outcome { served: Served::new(self.tickets()), any: false }
    }

    /// Serves everybody who can go on, in the kernel's order: waiters for zero first, then those who change values, first come first
    /// served, from the start again when one's success may concern an earlier one.
    #[inline]
    pub(super) fn scan(&self, held: Held<'_>, served: &mut Outcome<'r>, touched: Touched<'_>) -> Result<()> {
        if self.nobody_sleeps() {
            return Ok(());
        }
        self.scan_zero(held, served, touched)?;
        if let Touched::By(ops) = touched
            && self.own.complex.load(Relaxed) == 0
        {
            return self.scan_lines(held, served, ops);
        }
        // Each walk that must be repeated has served somebody, and nobody comes meanwhile.
        for _ in 0..=self.geometry.tickets {
            if !self.scan_alter(held, served)? {
                return Ok(());
            }
        }
        Err(Error::Spoiled)
    }

    /// Serves those who change values where each wants one thing alone: only where something was given has anybody more to hope for than when it went to
    /// sleep. kernel: do_smart_update() without complex operations.
    fn scan_lines(&self, held: Held<'_>, served: &mut Outcome<'r>, ops: Ops<'_>) -> Result<()> {
        for n in 0..ops.len() {
            let op = ops.get(self, n)?;
            if op.sem_op > 0 {
                self.scan_line(held, served, op.sem_num.into())?;
            }
        }
        Ok(())
    }

    /// One walk along a line. Each in it takes something, as an addition never sleeps: whom one passes has no more to hope for once somebody behind it is served,
    /// and where nothing is left nobody has. kernel: update_queue() of one semaphore.
    fn scan_line(&self, held: Held<'_>, served: &mut Outcome<'r>, num: u32) -> Result<()> {
        let word = self.word(num)?;
        for item in self.in_line(num)? {
            if word::read(word).value() == 0 {
                return Ok(());
            }
            let (ticket, record) = item?;
            if !self.take_out_if_ended(ticket, record)?
                && self.serve(held, served, ticket, record)? == Attempt::Done
            {
                // The ticket's operations stay where they are until its owner has come for the result.
                self.scan_zero(held, served, Touched::By(self.ops_of(ticket, record)))?;
            }
        }
        Ok(())
    }

    /// One walk along the queue of those who change values. Answers whether it must be walked again.
    fn scan_alter(&self, held: Held<'_>, served: &mut Outcome<'r>) -> Result<bool> {
        let mut complex = false;
        for item in self.tickets().walk(&self.own.alter) {
            let (ticket, record) = item?;
            if self.take_out_if_ended(ticket, record)? {
                continue;
            }
            complex |= record.own.count() > 1;
            if self.serve(held, served, ticket, record)? == Attempt::Done {
                // The ticket's operations stay where they are until its owner has come for the result.
                let ops = self.ops_of(ticket, record);
                self.scan_zero(held, served, Touched::By(ops))?;
                if complex {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Those who wait for zero: single operations first, as they stand before the complex ones in the kernel.
    fn scan_zero(&self, held: Held<'_>, served: &mut Outcome<'r>, touched: Touched<'_>) -> Result<()> {
        if self.own.zero.is_empty() || !self.any_zero(touched)? {
            return Ok(());
        }
        for pass in [true, false] {
            for item in self.tickets().walk(&self.own.zero) {
                let (ticket, record) = item?;
                if (record.own.count() == 1) == pass && !self.take_out_if_ended(ticket, record)? {
                    self.serve(held, served, ticket, record)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a semaphore that was touched is zero.
    fn any_zero(&self, touched: Touched<'_>) -> Result<bool> {
        let is_zero = |num: u32| -> Result<bool> { Ok(word::read(self.word(num)?).value() == 0) };
        let count = if let Touched::By(ops) = touched { ops.len() } else { self.geometry.nsems };
        for n in 0..count {
            let num = if let Touched::By(ops) = touched { u32::from(ops.get(self, n)?.sem_num) } else { n };
            if is_zero(num)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tries a sleeper's operations; done or impossible, the sleeper is served.
    fn serve(
        &self,
        held: Held<'_>,
        served: &mut Outcome<'r>,
        ticket: Ticket,
        record: Record<'r>,
    ) -> Result<Attempt> {
        let (ops, owner) = (self.ops_of(ticket, record), self.owner_of(record));
        let mut tx = self.change();
        let attempt = match self.attempt::<true>(held, &mut tx, ops.each(self), owner)? {
            Attempt::Blocked(n) => {
                drop(tx);
                record.own.set_blocked(n);
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
        let wake = self.tickets().serve(&mut tx, self.queue_of(record), ticket, result)?;
        self.leave(&mut tx, ticket, record)?;
        tx.commit();
        served.any |= attempt == Attempt::Done;
        if wake {
            served.served.add(ticket);
        }
        Ok(attempt)
    }
}
