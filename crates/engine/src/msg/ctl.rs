//! msgctl's commands on a queue. msgctl(2); kernel: msgctl_down(), msgctl_stat().

use super::Queue;
use super::layout::halves;
use super::part::Record;
use crate::atomic::{Acquire, Relaxed, fence};
use crate::error::Result;
use crate::host::{Caller, Host};
use crate::lock::Locked;
use crate::object::{LIVE, REMOVED};
use crate::ticket::Served;
use ring3_abi::ipc::IpcPerm;
use ring3_abi::msg::Msqid;
use ring3_abi::{Errno, Pid};

/// A queue's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Last send, seconds; 0 never.
    pub stime: i64,
    /// Last receive, seconds; 0 never.
    pub rtime: i64,
    /// Creation or last change, seconds.
    pub ctime: i64,
    /// Bytes queued.
    pub cbytes: u64,
    /// Messages queued.
    pub qnum: u64,
    /// Bytes allowed.
    pub qbytes: u64,
    /// Process of the last send.
    pub lspid: Pid,
    /// Process of the last receive.
    pub lrpid: Pid,
}

impl Stat {
    /// The kernel's structure of it.
    pub fn msqid(&self, perm: IpcPerm) -> Msqid {
        Msqid {
            perm,
            stime: self.stime,
            rtime: self.rtime,
            ctime: self.ctime,
            cbytes: self.cbytes,
            qnum: self.qnum,
            qbytes: self.qbytes,
            lspid: self.lspid.cast_signed(),
            lrpid: self.lrpid.cast_signed(),
            ..Msqid::default()
        }
    }
}

/// How often a reader without the lock looks for a quiet moment.
const LOOKS: u32 = 100;

impl<'r> Queue<'r> {
    /// IPC_STAT, at a moment when no call is half done.
    pub fn stat<H: Host>(&self, host: &H, who: Caller) -> Result<Stat> {
        let _locked = self.lock(host, who)?;
        Ok(self.read_stat())
    }

    /// IPC_STAT through a mapping that may only be read: `None` if a call is always at work, or the queue is not here any more.
    pub fn peek(&self) -> Option<Stat> {
        for _ in 0..LOOKS {
            // ORDERING: Acquire pairs with the lock's Release: what the last holder wrote is seen.
            if self.header.lock.load(Acquire) == 0 {
                let stat = self.read_stat();
                // ORDERING: all is read once before it is read again.
                fence(Acquire);
                if self.read_stat() == stat && self.header.lock.load(Acquire) == 0 {
                    return (self.header.state.load(Relaxed) == LIVE).then_some(stat);
                }
            }
            core::hint::spin_loop();
        }
        None
    }

    /// IPC_STAT of a queue whose lock does not come free: each number is one that was there, though perhaps not all at one moment.
    pub fn glance(&self) -> Stat {
        self.read_stat()
    }

    fn read_stat(&self) -> Stat {
        let (cbytes, qnum) = halves(self.own.counts.load(Relaxed));
        let (lspid, sent) = halves(self.own.sent.load(Relaxed));
        let (lrpid, taken) = halves(self.own.taken.load(Relaxed));
        let base = self.own.base.load(Relaxed) as i64;
        let time = |stamp: u32| if stamp == 0 { 0 } else { base.saturating_add(i64::from(stamp - 1)) };
        Stat {
            stime: time(sent),
            rtime: time(taken),
            ctime: self.header.ctime.load(Relaxed) as i64,
            cbytes: u64::from(cbytes),
            qnum: u64::from(qnum),
            qbytes: self.own.qbytes.load(Relaxed),
            lspid,
            lrpid,
        }
    }

    /// IPC_SET's part: bytes allowed, the time of change; sleeping senders go on as far as there is room now.
    pub fn set_qbytes<H: Host>(&self, host: &H, who: Caller, qbytes: u64) -> Result<()> {
        let now = host.now();
        let locked = self.lock(host, who)?;
        self.set_under(locked, host, qbytes, now)
    }

    /// IPC_SET that leaves everything but the time as it is: done if these are the bytes allowed.
    pub fn set_again<H: Host>(&self, host: &H, who: Caller, qbytes: u64) -> Result<bool> {
        let now = host.now();
        let locked = self.lock(host, who)?;
        let same = self.own.qbytes.load(Relaxed) == qbytes;
        if same {
            self.set_under(locked, host, qbytes, now)?;
        }
        Ok(same)
    }

    fn set_under<H: Host>(&self, locked: Locked<'r, '_, H>, host: &H, qbytes: u64, now: i64) -> Result<()> {
        let mut tx = self.change();
        tx.set64(&self.own.qbytes, qbytes)?;
        tx.set64(&self.header.ctime, now as u64)?;
        tx.commit();
        let mut served = Served::new(self.tickets());
        self.admit(&mut served, now)?;
        drop(locked);
        served.wake(host);
        Ok(())
    }

    /// Decides again which sleepers may go on sleeping here, after the permissions changed. Receivers who may not get EACCES now; senders who may not sleep
    /// on until they would be woken because there is room for their message, and get EACCES then, though others may have taken the room. kernel:
    /// msgctl_down() wakes every receiver, which begins again; do_msgsnd() looks at the permission again when it is woken.
    pub fn judge<H: Host>(
        &self,
        host: &H,
        who: Caller,
        may_receive: impl Fn(Caller) -> bool,
        may_send: impl Fn(Caller) -> bool,
    ) -> Result<()> {
        let locked = self.lock(host, who)?;
        let owner = |record: Record<'_>| Caller { pid: record.pid(), tid: record.tid(), life: 0 };
        for item in self.tickets().walk(&self.own.senders) {
            let (_, record) = item?;
            record.judge(if may_send(owner(record)) { 0 } else { Errno::EACCES.0 });
        }
        let mut served = Served::new(self.tickets());
        for item in self.tickets().walk(&self.own.receivers) {
            let (ticket, record) = item?;
            if !may_receive(owner(record)) {
                let mut tx = self.change();
                let wake = self.tickets().serve(&mut tx, &self.own.receivers, ticket, Errno::EACCES.0)?;
                tx.commit();
                if wake {
                    served.add(ticket);
                }
            }
        }
        drop(locked);
        served.wake(host);
        Ok(())
    }

    /// IPC_RMID: every sleeper gets EIDRM, every later caller `Removed`. Doing it twice changes nothing.
    pub fn remove<H: Host>(&self, host: &H, who: Caller) -> Result<()> {
        let locked = crate::lock::lock_any(self.header, host, who)?;
        self.header.state.store(REMOVED, Relaxed);
        for queue in [&self.own.senders, &self.own.receivers] {
            self.tickets().refuse_all(|| self.change(), queue, Errno::EIDRM)?;
        }
        drop(locked);
        self.tickets().wake_all(host)
    }

    /// The end of a queue whose lock does not come free, or whose tables are spoiled: later callers get `Removed`, and whoever may sleep here is
    /// woken.
    pub fn end_unlocked<H: Host>(&self, host: &H) {
        self.header.state.store(REMOVED, Relaxed);
        self.tickets().wake_everybody(host);
    }

    /// How many sleep here: senders, receivers.
    pub fn sleepers(&self) -> (u32, u32) {
        let waits =
            |item: &Result<(_, Record<'_>)>| item.as_ref().is_ok_and(|(_, record)| !record.has_ended());
        let count = |queue| self.tickets().walk(queue).filter(waits).count() as u32;
        (count(&self.own.senders), count(&self.own.receivers))
    }
}
