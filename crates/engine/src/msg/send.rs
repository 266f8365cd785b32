//! msgsnd. msgop(2); kernel: do_msgsnd(), pipelined_send().

use super::receive::Wish;
use super::{DRAFT, Queue, SENDER, STAGE};
use crate::atomic::Relaxed;
use crate::error::{Error, Result, Step};
use crate::host::{Caller, Host, Parked};
use crate::journal::Tx;
use crate::lock;
use crate::object::{LIVE, MOVED};
use crate::wait::{DONE, HELD, PARKED, Served, Sleeper, Ticket, WAITING};
use ring3_abi::{Errno, Pid};

/// A message whose text is being copied in, outside of the lock. Its slot belongs to the caller's ticket.
#[derive(Debug)]
pub struct Draft {
    ticket: Ticket,
    link: u32,
    /// Bytes of text.
    pub size: usize,
}

impl<'r> Queue<'r> {
    /// msgsnd of a short text: done, or a ticket to wait with.
    ///
    /// # Errors
    /// `EAGAIN` (`nowait`), `EINVAL` (longer than [`STAGE`]); `Removed`, `Moved`, `Stuck`, `Full`.
    pub fn send_small<H: Host>(
        &self,
        host: &H,
        who: Caller,
        mtype: i64,
        text: &[u8],
        nowait: bool,
    ) -> Result<Step<()>> {
        if text.len() > STAGE {
            return Err(Error::Errno(Errno::EINVAL));
        }
        let now = host.now();
        let locked = self.lock(host, who)?;
        let fits = self.fits(text.len());
        if !fits && nowait {
            return Err(Error::Errno(Errno::EAGAIN));
        }
        let mut tx = self.change();
        let (link, slot) = self.take_slot(&mut tx, mtype, text.len())?;
        self.fill(slot, text)?;
        if !fits {
            let (ticket, record) = self.tickets().take(&mut tx, who, WAITING, now)?;
            record.a.store(link, Relaxed);
            record.b.store(SENDER, Relaxed);
            self.tickets().push(&mut tx, &self.own.senders, ticket)?;
            tx.commit();
            return Ok(Step::Wait(ticket));
        }
        if self.own.receivers.head.load(Relaxed) == 0 {
            tx.set64(&self.own.sent, self.stamp(who.pid, now))?;
            self.append(&mut tx, link, slot)?;
            tx.commit();
            return Ok(Step::Done(()));
        }
        let mut served = Served::new(self.tickets());
        self.deliver(host, &mut tx, &mut served, link, who.pid, now)?;
        tx.commit();
        drop(locked);
        served.wake(host);
        Ok(Step::Done(()))
    }

    /// Takes room for a text that the caller copies in afterwards. # Errors: `Full`, and the lock's.
    pub fn reserve<H: Host>(&self, host: &H, who: Caller, size: usize) -> Result<Draft> {
        let _locked = self.lock(host, who)?;
        let mut tx = self.change();
        let (link, _) = self.take_slot(&mut tx, 0, size)?;
        let (ticket, record) = self.tickets().take(&mut tx, who, HELD, 0)?;
        record.a.store(link, Relaxed);
        record.b.store(DRAFT, Relaxed);
        tx.commit();
        Ok(Draft { ticket, link, size })
    }

    /// The pieces of a draft's text.
    pub fn draft_pieces(&self, draft: &Draft) -> super::Pieces<'r> {
        self.pieces(draft.link, draft.size, draft.size)
    }

    /// The record of a draft, if the region still says that it is the caller's, and of that size: the size decides over counts and chains.
    fn draft(&self, draft: &Draft, who: Caller) -> Result<&'r Sleeper> {
        let record = self.tickets().own(draft.ticket, who)?;
        let same = record.state.load(Relaxed) == HELD
            && record.a.load(Relaxed) == draft.link
            && record.b.load(Relaxed) == DRAFT
            && self.slot(draft.link)?.size.load(Relaxed) as usize == draft.size;
        if same { Ok(record) } else { Err(Error::Spoiled) }
    }

    /// msgsnd of a text that was copied in.
    ///
    /// # Errors
    /// As [`Queue::send_small`]. After `Stuck` the draft is still there; after `Moved` it is gone, and the text with it.
    pub fn post<H: Host>(
        &self,
        host: &H,
        who: Caller,
        draft: &Draft,
        mtype: i64,
        nowait: bool,
    ) -> Result<Step<()>> {
        let now = host.now();
        let locked = self.lock(host, who)?;
        let record = self.draft(draft, who)?;
        let slot = self.slot(draft.link)?;
        slot.mtype.store(mtype as u64, Relaxed);
        if !self.fits(draft.size) {
            if nowait {
                self.drop_held(draft.ticket, draft.link)?;
                return Err(Error::Errno(Errno::EAGAIN));
            }
            let mut tx = self.change();
            tx.set32(&record.state, WAITING)?;
            record.since.store(now as u64, Relaxed);
            tx.set32(&record.b, SENDER)?;
            self.tickets().push(&mut tx, &self.own.senders, draft.ticket)?;
            tx.commit();
            return Ok(Step::Wait(draft.ticket));
        }
        let mut tx = self.change();
        let mut served = Served::new(self.tickets());
        self.tickets().give(&mut tx, draft.ticket)?;
        self.deliver(host, &mut tx, &mut served, draft.link, who.pid, now)?;
        tx.commit();
        drop(locked);
        served.wake(host);
        Ok(Step::Done(()))
    }

    /// Gives a draft up: the text could not be copied.
    pub fn abandon<H: Host>(&self, host: &H, who: Caller, draft: &Draft) -> Result<()> {
        let _locked = self.lock(host, who)?;
        self.draft(draft, who)?;
        self.drop_held(draft.ticket, draft.link)
    }

    /// Frees a ticket and the slot it owns.
    pub(super) fn drop_held(&self, ticket: Ticket, link: u32) -> Result<()> {
        let mut tx = self.change();
        self.tickets().give(&mut tx, ticket)?;
        if link != 0 {
            self.give_slot(&mut tx, link, self.slot(link)?)?;
        }
        tx.commit();
        Ok(())
    }

    /// Goes on with a sleeping send.
    ///
    /// # Errors
    /// `EIDRM`, `EINTR`; `Moved`: adopt the ticket in the new region.
    pub fn resume_send<H: Host>(
        &self,
        host: &H,
        who: Caller,
        ticket: Ticket,
        why: Parked,
    ) -> Result<Step<()>> {
        let _locked = lock::lock_any(self.header, host, who)?;
        let state = self.header.state.load(Relaxed);
        if state == MOVED {
            return Err(Error::Moved);
        }
        let record = self.tickets().own(ticket, who)?;
        match record.state.load(Relaxed) {
            DONE => {
                let result = record.result.load(Relaxed) as u16;
                self.drop_held(ticket, record.a.load(Relaxed))?;
                if result == 0 { Ok(Step::Done(())) } else { Err(Error::Errno(Errno(result))) }
            }
            WAITING | PARKED if state != LIVE => Err(Error::Removed),
            WAITING | PARKED if why == Parked::Woken => {
                record.state.store(WAITING, Relaxed);
                Ok(Step::Wait(ticket))
            }
            WAITING | PARKED => {
                self.leave(ticket, record)?;
                Err(Error::Errno(if why == Parked::TimedOut { Errno::EAGAIN } else { Errno::EINTR }))
            }
            _ => Err(Error::Spoiled),
        }
    }

    /// Takes a ticket out of its queue, and gives it back with what it owns.
    pub(super) fn leave(&self, ticket: Ticket, record: &Sleeper) -> Result<()> {
        let mut tx = self.change();
        self.tickets().unlink(&mut tx, self.queue_of(record), ticket)?;
        self.tickets().give(&mut tx, ticket)?;
        if record.b.load(Relaxed) == SENDER {
            let link = record.a.load(Relaxed);
            self.give_slot(&mut tx, link, self.slot(link)?)?;
        }
        tx.commit();
        Ok(())
    }

    /// Gives a message to the first receiver whose wish it fits, or puts it into the queue. Receivers that it is too long for
    /// are told so. kernel: pipelined_send().
    pub(super) fn deliver<H: Host>(
        &self,
        host: &H,
        tx: &mut Tx<'r>,
        served: &mut Served<'r>,
        link: u32,
        sender: Pid,
        now: i64,
    ) -> Result<()> {
        tx.set64(&self.own.sent, self.stamp(sender, now))?;
        let slot = self.slot(link)?;
        if self.own.receivers.head.load(Relaxed) == 0 {
            return self.append(tx, link, slot);
        }
        let (mtype, size) = (slot.mtype.load(Relaxed) as i64, slot.size.load(Relaxed) as usize);
        for item in self.tickets().walk(&self.own.receivers) {
            let (ticket, record) = item?;
            let wish = Wish::of(record);
            if !wish.accepts(mtype) {
                continue;
            }
            let too_long = wish.is_too_long(size);
            if !too_long {
                tx.set32(&record.a, link)?;
                tx.set64(&self.own.taken, self.stamp(record.tid.load(Relaxed), now))?;
            }
            let result = if too_long { Errno::E2BIG.0 } else { 0 };
            if self.tickets().serve(tx, &self.own.receivers, ticket, result)? {
                served.add(host, ticket);
            }
            if !too_long {
                return Ok(());
            }
        }
        self.append(tx, link, slot)
    }
}
