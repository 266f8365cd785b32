//! msgrcv: which message a caller wants, and how it gets it. msgop(2); kernel: do_msgrcv(), find_msg(), testmsg(), convert_mode().
//!
//! msgtyp 0: the first message. Above 0: the first of that type; with MSG_EXCEPT the first of another. Below 0: the first of the
//! *lowest* type that is not above |msgtyp|. None of them walks along the queue.

use super::layout::{Slot, links};
use super::part::{Purpose, Record};
use super::{Queue, STAGE};
use crate::atomic::Relaxed;
use crate::error::{Error, Result, Step};
use crate::host::{Caller, Host, Parked};
use crate::lock;
use crate::object::Receipt;
use crate::region::Link;
use crate::ticket::{Resumed, Served, Ticket};
use ring3_abi::Errno;
use ring3_abi::ipc::IPC_NOWAIT;
use ring3_abi::msg::{MSG_EXCEPT, MSG_NOERROR};

/// What a caller wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// msgrcv's msgtyp.
    pub msgtyp: i64,
    /// Longest text, bytes.
    pub size: usize,
    /// IPC_NOWAIT, MSG_NOERROR, MSG_EXCEPT.
    pub flags: i32,
}

/// What a caller of MSG_COPY has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Longest text, bytes.
    pub size: usize,
    /// The namespace's msgmax: the kernel's copy has no more room than that.
    pub msgmax: usize,
    /// MSG_NOERROR.
    pub noerror: bool,
}

/// A received message.
#[derive(Debug, PartialEq, Eq)]
pub struct Received {
    /// Its type.
    pub mtype: i64,
    /// Bytes of text for the caller, truncated already.
    pub len: usize,
    /// None: the text is in the caller's buffer. Some: it is to be copied from the text's pieces, and the text released.
    pub pending: Option<ReceivedText>,
}

/// A received text that is still in the region, owned by the caller's ticket.
#[derive(Debug, PartialEq, Eq)]
pub struct ReceivedText {
    ticket: Ticket,
    link: Link<Slot>,
    size: usize,
    /// Its type.
    pub mtype: i64,
    /// Bytes of text for the caller.
    pub len: usize,
}

impl Selection {
    /// Highest type that a negative msgtyp accepts. kernel: convert_mode().
    pub(super) fn limit(self) -> i64 {
        self.msgtyp.checked_neg().unwrap_or(i64::MAX)
    }

    /// Whether a message of this type fits the selection. kernel: testmsg().
    pub(super) fn accepts(self, mtype: i64) -> bool {
        match self.msgtyp {
            0 => true,
            t if t < 0 => mtype <= self.limit(),
            t if self.flags & MSG_EXCEPT != 0 => mtype != t,
            t => mtype == t,
        }
    }

    /// Whether a text of this size gives E2BIG.
    pub(super) fn is_too_long(self, size: usize) -> bool {
        size > self.size && self.flags & MSG_NOERROR == 0
    }
}

impl<'r> Queue<'r> {
    /// The message for a selection, if there is one.
    #[inline]
    fn find(&self, selection: Selection) -> Result<Link<Slot>> {
        match selection.msgtyp {
            0 => Ok(self.first()),
            t if t < 0 => self.first_of_lowest(selection.limit() as u64),
            t if selection.flags & MSG_EXCEPT != 0 => self.first_of_other(t as u64),
            t => self.first_of_type(t as u64),
        }
    }

    /// The first message of another type: along the queue for as many steps as there are types, then the earliest of the other
    /// types' first ones. So neither many messages nor many types make it long.
    fn first_of_other(&self, mtype: u64) -> Result<Link<Slot>> {
        let (mut at, last) = links(self.own.order.load(Relaxed));
        for _ in 0..=self.types() {
            if at.is_none() || self.slot(at)?.mtype.load(Relaxed) != mtype {
                return Ok(at);
            }
            at = if at == last { Link::NONE } else { self.slot(at)?.next.load() };
        }
        let (mut best, mut earliest) = (Link::NONE, u64::MAX);
        self.each_leaf(|leaf| {
            let link = self.first_of(leaf)?;
            if !link.is_none() && self.type_of(leaf)? != mtype {
                let seq = self.slot(link)?.seq.load(Relaxed);
                if best.is_none() || seq < earliest {
                    (best, earliest) = (link, seq);
                }
            }
            Ok(())
        })?;
        Ok(best)
    }

    /// msgrcv: a message, or a ticket to wait with. A short text that `out` has room for is copied there.
    ///
    /// # Errors
    /// `E2BIG`, `ENOMSG` (IPC_NOWAIT); `Removed`, `Moved`, `Stuck`, `Full`.
    pub fn receive<H: Host>(
        &self,
        host: &H,
        who: Caller,
        selection: Selection,
        out: &mut [u8],
    ) -> Result<Step<Received>> {
        let now = host.now();
        let locked = self.lock(host, who)?;
        let link = self.find(selection)?;
        if link.is_none() {
            if selection.flags & IPC_NOWAIT != 0 {
                return Err(Error::Errno(Errno::ENOMSG));
            }
            return self.wait_for(host, who, selection, now).map(Step::Wait);
        }
        let slot = self.slot(link)?;
        let (mtype, size) = (slot.mtype.load(Relaxed) as i64, slot.size.load(Relaxed) as usize);
        if selection.is_too_long(size) {
            return Err(Error::Errno(Errno::E2BIG));
        }
        let len = size.min(selection.size);
        let mut tx = self.change();
        self.detach(&mut tx, link, slot)?;
        tx.set64(&self.own.taken, self.stamp(who.pid, now))?;
        let pending = match out.get_mut(..len) {
            // What is received for somebody else stays until it is told.
            Some(out) if len <= STAGE && host.receipt() == 0 => {
                self.read(slot, out)?;
                self.give_slot(&mut tx, link, slot)?;
                None
            }
            _ => {
                let (ticket, record) = self.tickets().take_to_hold(&mut tx, who, now)?;
                record.own.fill(Purpose::Received, link);
                Some(ReceivedText { ticket, link, size, mtype, len })
            }
        };
        Receipt::leave(host, &mut tx, self.header, 0)?;
        tx.commit();
        if !self.own.senders.is_empty() {
            let mut served = Served::new(self.tickets());
            // The message is received, whatever comes now: if the sleepers' records are spoiled, they will see that themselves.
            let _ = self.admit(&mut served, now);
            drop(locked);
            served.wake(host);
        }
        Ok(Step::Done(Received { mtype, len, pending }))
    }

    fn wait_for<H: Host>(&self, host: &H, who: Caller, selection: Selection, now: i64) -> Result<Ticket> {
        let mut tx = self.change();
        let (ticket, record) = self.tickets().take_to_wait(&mut tx, who, now)?;
        record.own.fill_receiver(selection);
        self.tickets().push(&mut tx, &self.own.receivers, ticket)?;
        record.watch(host);
        tx.commit();
        Ok(ticket)
    }

    /// Goes on with a sleeping receive.
    ///
    /// # Errors
    /// `E2BIG`, `EIDRM`, `EINTR`; `Moved`: adopt the ticket in the new region.
    pub fn resume_receive<H: Host>(
        &self,
        host: &H,
        who: Caller,
        ticket: Ticket,
        selection: Selection,
        why: Parked,
        out: &mut [u8],
    ) -> Result<Step<Received>> {
        let _locked = lock::lock_any(self.header, host, who)?;
        match self.tickets().resume(host, ticket, who, why)? {
            Resumed::Again => Ok(Step::Wait(ticket)),
            Resumed::Over(record, why) => self.end_call(host, ticket, record, why.number()).and(Err(why)),
            Resumed::Served(record, 0) => self.take_out(host, ticket, record, selection, out).map(Step::Done),
            Resumed::Served(record, errno) => {
                self.end_call(host, ticket, record, errno)?;
                Err(Error::Errno(Errno(errno)))
            }
        }
    }

    /// Takes the message that a sender put into a ticket.
    fn take_out<H: Host>(
        &self,
        host: &H,
        ticket: Ticket,
        record: Record<'r>,
        selection: Selection,
        out: &mut [u8],
    ) -> Result<Received> {
        let link = record.own.message();
        let slot = self.slot(link)?;
        let (mtype, size) = (slot.mtype.load(Relaxed) as i64, slot.size.load(Relaxed) as usize);
        let len = size.min(selection.size);
        if let Some(out) = out.get_mut(..len)
            && len <= STAGE
            && host.receipt() == 0
        {
            self.read(slot, out)?;
            self.end(ticket, record)?;
            return Ok(Received { mtype, len, pending: None });
        }
        let mut tx = self.change();
        record.own.become_for(&mut tx, Purpose::Received)?;
        record.hold(&mut tx)?;
        Receipt::leave(host, &mut tx, self.header, 0)?;
        tx.commit();
        Ok(Received { mtype, len, pending: Some(ReceivedText { ticket, link, size, mtype, len }) })
    }

    /// What this thread's call has left half done that was run before on its behalf: a text that it has received is here still, one that was to be sent is
    /// dropped. `size` is the most that it takes.
    pub fn reclaim<H: Host>(&self, host: &H, who: Caller, size: usize) -> Result<Option<Received>> {
        let _locked = lock::lock_any(self.header, host, who)?;
        let mut found = None;
        let held = |record: Record<'_>| record.is_of(who) && record.state().is_held();
        self.tickets().for_each(held, |ticket, record| {
            if record.own.is(Purpose::Reserved) {
                return self.end(ticket, record);
            }
            let (link, slot) = (record.own.message(), self.slot(record.own.message())?);
            let (mtype, whole) = (slot.mtype.load(Relaxed) as i64, slot.size.load(Relaxed) as usize);
            let len = whole.min(size);
            let pending = Some(ReceivedText { ticket, link, size: whole, mtype, len });
            found = Some(Received { mtype, len, pending });
            Ok(())
        })?;
        Ok(found)
    }

    /// The pieces of a received text's text.
    pub fn received_pieces(&self, pending: &ReceivedText) -> super::Pieces<'r> {
        self.pieces(pending.link, pending.size, pending.len)
    }

    /// Gives a received text back, copied or not: the message is received either way. In a region that moved or ended there is nothing to give.
    pub fn release<H: Host>(&self, host: &H, who: Caller, pending: &ReceivedText) -> Result<()> {
        let _locked = match self.lock(host, who) {
            Err(Error::Moved | Error::Removed) => return Ok(()),
            other => other?,
        };
        let record = self.tickets().owned(pending.ticket, who)?;
        let same = record.state().is_held() && record.own.message() == pending.link;
        if same { self.end(pending.ticket, record) } else { Err(Error::Spoiled) }
    }

    /// MSG_COPY: the message at a place in the queue, which stays. The text comes in `out`, or as a received text that is a copy.
    ///
    /// # Errors
    /// `ENOMSG`, `E2BIG`, `EINVAL` (longer than msgmax); `Full`, and the lock's.
    pub fn copy<H: Host>(
        &self,
        host: &H,
        who: Caller,
        place: i64,
        room: Room,
        out: &mut [u8],
    ) -> Result<Received> {
        let _locked = self.lock(host, who)?;
        let none = Error::Errno(Errno::ENOMSG);
        let link = self.at_place(u64::try_from(place).map_err(|_| none)?)?;
        if link.is_none() {
            return Err(none);
        }
        let slot = self.slot(link)?;
        let (mtype, size) = (slot.mtype.load(Relaxed) as i64, slot.size.load(Relaxed) as usize);
        if size > room.size && !room.noerror {
            return Err(Error::Errno(Errno::E2BIG));
        }
        if size > room.size.min(room.msgmax) {
            // kernel: copy_msg() into a message of min(bufsz, msgmax) bytes.
            return Err(Error::Errno(Errno::EINVAL));
        }
        if let Some(out) = out.get_mut(..size)
            && size <= STAGE
            && host.receipt() == 0
        {
            self.read(slot, out)?;
            return Ok(Received { mtype, len: size, pending: None });
        }
        let mut tx = self.change();
        let (twin, copy) = self.take_slot(&mut tx, mtype, size)?;
        self.duplicate(slot, copy, size)?;
        let (ticket, record) = self.tickets().take_to_hold(&mut tx, who, 0)?;
        record.own.fill(Purpose::Received, twin);
        Receipt::leave(host, &mut tx, self.header, 0)?;
        tx.commit();
        Ok(Received {
            mtype,
            len: size,
            pending: Some(ReceivedText { ticket, link: twin, size, mtype, len: size }),
        })
    }
}
