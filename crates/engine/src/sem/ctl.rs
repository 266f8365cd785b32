//! semctl's commands on values. semctl(2); kernel: semctl_main(), semctl_setval().

use super::Set;
use super::scan::Touched;
use super::word;
use crate::atomic::Relaxed;
use crate::error::{Error, Result};
use crate::host::{Caller, Host};
use crate::object::{REMOVED, Receipt};
use ring3_abi::ipc::IpcPerm;
use ring3_abi::sem::SEMVMX;
use ring3_abi::sem::Semid;
use ring3_abi::{Errno, Pid};

/// Times of a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Last successful semop, seconds; 0 never.
    pub otime: i64,
    /// Creation or last change, seconds.
    pub ctime: i64,
}

impl Stat {
    /// The kernel's structure of it, for a set of so many.
    pub fn semid(&self, perm: IpcPerm, nsems: u64) -> Semid {
        Semid { perm, otime: self.otime, ctime: self.ctime, nsems, ..Semid::default() }
    }
}

impl<'r> Set<'r> {
    /// The word of a semaphore, at a moment when no call on several semaphores is half done.
    #[inline]
    fn settled<H: Host>(&self, host: &H, who: Caller, num: u32) -> Result<word::Snapshot> {
        let word = self.word(num).map_err(|_| Error::Errno(Errno::EINVAL))?;
        let seen = word::read(word);
        if !seen.slow() { Ok(seen) } else { self.settled_slowly(host, who, num) }
    }

    /// The same under the lock, which rules the word.
    #[inline(never)]
    fn settled_slowly<H: Host>(&self, host: &H, who: Caller, num: u32) -> Result<word::Snapshot> {
        let locked = self.lock(host, who)?;
        let seen = self.take(locked.held(), num)?.seen();
        self.release_unless_named(locked.held(), num)?;
        Ok(seen)
    }

    /// GETVAL. # Errors: `EINVAL` (no such semaphore).
    #[inline]
    pub fn getval<H: Host>(&self, host: &H, who: Caller, num: u32) -> Result<i32> {
        self.settled(host, who, num).map(word::Snapshot::value)
    }

    /// GETPID. # Errors: `EINVAL` (no such semaphore).
    #[inline]
    pub fn getpid<H: Host>(&self, host: &H, who: Caller, num: u32) -> Result<Pid> {
        self.settled(host, who, num).map(word::Snapshot::pid)
    }

    /// GETVAL and GETPID through a mapping that may only be read: `None` if the lock would be needed.
    #[inline]
    pub fn peek(&self, num: u32) -> Option<(i32, Pid)> {
        let seen = word::read(self.word(num).ok()?);
        (!seen.slow()).then_some((seen.value(), seen.pid()))
    }

    /// GETNCNT and GETZCNT: sleepers whose next obstacle is this semaphore. kernel: count_semcnt(), check_qop().
    pub fn counts<H: Host>(&self, host: &H, who: Caller, num: u32) -> Result<(u32, u32)> {
        self.word(num).map_err(|_| Error::Errno(Errno::EINVAL))?;
        let _locked = self.lock(host, who)?;
        let (mut more, mut zero) = (0, 0);
        let tickets = self.tickets();
        for item in tickets.walk(&self.own.alter).chain(tickets.walk(&self.own.zero)) {
            let (ticket, record) = item?;
            if self.take_out_if_ended(ticket, record)? {
                continue;
            }
            let op = self.ops_of(ticket, record).get(self, record.own.blocked())?;
            if u32::from(op.sem_num) == num {
                if op.sem_op == 0 {
                    zero += 1
                } else if op.sem_op < 0 {
                    more += 1
                }
            }
        }
        Ok((more, zero))
    }

    /// GETALL: all values at one moment.
    pub fn getall<H: Host>(&self, host: &H, who: Caller, mut each: impl FnMut(u32, u16)) -> Result<()> {
        let locked = self.lock(host, who)?;
        for num in 0..self.geometry.nsems {
            self.take(locked.held(), num)?;
        }
        let unnamed = self.nobody_sleeps();
        for num in 0..self.geometry.nsems {
            each(num, word::read(self.word(num)?).value() as u16);
        }
        if unnamed {
            for num in 0..self.geometry.nsems {
                self.take(locked.held(), num)?.release_to_cas();
            }
        }
        Ok(())
    }

    /// SETVAL. # Errors: `EINVAL` (no such semaphore), `ERANGE`.
    pub fn setval<H: Host>(&self, host: &H, who: Caller, num: u32, value: i32) -> Result<()> {
        self.word(num).map_err(|_| Error::Errno(Errno::EINVAL))?;
        if !(0..=SEMVMX).contains(&value) {
            return Err(Error::Errno(Errno::ERANGE));
        }
        let now = host.now();
        let locked = self.lock(host, who)?;
        let mut tx = self.change();
        self.clear_adjustments(&mut tx, num)?;
        let word = self.take(locked.held(), num)?;
        let new = word.seen().with_value(value).with_pid(who.pid);
        word.put(&mut tx, new)?;
        tx.set64(&self.header.ctime, now as u64)?;
        Receipt::leave(host, &mut tx, self.header, 0)?;
        tx.commit();
        self.serve_after_set(host, now, locked, Some(num))
    }

    /// SETALL. `values` gives each semaphore's value; all are in range, or nothing is done. # Errors: `ERANGE`.
    pub fn setall<H: Host>(&self, host: &H, who: Caller, values: impl Fn(u32) -> u16) -> Result<()> {
        if (0..self.geometry.nsems).any(|num| i32::from(values(num)) > SEMVMX) {
            return Err(Error::Errno(Errno::ERANGE));
        }
        let now = host.now();
        let locked = self.lock(host, who)?;
        let mut tx = self.change();
        self.clear_all_adjustments(&mut tx)?;
        for num in 0..self.geometry.nsems {
            let word = self.take(locked.held(), num)?;
            let new = word.seen().with_value(i32::from(values(num))).with_pid(who.pid);
            word.put(&mut tx, new)?;
        }
        tx.set64(&self.header.ctime, now as u64)?;
        Receipt::leave(host, &mut tx, self.header, 0)?;
        tx.commit();
        self.serve_after_set(host, now, locked, None)
    }

    /// Serves sleepers after a value was set; only if somebody was served is it a semop in otime's eyes. `release` is a
    /// semaphore whose word may be given to compare-and-swaps again. kernel: do_smart_update().
    fn serve_after_set<H: Host>(
        &self,
        host: &H,
        now: i64,
        locked: crate::lock::Locked<'r, '_, H>,
        release: Option<u32>,
    ) -> Result<()> {
        let held = locked.held();
        let mut served = self.served();
        self.scan(held, &mut served, Touched::All)?;
        if served.any {
            let time = self.time_for(held, now)?;
            let mut tx = self.change();
            self.stamp(held, &mut tx, time)?;
            tx.commit();
        }
        if let Some(num) = release {
            self.release_unless_named(held, num)?;
        }
        drop(locked);
        served.wake(host);
        Ok(())
    }

    /// Times for IPC_STAT: otime is the latest of all semaphores. kernel: get_semotime().
    pub fn stat(&self) -> Result<Stat> {
        let base = self.own.otime_base.load(Relaxed);
        let mut latest = 0;
        for num in 0..self.geometry.nsems {
            latest = latest.max(word::read(self.word(num)?).time());
        }
        let otime = if latest == 0 { 0 } else { base.wrapping_add(latest).wrapping_sub(1) as i64 };
        Ok(Stat { otime, ctime: self.header.ctime.load(Relaxed) as i64 })
    }

    /// IPC_SET's part: the time of change. Under the lock: a SETVAL that is rolled back restores the time that it found.
    pub fn set_ctime<H: Host>(&self, host: &H, who: Caller, now: i64) -> Result<()> {
        let _locked = self.lock(host, who)?;
        self.header.ctime.store(now as u64, Relaxed);
        Ok(())
    }

    /// How many sleep on the set.
    pub fn sleepers(&self) -> u32 {
        let tickets = self.tickets();
        let both = tickets.walk(&self.own.alter).chain(tickets.walk(&self.own.zero));
        both.filter(|item| item.as_ref().is_ok_and(|(_, record)| !record.has_ended())).count() as u32
    }

    /// IPC_RMID: every sleeper gets EIDRM, every later caller `Removed`. Doing it twice changes nothing.
    pub fn remove<H: Host>(&self, host: &H, who: Caller) -> Result<()> {
        let locked = crate::lock::lock_any(self.header, host, who)?;
        for num in 0..self.geometry.nsems {
            self.take(locked.held(), num)?;
        }
        self.header.state.store(REMOVED, Relaxed);
        for queue in [&self.own.alter, &self.own.zero] {
            self.tickets().refuse_all(|| self.change(), queue, Errno::EIDRM)?;
        }
        drop(locked);
        self.tickets().wake_all(host)
    }

    /// The end of a set whose lock does not come free, or whose tables are spoiled: later callers get `Removed`, and whoever may sleep here is
    /// woken.
    pub fn end_unlocked<H: Host>(&self, host: &H) {
        self.header.state.store(REMOVED, Relaxed);
        self.tickets().wake_everybody(host);
    }
}
