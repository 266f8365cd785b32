//! msgsnd. msgop(2); kernel: do_msgsnd(), pipelined_send().

use super::layout::{Part, Slot};
use super::part::{Purpose, Record};
use super::{Queue, STAGE};
use crate::atomic::Relaxed;
use crate::error::{Error, Result, Step};
use crate::host::{Caller, Host, Parked};
use crate::journal::Tx;
use crate::lock;
use crate::object::Receipt;
use crate::region::Link;
use crate::ticket::{Resumed, Served, Ticket};
use ring3_abi::{Errno, Pid};

/// A message whose text is being copied in, outside of the lock. Its slot belongs to the caller's ticket.
#[derive(Debug)]
pub struct ReservedMessage {
    ticket: Ticket,
    link: Link<Slot>,
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
            let (ticket, record) = self.tickets().take_to_wait(&mut tx, who, now)?;
            record.own.fill(Purpose::Sender, link);
            self.tickets().push(&mut tx, &self.own.senders, ticket)?;
            record.watch(host);
            tx.commit();
            return Ok(Step::Wait(ticket));
        }
        if self.own.receivers.is_empty() {
            tx.set64(&self.own.sent, self.stamp(who.pid, now))?;
            self.append(&mut tx, link, slot)?;
            Receipt::leave(host, &mut tx, self.header, 0)?;
            tx.commit();
            return Ok(Step::Done(()));
        }
        let mut served = Served::new(self.tickets());
        self.deliver(&mut tx, &mut served, link, who.pid, now)?;
        Receipt::leave(host, &mut tx, self.header, 0)?;
        tx.commit();
        drop(locked);
        served.wake(host);
        Ok(Step::Done(()))
    }

    /// Takes room for a text that the caller copies in afterwards. # Errors: `Full`, and the lock's.
    pub fn reserve<H: Host>(&self, host: &H, who: Caller, size: usize) -> Result<ReservedMessage> {
        let _locked = self.lock(host, who)?;
        let mut tx = self.change();
        let (link, _) = self.take_slot(&mut tx, 0, size)?;
        let (ticket, record) = self.tickets().take_to_hold(&mut tx, who, 0)?;
        record.own.fill(Purpose::Reserved, link);
        tx.commit();
        Ok(ReservedMessage { ticket, link, size })
    }

    /// The pieces of a reserved message's text.
    pub fn reserved_pieces(&self, reserved: &ReservedMessage) -> super::Pieces<'r> {
        self.pieces(reserved.link, reserved.size, reserved.size)
    }

    /// The record of a reserved message, if the region still says that it is the caller's, and of that size: the size decides over counts and chains.
    fn reserved(&self, reserved: &ReservedMessage, who: Caller) -> Result<Record<'r>> {
        let record = self.tickets().owned(reserved.ticket, who)?;
        let same = record.state().is_held()
            && record.own.message() == reserved.link
            && record.own.is(Purpose::Reserved)
            && self.slot(reserved.link)?.size.load(Relaxed) as usize == reserved.size;
        if same { Ok(record) } else { Err(Error::Spoiled) }
    }

    /// msgsnd of a text that was copied in.
    ///
    /// # Errors
    /// As [`Queue::send_small`]. After `Stuck` the reserved message is still there; after `Moved` it is gone, and the text with it.
    pub fn post<H: Host>(
        &self,
        host: &H,
        who: Caller,
        reserved: &ReservedMessage,
        mtype: i64,
        nowait: bool,
    ) -> Result<Step<()>> {
        let now = host.now();
        let locked = self.lock(host, who)?;
        let record = self.reserved(reserved, who)?;
        let slot = self.slot(reserved.link)?;
        slot.mtype.store(mtype as u64, Relaxed);
        if !self.fits(reserved.size) {
            if nowait {
                self.end(reserved.ticket, record)?;
                return Err(Error::Errno(Errno::EAGAIN));
            }
            let mut tx = self.change();
            record.wait(&mut tx, now)?;
            record.own.become_for(&mut tx, Purpose::Sender)?;
            self.tickets().push(&mut tx, &self.own.senders, reserved.ticket)?;
            record.watch(host);
            tx.commit();
            return Ok(Step::Wait(reserved.ticket));
        }
        let mut tx = self.change();
        let mut served = Served::new(self.tickets());
        self.tickets().free(&mut tx, reserved.ticket)?;
        self.deliver(&mut tx, &mut served, reserved.link, who.pid, now)?;
        Receipt::leave(host, &mut tx, self.header, 0)?;
        tx.commit();
        drop(locked);
        served.wake(host);
        Ok(Step::Done(()))
    }

    /// Gives a reserved message up: the text could not be copied.
    pub fn abandon<H: Host>(&self, host: &H, who: Caller, reserved: &ReservedMessage) -> Result<()> {
        let _locked = self.lock(host, who)?;
        let record = self.reserved(reserved, who)?;
        self.end(reserved.ticket, record)
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
        match self.tickets().resume(host, ticket, who, why)? {
            Resumed::Again => Ok(Step::Wait(ticket)),
            Resumed::Over(record, why) => self.end_call(host, ticket, record, why.number()).and(Err(why)),
            Resumed::Served(record, result) => {
                self.end_call(host, ticket, record, result)?;
                if result == 0 { Ok(Step::Done(())) } else { Err(Error::Errno(Errno(result))) }
            }
        }
    }

    /// Gives a message to the first receiver whose selection it fits, or puts it into the queue. Receivers that it is too long for
    /// are told so. kernel: pipelined_send().
    pub(super) fn deliver(
        &self,
        tx: &mut Tx<'r>,
        served: &mut Served<'r, Part>,
        link: Link<Slot>,
        sender: Pid,
        now: i64,
    ) -> Result<()> {
        tx.set64(&self.own.sent, self.stamp(sender, now))?;
        let slot = self.slot(link)?;
        if self.own.receivers.is_empty() {
            return self.append(tx, link, slot);
        }
        let (mtype, size) = (slot.mtype.load(Relaxed) as i64, slot.size.load(Relaxed) as usize);
        for item in self.tickets().walk(&self.own.receivers) {
            let (ticket, record) = item?;
            if record.has_ended() {
                // It owns no message (P1), so this is all that a death leaves.
                self.tickets().unlink(tx, &self.own.receivers, ticket)?;
                self.tickets().free(tx, ticket)?;
                continue;
            }
            let selection = record.own.selection();
            if !selection.accepts(mtype) {
                continue;
            }
            let too_long = selection.is_too_long(size);
            if !too_long {
                record.own.hand_over(tx, link)?;
                tx.set64(&self.own.taken, self.stamp(record.tid(), now))?;
            }
            let result = if too_long { Errno::E2BIG.0 } else { 0 };
            if self.tickets().serve(tx, &self.own.receivers, ticket, result)? {
                served.add(ticket);
            }
            if !too_long {
                return Ok(());
            }
        }
        self.append(tx, link, slot)
    }
}
