//! semop: all operations of a call or none, and sleeping until they can be done. semop(2); kernel: do_semtimedop(), perform_atomic_semop().

use super::Set;
use super::layout::RowKey;
use super::scan::Touched;
use super::sleeper::Asleep;
use super::word::{self, Taken};
use crate::atomic::Relaxed;
use crate::error::{Error, Result, Step};
use crate::host::{Caller, Host, Parked};
use crate::journal::Tx;
use crate::lock::{self, Held};
use crate::region::Index;
use crate::ticket::{Resumed, Ticket};
use ring3_abi::Errno;
use ring3_abi::ipc::IPC_NOWAIT;
use ring3_abi::sem::{SEM_UNDO, SEMVMX, Sembuf};

/// How many slow operations keep a semaphore slow after the last that had to. kernel: USE_GLOBAL_LOCK_HYSTERESIS.
const HYSTERESIS: u32 = 10;
/// How many sleepers are looked at to find out whether one names a semaphore.
const LOOKS: usize = 16;

/// A call's operations: the caller's own, or a sleeper's in the region.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ops<'a> {
    Call(&'a [Sembuf]),
    Sleeper { ticket: Ticket, count: u32 },
}

/// The process for which operations are done: they leave its number, change its undo row, and, in a call of its own, leave the time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) pid: u32,
    pub(super) row: Option<Index<RowKey>>,
    /// What the first operation's semaphore gets as its time, where the kernel writes it. kernel: set_semotime().
    pub(super) time: Option<u64>,
}

/// What came of trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// All were done, in the change at hand.
    Done,
    /// This one (its index) must wait.
    Blocked(u32),
    /// This one cannot be done.
    Failed(Errno),
}

impl Ops<'_> {
    pub(super) fn len(self) -> u32 {
        match self {
            Ops::Call(ops) => ops.len() as u32,
            Ops::Sleeper { count, .. } => count,
        }
    }

    #[inline]
    pub(super) fn get(self, set: &Set<'_>, n: u32) -> Result<Sembuf> {
        match self {
            Ops::Call(ops) => ops.get(n as usize).copied().ok_or(Error::Spoiled),
            Ops::Sleeper { ticket, .. } => {
                let bits = set.stored(ticket, n)?.load(Relaxed);
                Ok(Sembuf { sem_num: bits as u16, sem_op: (bits >> 16) as i16, sem_flg: (bits >> 32) as i16 })
            }
        }
    }
}

impl<'r> Set<'r> {
    /// semop: done, or a ticket to wait with.
    ///
    /// # Errors
    /// `EFBIG` (no such semaphore), `ERANGE` (value or adjustment out of range), `EAGAIN` (IPC_NOWAIT); `Removed`, `Moved`, `Stuck`, `Full`.
    pub fn semop<H: Host>(&self, host: &H, who: Caller, ops: &[Sembuf]) -> Result<Step<()>> {
        if ops.len() > self.geometry.ops as usize {
            return Err(Error::Full);
        }
        if ops.iter().any(|op| u32::from(op.sem_num) >= self.geometry.nsems) {
            return Err(Error::Errno(Errno::EFBIG));
        }
        let undo = ops.iter().any(|op| op.sem_flg & SEM_UNDO != 0);
        let alters = ops.iter().any(|op| op.sem_op != 0);
        let now = host.now();
        let locked = self.lock(host, who)?;
        let held = locked.held();
        for op in ops {
            self.take(held, u32::from(op.sem_num))?;
        }
        let row = if undo { Some(self.row(who.pid, who.life)?) } else { None };
        let call = Ops::Call(ops);
        let time = Some(self.time_for(held, now)?);
        let mut tx = self.change();
        let attempt = self.attempt(held, &mut tx, call, Owner { pid: who.pid, row, time })?;
        let step = match attempt {
            Attempt::Done => {
                tx.commit();
                if !alters || self.nobody_sleeps() {
                    self.calm(held, ops, undo)?;
                    return Ok(Step::Done(()));
                }
                let mut served = self.served();
                self.scan(held, host, &mut served, Touched::By(call))?;
                self.calm(held, ops, undo)?;
                drop(locked);
                served.wake(host);
                return Ok(Step::Done(()));
            }
            Attempt::Failed(errno) => {
                drop(tx);
                Err(Error::Errno(errno))
            }
            Attempt::Blocked(n) => {
                drop(tx);
                let op = call.get(self, n)?;
                if i32::from(op.sem_flg) & IPC_NOWAIT != 0 {
                    Err(Error::Errno(Errno::EAGAIN))
                } else {
                    self.sleep(host, who, &Asleep { ops, alters, row, blocked: n }, now).map(Step::Wait)
                }
            }
        };
        if !matches!(step, Ok(Step::Wait(_))) {
            self.calm(held, ops, undo)?;
        }
        step
    }

    /// Goes on with a sleeping call.
    ///
    /// # Errors
    /// What the server left (`EIDRM`, `ERANGE`, `EAGAIN`); `EINTR`, `EAGAIN` (timeout); `Moved`: [`Set::adopt`] finds the ticket in the new region.
    pub fn resume<H: Host>(&self, host: &H, who: Caller, ticket: Ticket, why: Parked) -> Result<Step<()>> {
        let _locked = lock::lock_any(self.header, host, who)?;
        match self.tickets().resume(host, ticket, who, why)? {
            Resumed::Again => Ok(Step::Wait(ticket)),
            Resumed::Over(record, why) => self.end(ticket, record).and(Err(why)),
            Resumed::Served(record, result) => {
                self.end(ticket, record)?;
                if result == 0 { Ok(Step::Done(())) } else { Err(Error::Errno(Errno(result))) }
            }
        }
    }

    /// Tries a call's operations, one after the other, each seeing what those before it did. Unless all are done the change must be dropped.
    // Inlined, because an answer through memory is written by halves and read whole, which stalls the reader for some twelve cycles.
    #[inline(always)]
    pub(super) fn attempt(
        &self,
        held: Held<'_>,
        tx: &mut Tx<'r>,
        ops: Ops<'_>,
        owner: Owner,
    ) -> Result<Attempt> {
        for n in 0..ops.len() {
            let op = ops.get(self, n)?;
            let num = u32::from(op.sem_num);
            let word = self.take(held, num)?;
            let seen = word.seen();
            let value = seen.value() + i32::from(op.sem_op);
            if (op.sem_op == 0 && value != 0) || value < 0 {
                return Ok(Attempt::Blocked(n));
            }
            if value > SEMVMX {
                return Ok(Attempt::Failed(Errno::ERANGE));
            }
            if op.sem_flg & SEM_UNDO != 0 {
                let row = owner.row.ok_or(Error::Spoiled)?;
                if !self.adjust(tx, row, num, -i32::from(op.sem_op))? {
                    return Ok(Attempt::Failed(Errno::ERANGE));
                }
            }
            let mut new = seen.with_value(value).with_pid(owner.pid);
            if let (0, Some(time)) = (n, owner.time) {
                new = new.with_time(time);
            }
            word.put(tx, new)?;
        }
        Ok(Attempt::Done)
    }

    /// Takes a semaphore's word under the lock's rule.
    #[inline]
    pub(super) fn take<'l>(&self, held: Held<'l>, num: u32) -> Result<Taken<'l>>
    where
        'r: 'l,
    {
        Ok(word::take_under_lock(held, self.word(num)?))
    }

    /// The time as words hold it; moves their zero if it must, in a change of its own. No other change is under way.
    #[inline]
    pub(super) fn time_for(&self, held: Held<'_>, now: i64) -> Result<u64> {
        match self.time(now) {
            Some(time) => Ok(time),
            None => {
                self.rebase(held, now)?;
                Ok(self.time(now).unwrap_or(word::TIME_MAX))
            }
        }
    }

    /// Writes the time of a change that was no call: to the first semaphore, as the kernel does. kernel: set_semotime().
    pub(super) fn stamp(&self, held: Held<'_>, tx: &mut Tx<'r>, time: u64) -> Result<()> {
        let word = self.take(held, 0)?;
        let new = word.seen().with_time(time);
        word.put(tx, new)
    }

    /// Moves the zero of times so that `now` fits. Times too old or too new for the new zero become its first or last.
    #[cold]
    fn rebase(&self, held: Held<'_>, now: i64) -> Result<()> {
        let mut tx = self.change();
        let old = self.own.otime_base.load(Relaxed);
        let base = word::base_for(now);
        for num in 0..self.geometry.nsems {
            let word = self.take(held, num)?;
            let seen = word.seen();
            if seen.time() != 0 {
                let time = old.wrapping_add(seen.time()).saturating_sub(base).clamp(1, word::TIME_MAX);
                word.put(&mut tx, seen.with_time(time))?;
            }
        }
        tx.set64(&self.own.otime_base, base)?;
        tx.commit();
        Ok(())
    }

    /// After a slow operation: lets go of the semaphores that nobody waits for, unless slow operations come in rows.
    fn calm(&self, held: Held<'_>, ops: &[Sembuf], undo: bool) -> Result<()> {
        let left = if undo || ops.len() > 1 {
            HYSTERESIS
        } else {
            self.own.hysteresis.load(Relaxed).saturating_sub(1)
        };
        self.own.hysteresis.store(left, Relaxed);
        if left == 0 {
            for op in ops {
                self.release_unless_named(held, u32::from(op.sem_num))?;
            }
            self.unlink_idle()?;
        }
        Ok(())
    }

    /// Gives a semaphore's word to compare-and-swaps again, if no sleeper names it. No change is under way.
    pub(super) fn release_unless_named(&self, held: Held<'_>, num: u32) -> Result<()> {
        if !self.named(num)? {
            self.take(held, num)?.release_to_cas();
        }
        Ok(())
    }

    /// Whether a sleeper names this semaphore, or may.
    fn named(&self, num: u32) -> Result<bool> {
        let tickets = self.tickets();
        for (looks, item) in tickets.walk(&self.own.alter).chain(tickets.walk(&self.own.zero)).enumerate() {
            let (ticket, record) = item?;
            let ops = self.ops_of(ticket, record);
            if looks >= LOOKS || ops.len() > LOOKS as u32 {
                return Ok(true);
            }
            for n in 0..ops.len() {
                if u32::from(ops.get(self, n)?.sem_num) == num {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
