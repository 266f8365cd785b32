//! msgget, msgsnd, msgrcv. msgget(2), msgop(2); kernel: ipc/msg.c. msgctl is in `msgctl.rs`.
//!
//! Arguments are checked in the kernel's order, with the kernel's error numbers. Texts of up to [`STAGE`] bytes are staged here and
//! change hands in one cycle of the queue's lock; longer ones are copied into the region, or out of it, outside the lock.

use crate::object::open;
use crate::object::pin;
use crate::object::record::{Handle, Object};
use crate::object::recover::{Tries, recover};
use crate::object::sleeping::{self, Blocking, Cancel, Sleeping};
use crate::process::{self, connection};
use crate::syscall::get;
use crate::syscall::proxy;
use crate::thread::section::{self, Entry, Section};
use crate::thread::sleep::Agent;
use core::mem::MaybeUninit;
use ring3_abi::ipc::{IPC_NOWAIT, READ, WRITE};
use ring3_abi::msg::MSG_NOERROR;
use ring3_abi::{Errno, IpcId, Kind};
use ring3_engine::msg::{Queue, Received, ReceivedText, ReservedMessage, Room, STAGE, Selection, rules};
use ring3_engine::{Caller, Deadline, Error, Parked, Step, Ticket, WaitWord};
use ring3_os::user;
use ring3_wire::request::{Limit, MsgReceive, MsgSend};

const KIND: Kind = Kind::Msg;
/// Size of `mtype` in the caller's message; the text follows.
const TYPE: usize = 8;

/// msgget(2).
pub fn msgget(key: i32, flags: i32) -> Result<usize, Errno> {
    get::get(KIND, key, flags, 0)
}

/// The queue of an object that this process may read and alter.
pub(crate) fn queue_of(object: &Object) -> Option<&Queue<'static>> {
    match &object.handle {
        Handle::Queue(queue) if object.is_writable() => Some(queue),
        _ => None,
    }
}

/// msgsnd(2). A cancellation point while it sleeps.
pub fn msgsnd(id: i32, msgp: usize, size: usize, flags: i32) -> Result<usize, Errno> {
    let entry = section::begin();
    let page = process::ready()?;
    let mtype: i64 = user::read(msgp)?;
    rules::check_send(id, mtype, size, process::limit(Limit::Msgmax)?)?;
    let text = msgp.wrapping_add(TYPE);
    let letter = Letter { id, mtype, text, size, flags, who: process::caller(page), entry: &entry };
    if size <= STAGE {
        let mut stage = [MaybeUninit::<u8>::uninit(); STAGE];
        // SAFETY: STAGE bytes have room, and size is no more.
        unsafe { user::read_raw(text, stage.as_mut_ptr().cast(), size)? };
        // SAFETY: the first `size` bytes were written in the line above.
        let staged = unsafe { core::slice::from_raw_parts(stage.as_ptr().cast::<u8>(), size) };
        return letter.send(|queue, letter, nowait| {
            queue.send_small(&Agent, letter.who, letter.mtype, staged, nowait).map_err(Refused::Engine)
        });
    }
    // The kernel reads the text before it looks the queue up.
    letter.send(Letter::send_large).map_err(|errno| if letter.is_readable() { errno } else { Errno::EFAULT })
}

/// A message that is being sent.
struct Letter<'a> {
    id: IpcId,
    mtype: i64,
    text: usize,
    size: usize,
    flags: i32,
    who: Caller,
    entry: &'a Entry,
}

/// Why a message was not sent.
enum Refused {
    Engine(Error),
    Errno(Errno),
}

impl Letter<'_> {
    fn send(
        &self,
        put: impl Fn(&Queue<'static>, &Letter<'_>, bool) -> Result<Step<()>, Refused>,
    ) -> Result<usize, Errno> {
        let nowait = self.flags & IPC_NOWAIT != 0;
        let mut tries = Tries::default();
        loop {
            let section = section::enter();
            let object = open::open(KIND, self.id)?;
            object.permit(WRITE)?;
            let Some(queue) = queue_of(object) else {
                drop(section);
                return self.by_proxy(Blocking::Allowed);
            };
            match put(queue, self, nowait) {
                Ok(Step::Done(())) => return Ok(0),
                Ok(Step::Wait(ticket)) => {
                    let mut call = Sending { object, queue, letter: self };
                    return sleeping::wait(
                        self.entry,
                        section,
                        &mut call,
                        ticket,
                        Deadline::NEVER,
                        Cancel::Point,
                    )
                    .map(|()| 0);
                }
                Err(Refused::Engine(error)) => recover(object, error, &mut tries)?,
                Err(Refused::Errno(errno)) => return Err(errno),
            }
        }
    }

    fn by_proxy(&self, blocking: Blocking) -> Result<usize, Errno> {
        let head = MsgSend { id: self.id, flags: self.flags, mtype: self.mtype };
        proxy::msgsnd(self.entry, head, self.text, self.size, blocking)
    }

    /// Reserves room, copies the text there outside the lock, posts.
    fn send_large(queue: &Queue<'static>, letter: &Letter<'_>, nowait: bool) -> Result<Step<()>, Refused> {
        let (id, who) = (letter.id, letter.who);
        let reserved = queue.reserve(&Agent, who, letter.size).map_err(Refused::Engine)?;
        if let Err(errno) = letter.write(queue, &reserved) {
            patiently(id, || queue.abandon(&Agent, who, &reserved)).map_err(Refused::Engine)?;
            return Err(Refused::Errno(errno));
        }
        patiently(id, || queue.post(&Agent, who, &reserved, letter.mtype, nowait)).map_err(Refused::Engine)
    }

    fn write(&self, queue: &Queue<'static>, reserved: &ReservedMessage) -> Result<(), Errno> {
        let mut from = self.text;
        for piece in queue.reserved_pieces(reserved) {
            let piece = piece.map_err(|_| Errno::EIDRM)?;
            // SAFETY: a piece is memory of the region, ours until the reserved message message is posted; raw bytes.
            unsafe { user::read_raw(from, piece.ptr, piece.len)? };
            from = from.wrapping_add(piece.len);
        }
        Ok(())
    }

    fn is_readable(&self) -> bool {
        let mut bin = [0u8; 256];
        let mut at = 0;
        while at < self.size {
            let len = (self.size - at).min(bin.len());
            let Some(part) = bin.get_mut(..len) else { return false };
            if user::read_bytes(self.text.wrapping_add(at), part).is_err() {
                return false;
            }
            at += len;
        }
        true
    }
}

/// Does an operation that holds something already: if the lock does not come free it is tried again until it does.
fn patiently<T>(id: IpcId, mut operation: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    loop {
        match operation() {
            Err(Error::Stuck(holder)) => connection::stuck(KIND, id, holder).map_err(Error::Errno)?,
            other => return other,
        }
    }
}

/// A msgsnd that sleeps: its text is in the region already.
struct Sending<'a> {
    object: &'static Object,
    queue: &'static Queue<'static>,
    letter: &'a Letter<'a>,
}

/// The queue's new region and this thread's ticket there.
fn follow(id: IpcId, who: Caller) -> Result<(&'static Object, &'static Queue<'static>, Ticket), Errno> {
    let mut tries = Tries::default();
    loop {
        let object = open::open(KIND, id).map_err(|_| Errno::EIDRM)?;
        let queue = queue_of(object).ok_or(Errno::EACCES)?;
        match queue.adopt(&Agent, who) {
            Ok(ticket) => return Ok((object, queue, ticket.ok_or(Errno::EIDRM)?)),
            Err(error) => recover(object, error, &mut tries)?,
        }
    }
}

impl Sleeping for Sending<'_> {
    type Value = ();
    const KIND: Kind = KIND;

    fn id(&self) -> IpcId {
        self.object.id
    }

    fn wait_word(&self, ticket: Ticket) -> Result<WaitWord<'static>, Error> {
        self.queue.wait_word(ticket)
    }

    fn resume(&mut self, ticket: Ticket, why: Parked) -> Result<Step<()>, Error> {
        self.queue.resume_send(&Agent, self.letter.who, ticket, why)
    }

    fn follow(&mut self) -> Result<Ticket, Errno> {
        let (object, queue, ticket) = follow(self.object.id, self.letter.who)?;
        (self.object, self.queue) = (object, queue);
        Ok(ticket)
    }

    fn by_proxy(&self, _: Deadline, blocking: Blocking) -> Result<(), Errno> {
        self.letter.by_proxy(blocking).map(|_| ())
    }

    fn is_current(&self) -> bool {
        self.object.is_current()
    }
}

/// msgrcv(2). A cancellation point while it sleeps.
pub fn msgrcv(id: i32, msgp: usize, size: usize, msgtyp: i64, flags: i32) -> Result<usize, Errno> {
    let entry = section::begin();
    let page = process::ready()?;
    rules::check_receive(id, size, flags)?;
    let who = process::caller(page);
    let selection = Selection { msgtyp, size, flags };
    let mut stage = [MaybeUninit::<u8>::uninit(); STAGE];
    let len = size.min(STAGE);
    // SAFETY: `len` bytes of the stage, zeroed before a slice is made of them.
    let stage = unsafe {
        stage.as_mut_ptr().cast::<u8>().write_bytes(0, len);
        core::slice::from_raw_parts_mut(stage.as_mut_ptr().cast::<u8>(), len)
    };
    let mut tries = Tries::default();
    // A long text is copied out of the region after the lock is given back.
    let mut copying = None;
    loop {
        let section = section::enter();
        let mut object = open::open(KIND, id)?;
        if size > STAGE {
            copying = copying.or_else(|| Some(pin::pin(KIND, id)));
            object = open::open(KIND, id)?;
        }
        object.permit(READ)?;
        let Some(queue) = queue_of(object) else {
            drop(section);
            return proxy::msgrcv(&entry, asked(id, selection), msgp, Blocking::Allowed);
        };
        let mut call = Receiving { object, queue, who, msgp, selection, stage: &mut *stage, entry: &entry };
        let step = if rules::copies(flags) {
            call.copy()
        } else {
            queue.receive(&Agent, who, call.selection, call.stage)
        };
        match step {
            Ok(Step::Done(received)) => return call.deliver(received, section),
            Ok(Step::Wait(ticket)) => {
                return sleeping::wait(&entry, section, &mut call, ticket, Deadline::NEVER, Cancel::Point);
            }
            Err(error) => recover(object, error, &mut tries)?,
        }
    }
}

/// A selection as the broker is told it.
fn asked(id: IpcId, selection: Selection) -> MsgReceive {
    MsgReceive { id, flags: selection.flags, msgtyp: selection.msgtyp, size: selection.size as u64 }
}

/// A msgrcv.
struct Receiving<'a> {
    object: &'static Object,
    queue: &'static Queue<'static>,
    who: Caller,
    msgp: usize,
    selection: Selection,
    stage: &'a mut [u8],
    entry: &'a Entry,
}

impl Receiving<'_> {
    /// MSG_COPY: the message at index msgtyp stays. kernel: prepare_copy().
    fn copy(&mut self) -> Result<Step<Received>, Error> {
        let msgmax = process::limit(Limit::Msgmax).map_err(Error::Errno)? as usize;
        let noerror = self.selection.flags & MSG_NOERROR != 0;
        let room = Room { size: self.selection.size, msgmax, noerror };
        self.queue.copy(&Agent, self.who, self.selection.msgtyp, room, self.stage).map(Step::Done)
    }

    /// Hands a message to the caller. Once received it is gone, also if the caller's memory is bad: as in the kernel.
    fn deliver(&self, received: Received, section: Section) -> Result<usize, Errno> {
        match received.pending {
            None => {
                drop(section);
                self.deliver_staged(received.mtype, received.len)
            }
            Some(pending) => self.deliver_pending(received.mtype, received.len, &pending),
        }
    }

    fn deliver_staged(&self, mtype: i64, len: usize) -> Result<usize, Errno> {
        user::write(self.msgp, &mtype)?;
        let text = self.stage.get(..len).ok_or(Errno::EIDRM)?;
        user::write_bytes(self.msgp.wrapping_add(TYPE), text)?;
        Ok(len)
    }

    fn deliver_pending(&self, mtype: i64, len: usize, pending: &ReceivedText) -> Result<usize, Errno> {
        let copied = self.unpack(mtype, len, pending);
        let _ = patiently(self.object.id, || self.queue.release(&Agent, self.who, pending));
        copied.map(|()| len)
    }

    fn unpack(&self, mtype: i64, len: usize, pending: &ReceivedText) -> Result<(), Errno> {
        user::write(self.msgp, &mtype)?;
        let (mut to, mut left) = (self.msgp.wrapping_add(TYPE), len);
        for piece in self.queue.received_pieces(pending) {
            let piece = piece.map_err(|_| Errno::EIDRM)?;
            let part = piece.len.min(left);
            // SAFETY: a piece is memory of the region, ours until the received text is released; raw bytes.
            unsafe { user::write_raw(to, piece.ptr, part)? };
            to = to.wrapping_add(part);
            left -= part;
        }
        Ok(())
    }
}

impl Sleeping for Receiving<'_> {
    type Value = usize;
    const KIND: Kind = KIND;

    fn id(&self) -> IpcId {
        self.object.id
    }

    fn wait_word(&self, ticket: Ticket) -> Result<WaitWord<'static>, Error> {
        self.queue.wait_word(ticket)
    }

    fn resume(&mut self, ticket: Ticket, why: Parked) -> Result<Step<usize>, Error> {
        match self.queue.resume_receive(&Agent, self.who, ticket, self.selection, why, self.stage)? {
            Step::Wait(ticket) => Ok(Step::Wait(ticket)),
            Step::Done(received) => {
                self.deliver(received, section::enter()).map(Step::Done).map_err(Error::Errno)
            }
        }
    }

    fn follow(&mut self) -> Result<Ticket, Errno> {
        let (object, queue, ticket) = follow(self.object.id, self.who)?;
        (self.object, self.queue) = (object, queue);
        Ok(ticket)
    }

    fn by_proxy(&self, _: Deadline, blocking: Blocking) -> Result<usize, Errno> {
        proxy::msgrcv(self.entry, asked(self.object.id, self.selection), self.msgp, blocking)
    }

    fn is_current(&self) -> bool {
        self.object.is_current()
    }
}
