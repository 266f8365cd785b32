//! msgrcv: which message a caller wants, and how it gets it. msgop(2); kernel: do_msgrcv(), find_msg(), testmsg(), convert_mode().
//!
//! msgtyp 0: the first message. Above 0: the first of that type; with MSG_EXCEPT the first of another. Below 0: the first of the
//! *lowest* type that is not above |msgtyp|. None of them walks along the queue.

use super::layout::halves;
use super::{PARCEL, Queue, RECEIVER, STAGE};
use crate::atomic::Relaxed;
use crate::error::{Error, Result, Step};
use crate::host::{Caller, Host, Parked};
use crate::lock;
use crate::object::{LIVE, MOVED};
use crate::wait::{DONE, HELD, PARKED, Served, Sleeper, Ticket, WAITING};
use ring3_abi::Errno;
use ring3_abi::ipc::IPC_NOWAIT;
use ring3_abi::msg::{MSG_EXCEPT, MSG_NOERROR};

/// What a caller wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
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
    /// None: the text is in the caller's buffer. Some: it is to be copied from the parcel's pieces, and the parcel released.
    pub parcel: Option<Parcel>,
}

/// A received text that is still in the region, owned by the caller's ticket.
#[derive(Debug, PartialEq, Eq)]
pub struct Parcel {
    ticket: Ticket,
    link: u32,
    size: usize,
    /// Its type.
    pub mtype: i64,
    /// Bytes of text for the caller.
    pub len: usize,
}

impl Wish {
    /// A sleeping receiver's wish: `e` msgtyp, `f` size, `c` flags.
    pub(super) fn of(record: &Sleeper) -> Wish {
        Wish {
            msgtyp: record.e.load(Relaxed) as i64,
            size: record.f.load(Relaxed) as usize,
            flags: record.c.load(Relaxed) as i32,
        }
    }

    fn keep(self, record: &Sleeper) {
        record.e.store(self.msgtyp as u64, Relaxed);
        record.f.store(self.size as u64, Relaxed);
        record.c.store(self.flags as u32, Relaxed);
    }

    /// Highest type that a negative msgtyp accepts. kernel: convert_mode().
    fn limit(self) -> i64 {
        self.msgtyp.checked_neg().unwrap_or(i64::MAX)
    }

    /// Whether a message of this type fits the wish. kernel: testmsg().
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
    /// The message for a wish, by link; 0 none.
    #[inline]
    fn find(&self, wish: Wish) -> Result<u32> {
        match wish.msgtyp {
            0 => Ok(halves(self.own.order.load(Relaxed)).0),
            t if t < 0 => self.first_of_lowest(wish.limit() as u64),
            t if wish.flags & MSG_EXCEPT != 0 => self.first_of_other(t as u64),
            t => self.first_of_type(t as u64),
        }
    }

    /// The first message of another type: along the queue for as many steps as there are types, then the earliest of the other
    /// types' first ones. So neither many messages nor many types make it long.
    fn first_of_other(&self, mtype: u64) -> Result<u32> {
        let (mut at, last) = halves(self.own.order.load(Relaxed));
        for _ in 0..=self.types() {
            if at == 0 || self.slot(at)?.mtype.load(Relaxed) != mtype {
                return Ok(at);
            }
            at = if at == last { 0 } else { self.slot(at)?.next.load(Relaxed) };
        }
        let (mut best, mut earliest) = (0, u64::MAX);
        self.each_leaf(|leaf| {
            let link = self.first_of(leaf)?;
            if link != 0 && self.type_of(leaf)? != mtype {
                let seq = self.slot(link)?.seq.load(Relaxed);
                if best == 0 || seq < earliest {
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
        wish: Wish,
        out: &mut [u8],
    ) -> Result<Step<Received>> {
        let now = host.now();
        let locked = self.lock(host, who)?;
        let link = self.find(wish)?;
        if link == 0 {
            if wish.flags & IPC_NOWAIT != 0 {
                return Err(Error::Errno(Errno::ENOMSG));
            }
            return self.wait_for(who, wish, now).map(Step::Wait);
        }
        let slot = self.slot(link)?;
        let (mtype, size) = (slot.mtype.load(Relaxed) as i64, slot.size.load(Relaxed) as usize);
        if wish.is_too_long(size) {
            return Err(Error::Errno(Errno::E2BIG));
        }
        let len = size.min(wish.size);
        let mut tx = self.change();
        self.detach(&mut tx, link, slot)?;
        tx.set64(&self.own.taken, self.stamp(who.pid, now))?;
        let parcel = match out.get_mut(..len) {
            Some(out) if len <= STAGE => {
                self.read(slot, out)?;
                self.give_slot(&mut tx, link, slot)?;
                None
            }
            _ => {
                let (ticket, record) = self.tickets().take(&mut tx, who, HELD, now)?;
                record.a.store(link, Relaxed);
                record.b.store(PARCEL, Relaxed);
                Some(Parcel { ticket, link, size, mtype, len })
            }
        };
        tx.commit();
        if self.own.senders.head.load(Relaxed) != 0 {
            let mut served = Served::new(self.tickets());
            // The message is received, whatever comes now: if the sleepers' records are spoiled, they will see that themselves.
            let _ = self.admit(host, &mut served, now);
            drop(locked);
            served.wake(host);
        }
        Ok(Step::Done(Received { mtype, len, parcel }))
    }

    fn wait_for(&self, who: Caller, wish: Wish, now: i64) -> Result<Ticket> {
        let mut tx = self.change();
        let (ticket, record) = self.tickets().take(&mut tx, who, WAITING, now)?;
        record.a.store(0, Relaxed);
        record.b.store(RECEIVER, Relaxed);
        wish.keep(record);
        self.tickets().push(&mut tx, &self.own.receivers, ticket)?;
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
        wish: Wish,
        why: Parked,
        out: &mut [u8],
    ) -> Result<Step<Received>> {
        let _locked = lock::lock_any(self.header, host, who)?;
        let state = self.header.state.load(Relaxed);
        if state == MOVED {
            return Err(Error::Moved);
        }
        let record = self.tickets().own(ticket, who)?;
        match record.state.load(Relaxed) {
            DONE => {
                let (result, link) = (record.result.load(Relaxed) as u16, record.a.load(Relaxed));
                if result != 0 {
                    self.drop_held(ticket, link)?;
                    return Err(Error::Errno(Errno(result)));
                }
                self.unpack(ticket, record, link, wish, out).map(Step::Done)
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

    /// Takes the message that a sender put into a ticket.
    fn unpack(
        &self,
        ticket: Ticket,
        record: &Sleeper,
        link: u32,
        wish: Wish,
        out: &mut [u8],
    ) -> Result<Received> {
        let slot = self.slot(link)?;
        let (mtype, size) = (slot.mtype.load(Relaxed) as i64, slot.size.load(Relaxed) as usize);
        let len = size.min(wish.size);
        if let Some(out) = out.get_mut(..len)
            && len <= STAGE
        {
            self.read(slot, out)?;
            self.drop_held(ticket, link)?;
            return Ok(Received { mtype, len, parcel: None });
        }
        let mut tx = self.change();
        tx.set32(&record.b, PARCEL)?;
        tx.set32(&record.state, HELD)?;
        tx.commit();
        Ok(Received { mtype, len, parcel: Some(Parcel { ticket, link, size, mtype, len }) })
    }

    /// The pieces of a parcel's text.
    pub fn parcel_pieces(&self, parcel: &Parcel) -> super::Pieces<'r> {
        self.pieces(parcel.link, parcel.size, parcel.len)
    }

    /// Gives a parcel back, copied or not: the message is received either way. In a region that moved or ended there is nothing to give.
    pub fn release<H: Host>(&self, host: &H, who: Caller, parcel: &Parcel) -> Result<()> {
        let _locked = match self.lock(host, who) {
            Err(Error::Moved | Error::Removed) => return Ok(()),
            other => other?,
        };
        let record = self.tickets().own(parcel.ticket, who)?;
        let same = record.state.load(Relaxed) == HELD && record.a.load(Relaxed) == parcel.link;
        if same { self.drop_held(parcel.ticket, parcel.link) } else { Err(Error::Spoiled) }
    }

    /// MSG_COPY: the message at a place in the queue, which stays. The text comes in `out`, or as a parcel that is a copy.
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
        if link == 0 {
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
        {
            self.read(slot, out)?;
            return Ok(Received { mtype, len: size, parcel: None });
        }
        let mut tx = self.change();
        let (twin, copy) = self.take_slot(&mut tx, mtype, size)?;
        self.duplicate(slot, copy, size)?;
        let (ticket, record) = self.tickets().take(&mut tx, who, HELD, 0)?;
        record.a.store(twin, Relaxed);
        record.b.store(PARCEL, Relaxed);
        tx.commit();
        Ok(Received { mtype, len: size, parcel: Some(Parcel { ticket, link: twin, size, mtype, len: size }) })
    }
}
