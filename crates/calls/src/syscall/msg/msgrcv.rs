//! msgrcv. msgop(2); kernel: ipc/msg.c, do_msgrcv().
//!
//! Texts of up to [`STAGE`] bytes are staged here and change hands in one cycle of the queue's lock; longer ones are copied out of the
//! region outside the lock.

use crate::object::open;
use crate::object::pin;
use crate::object::record::Object;
use crate::object::recover::{Tries, recover};
use crate::object::sleeping::{self, Blocking, Cancel, Sleeping};
use crate::process;
use crate::syscall::msg::queue::{KIND, Message, follow, patiently, queue_at_once, queue_of, text};
use crate::syscall::proxy;
use crate::thread::section::{self, Entry, Section};
use crate::thread::sleep::Agent;
use core::mem::MaybeUninit;
use ring3_abi::ipc::READ;
use ring3_abi::msg::MSG_NOERROR;
use ring3_abi::{Errno, IpcId, Kind};
use ring3_engine::msg::{Queue, Received, ReceivedText, Room, STAGE, Selection, Short, rules};
use ring3_engine::{Caller, Deadline, Error, Host, Parked, Step, Ticket, WaitWord};
use ring3_wire::request::{Limit, MsgReceive};
use zerocopy::IntoBytes;

/// msgrcv(2) if it can be done at once: a short message is there, and no sender sleeps. `None`: call [`msgrcv`], which finds every error in its
/// order. If the caller's memory is bad the message is gone, as in the kernel.
#[inline(always)]
pub fn msgrcv_at_once(
    id: i32,
    message: Message,
    size: usize,
    msgtyp: i64,
    flags: i32,
) -> Option<Result<usize, Errno>> {
    let section = section::enter();
    let mut letter: Short = [0; _];
    let taken = take_at_once(id, Selection { msgtyp, size, flags }, &mut letter, &section);
    drop(section);
    taken.map(|letter| hand_out(message, letter))
}

#[inline(always)]
fn take_at_once<'a>(
    id: IpcId,
    selection: Selection,
    letter: &'a mut Short,
    section: &Section,
) -> Option<&'a [u8]> {
    rules::check_receive(id, selection.size, selection.flags).ok()?;
    if rules::copies(selection.flags) {
        return None;
    }
    let now = Agent.now();
    let (queue, who) = queue_at_once(id, section)?;
    let len = queue.receive_at_once(&Agent, who, now, selection, letter)?;
    letter.as_bytes().get(..size_of::<i64>() + len)
}

/// Writes a type and a text where the caller wants them.
#[inline(always)]
fn hand_out(message: Message, letter: &[u8]) -> Result<usize, Errno> {
    message.bytes(letter.len()).write(letter).or_else(|_| hand_out_in_parts(message, letter))?;
    Ok(letter.len() - size_of::<i64>())
}

/// The kernel writes the type first, whatever becomes of the text.
#[cold]
#[inline(never)]
fn hand_out_in_parts(message: Message, letter: &[u8]) -> Result<(), Errno> {
    let (mtype, staged) = letter.split_at_checked(size_of::<i64>()).ok_or(Errno::EFAULT)?;
    message.bytes(mtype.len()).write(mtype)?;
    text(message, staged.len())?.write(staged)
}

/// msgrcv(2). A cancellation point while it sleeps.
pub fn msgrcv(id: i32, message: Message, size: usize, msgtyp: i64, flags: i32) -> Result<usize, Errno> {
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
            return proxy::msgrcv(&entry, asked(id, selection), message, Blocking::Allowed);
        };
        let mut call =
            Receiving { object, queue, who, message, selection, stage: &mut *stage, entry: &entry };
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
    message: Message,
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
        self.message.write(&mtype)?;
        let staged = self.stage.get(..len).ok_or(Errno::EIDRM)?;
        text(self.message, len)?.write(staged)?;
        Ok(len)
    }

    fn deliver_pending(&self, mtype: i64, len: usize, pending: &ReceivedText) -> Result<usize, Errno> {
        let copied = self.unpack(mtype, len, pending);
        let _ = patiently(self.object.id, || self.queue.release(&Agent, self.who, pending));
        copied.map(|()| len)
    }

    fn unpack(&self, mtype: i64, len: usize, pending: &ReceivedText) -> Result<(), Errno> {
        self.message.write(&mtype)?;
        let mut to = text(self.message, len)?;
        for piece in self.queue.received_pieces(pending) {
            let piece = piece.map_err(|_| Errno::EIDRM)?;
            let part = to.take(piece.len.min(to.len()))?;
            // SAFETY: a piece is memory of the region, ours until the received text is released; raw bytes.
            unsafe { part.copy_from(piece.ptr)? };
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
        proxy::msgrcv(self.entry, asked(self.object.id, self.selection), self.message, blocking)
    }

    fn is_current(&self) -> bool {
        self.object.is_current()
    }
}
