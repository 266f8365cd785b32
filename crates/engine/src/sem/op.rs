//! semop: all operations of a call or none, and sleeping until they can be done. semop(2); kernel: do_semtimedop(), perform_atomic_semop().

use super::Set;
use super::layout::RowKey;
use super::rules::Shape;
use super::scan::Touched;
use super::sleeper::Asleep;
use super::word::{self, Mark, Taken};
use crate::atomic::Relaxed;
use crate::error::{Error, Result, Step};
use crate::host::{Caller, Host, Parked};
use crate::journal::Tx;
use crate::lock::{self, Held, Locked};
use crate::object::Receipt;
use crate::region::Index;
use crate::ticket::{Resumed, Ticket};
use ring3_abi::Errno;
use ring3_abi::ipc::IPC_NOWAIT;
use ring3_abi::sem::{SEM_UNDO, SEMVMX, Sembuf};

/// How many slow operations keep a semaphore slow after the last that had to. kernel: USE_GLOBAL_LOCK_HYSTERESIS.
pub(super) const HYSTERESIS: u32 = 10;
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
            Ops::Sleeper { ticket, .. } => Ok(Sembuf::from_word(set.stored(ticket, n)?.load(Relaxed))),
        }
    }
}

impl<'a> Ops<'a> {
    /// One after the other, each as a word, which stays in a register.
    #[inline]
    pub(super) fn each<'s>(self, set: &'s Set<'_>) -> impl Iterator<Item = Result<u64>> + use<'a, 's> {
        (0..self.len()).map(move |n| self.get(set, n).map(Sembuf::word))
    }
}

impl<'r> Set<'r> {
    /// semop: done, or a ticket to wait with.
    ///
    /// # Errors
    /// `EFBIG` (no such semaphore), `ERANGE` (value or adjustment out of range), `EAGAIN` (IPC_NOWAIT); `Removed`, `Moved`, `Stuck`, `Full`.
    pub fn semop<H: Host>(&self, host: &H, who: Caller, ops: &[Sembuf]) -> Result<Step<()>> {
        self.semop_of(host, who, ops, Shape::of(ops))
    }

    /// [`Set::semop`] of operations that were walked along already.
    // Apart from its caller, whose variables would take the loop's registers.
    #[inline(never)]
    pub fn semop_of<H: Host>(&self, host: &H, who: Caller, ops: &[Sembuf], shape: Shape) -> Result<Step<()>> {
        if ops.len() > self.geometry.ops as usize {
            return Err(Error::Full);
        }
        if shape.exceeds(ops, self.geometry.nsems.into()) {
            return Err(Error::Errno(Errno::EFBIG));
        }
        let now = host.now();
        let locked = self.lock(host, who)?;
        let held = locked.held();
        let row = if shape.undo { Some(self.row(who.pid, who.life)?) } else { None };
        let time = Some(self.time_for(held, now)?);
        let mut tx = self.change();
        let owner = Owner { pid: who.pid, row, time };
        let words = ops.iter().map(|op| Ok(op.word()));
        let attempt = if shape.undo {
            self.attempt::<true>(held, &mut tx, words, owner)?
        } else {
            self.attempt::<false>(held, &mut tx, words, owner)?
        };
        if attempt == Attempt::Done {
            Receipt::leave(host, &mut tx, self.header, 0)?;
            tx.commit();
            if shape.alters && !self.nobody_sleeps() {
                return self.serve_after(host, locked, ops, shape.undo);
            }
            self.calm(held, ops, shape.undo)?;
            return Ok(Step::Done(()));
        }
        drop(tx);
        let step = match attempt {
            Attempt::Blocked(n) => {
                self.block(held, host, who, &Asleep { ops, alters: shape.alters, row, blocked: n }, now)
            }
            Attempt::Failed(errno) => Err(Error::Errno(errno)),
            Attempt::Done => Ok(Step::Done(())),
        };
        if !matches!(step, Ok(Step::Wait(_))) {
            self.calm(held, ops, shape.undo)?;
        }
        step
    }

    /// Serves sleepers after a call's operations were done.
    #[inline(never)]
    fn serve_after<H: Host>(
        &self,
        host: &H,
        locked: Locked<'r, '_, H>,
        ops: &[Sembuf],
        undo: bool,
    ) -> Result<Step<()>> {
        let mut served = self.served();
        self.scan(locked.held(), &mut served, Touched::By(Ops::Call(ops)))?;
        self.calm(locked.held(), ops, undo)?;
        drop(locked);
        served.wake(host);
        Ok(Step::Done(()))
    }

    /// What a call does that must wait: it sleeps, or does not want to.
    #[inline(never)]
    fn block<H: Host>(
        &self,
        held: Held<'_>,
        host: &H,
        who: Caller,
        call: &Asleep<'_>,
        now: i64,
    ) -> Result<Step<()>> {
        let op = call.ops.get(call.blocked as usize).ok_or(Error::Spoiled)?;
        if i32::from(op.sem_flg) & IPC_NOWAIT != 0 {
            return Err(Error::Errno(Errno::EAGAIN));
        }
        // The attempt has taken the words up to the one that blocks; a ticket's words are slow, all of them (I3).
        for op in call.ops {
            self.take(held, u32::from(op.sem_num))?;
        }
        self.sleep(host, who, call, now).map(Step::Wait)
    }

    /// Goes on with a sleeping call.
    ///
    /// # Errors
    /// What the server left (`EIDRM`, `ERANGE`, `EAGAIN`); `EINTR`, `EAGAIN` (timeout); `Moved`: [`Set::adopt`] finds the ticket in the new region.
    pub fn resume<H: Host>(&self, host: &H, who: Caller, ticket: Ticket, why: Parked) -> Result<Step<()>> {
        let _locked = lock::lock_any(self.header, host, who)?;
        match self.tickets().resume(host, ticket, who, why)? {
            Resumed::Again => Ok(Step::Wait(ticket)),
            Resumed::Over(record, why) => self.end_call(host, ticket, record, why.number()).and(Err(why)),
            Resumed::Served(record, result) => {
                self.end_call(host, ticket, record, result)?;
                if result == 0 { Ok(Step::Done(())) } else { Err(Error::Errno(Errno(result))) }
            }
        }
    }

    /// Tries a call's operations, one after the other, each seeing what those before it did. Unless all are done the change must be dropped.
    /// Words are taken as they are reached: what a word was before that is what the call would have found if it had come a moment later.
    // Inlined, because an answer through memory is written by halves and read whole, which stalls the reader for some twelve cycles.
    // Without `UNDO` nothing is known of adjustments, for operations of which none has SEM_UNDO.
    #[inline(always)]
    pub(super) fn attempt<const UNDO: bool>(
        &self,
        held: Held<'_>,
        tx: &mut Tx<'r>,
        ops: impl Iterator<Item = Result<u64>>,
        owner: Owner,
    ) -> Result<Attempt> {
        let later = Mark::of(owner.pid);
        let (mut n, mut mark) = (0, owner.time.map_or(later, |time| later.at(time)));
        for op in ops {
            let op = Sembuf::from_word(op?);
            let num = u32::from(op.sem_num);
            let word = self.take(held, num)?;
            let seen = word.seen();
            let value = seen.value() + i32::from(op.sem_op);
            if !(0..=SEMVMX).contains(&value) || (op.sem_op == 0 && value != 0) {
                let waits = value < 0 || op.sem_op == 0;
                return Ok(if waits { Attempt::Blocked(n) } else { Attempt::Failed(Errno::ERANGE) });
            }
            if UNDO && op.sem_flg & SEM_UNDO != 0 {
                let row = owner.row.ok_or(Error::Spoiled)?;
                if !self.adjust(tx, row, num, -i32::from(op.sem_op))? {
                    return Ok(Attempt::Failed(Errno::ERANGE));
                }
            }
            word.put(tx, seen.marked(value, mark))?;
            (n, mark) = (n + 1, later);
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
    #[inline]
    fn calm(&self, held: Held<'_>, ops: &[Sembuf], undo: bool) -> Result<()> {
        let left = if undo || ops.len() > 1 {
            HYSTERESIS
        } else {
            self.own.hysteresis.load(Relaxed).saturating_sub(1)
        };
        self.own.hysteresis.store(left, Relaxed);
        if left == 0 { self.let_go(held, ops) } else { Ok(()) }
    }

    #[inline(never)]
    fn let_go(&self, held: Held<'_>, ops: &[Sembuf]) -> Result<()> {
        for op in ops {
            self.release_unless_named(held, u32::from(op.sem_num))?;
        }
        self.unlink_idle()
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
        if self.nobody_sleeps() {
            return Ok(false);
        }
        if !self.line(num)?.is_empty() {
            return Ok(true);
        }
        let tickets = self.tickets();
        // Where nobody has several operations, all who change values stand in lines.
        let several = (self.own.complex.load(Relaxed) != 0).then(|| tickets.walk(&self.own.alter));
        for (looks, item) in several.into_iter().flatten().chain(tickets.walk(&self.own.zero)).enumerate() {
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
