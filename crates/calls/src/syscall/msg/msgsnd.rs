//! msgsnd. msgop(2); kernel: ipc/msg.c, do_msgsnd().
//!
//! Texts of up to [`STAGE`] bytes are staged here and change hands in one cycle of the queue's lock; longer ones are copied into the
//! region outside the lock.

use crate::object::open;
use crate::object::record::Object;
use crate::object::recover::{Tries, recover};
use crate::object::sleeping::{self, Blocking, Cancel, Sleeping};
use crate::process;
use crate::syscall::msg::queue::{KIND, Message, follow, patiently, queue_at_once, queue_of, text};
use crate::syscall::proxy;
use crate::thread::section::{self, Entry, Section};
use crate::thread::sleep::Agent;
use core::mem::MaybeUninit;
use ring3_abi::ipc::{IPC_NOWAIT, WRITE};
use ring3_abi::{Errno, IpcId, Kind};
use ring3_engine::msg::{Queue, ReservedMessage, SHORT, STAGE, Short, rules};
use ring3_engine::{Caller, Deadline, Error, Host, Parked, Step, Ticket, WaitWord};
use ring3_os::user::UserBytes;
use ring3_wire::request::{Limit, MsgSend};
use zerocopy::IntoBytes;

/// msgsnd(2) if it can be done at once: a short text that fits, with nobody asleep who waits for it. `None`: call [`msgsnd`], which finds every
/// error in its order.
#[inline(always)]
pub fn msgsnd_at_once(id: i32, message: Message, size: usize) -> Option<usize> {
    if size > SHORT {
        return None;
    }
    let section = section::enter();
    let sent = send_at_once(id, message, size, &section);
    drop(section);
    sent
}

#[inline(always)]
fn send_at_once(id: IpcId, message: Message, size: usize, section: &Section) -> Option<usize> {
    // First, while little has to be kept over the calls.
    let now = Agent.now();
    // Zero behind the text: the copy to the region takes all.
    let mut letter: Short = [0; _];
    let room = letter.as_mut_bytes().get_mut(..size_of::<i64>() + size)?;
    message.bytes(room.len()).read(room).ok()?;
    rules::check_send(id, letter[0].cast_signed(), size, process::limit_at_once(Limit::Msgmax)?).ok()?;
    let (queue, who) = queue_at_once(id, section)?;
    queue.send_at_once(&Agent, who, now, &letter, size).then_some(0)
}

/// msgsnd(2). A cancellation point while it sleeps.
pub fn msgsnd(id: i32, message: Message, size: usize, flags: i32) -> Result<usize, Errno> {
    let entry = section::begin();
    let page = process::ready()?;
    let mtype = message.read()?;
    rules::check_send(id, mtype, size, process::limit(Limit::Msgmax)?)?;
    let text = text(message, size)?;
    let letter = Letter { id, mtype, text, flags, who: process::caller(page), entry: &entry };
    let mut stage = [MaybeUninit::uninit(); STAGE];
    if let Some(room) = stage.get_mut(..size) {
        let staged = text.read_to(room)?;
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
    text: UserBytes,
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
        proxy::msgsnd(self.entry, head, self.text, blocking)
    }

    /// Reserves room, copies the text there outside the lock, posts.
    fn send_large(queue: &Queue<'static>, letter: &Letter<'_>, nowait: bool) -> Result<Step<()>, Refused> {
        let (id, who) = (letter.id, letter.who);
        let reserved = queue.reserve(&Agent, who, letter.text.len()).map_err(Refused::Engine)?;
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
            unsafe { from.take(piece.len)?.copy_to(piece.ptr)? };
        }
        Ok(())
    }

    fn is_readable(&self) -> bool {
        let mut bin = [0u8; 256];
        let mut left = self.text;
        while !left.is_empty() {
            let len = left.len().min(bin.len());
            let part = left.take(len).ok().zip(bin.get_mut(..len));
            if part.is_none_or(|(from, to)| from.read(to).is_err()) {
                return false;
            }
        }
        true
    }
}

/// A msgsnd that sleeps: its text is in the region already.
struct Sending<'a> {
    object: &'static Object,
    queue: &'static Queue<'static>,
    letter: &'a Letter<'a>,
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
