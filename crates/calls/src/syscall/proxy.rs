//! Calls that the broker does on our behalf, because the object may not be mapped here the way the call needs it: write without
//! read, or waiting for zero on a set that may only be read.
//!
//! Each such call has a connection of its own, on which it sleeps, so that other requests go on meanwhile.
//!
//! # Invariants
//! P1. The connection is used with all signals blocked, or from `conclude` while `readable` waits with the program's mask: so a handler never
//!     finds the connection half used.

use crate::object::sleeping::Blocking;
use crate::process::{connection, deputy, identity};
use crate::syscall::msg::queue::{Message, text};
use crate::thread::section::{self, Entry, Waiting};
use core::mem::ManuallyDrop;
use core::sync::atomic::Ordering::Relaxed;
use ring3_abi::sem::{GETALL, SETALL, Sembuf};
use ring3_abi::{Errno, IpcId};
use ring3_engine::Deadline;
use ring3_os::fd::{self, Fd};
use ring3_os::socket::Wait;
use ring3_os::user::UserBytes;
use ring3_os::{map, poll};
use ring3_wire::request::{MsgReceive, MsgSend, SemCtl, SemOp};
use ring3_wire::{MAX_PACKET, Op};
use zerocopy::IntoBytes;

/// Longest text that travels in a packet; the broker draws the line at the same place.
const TEXT: usize = 60 * 1024;

/// The answer's buffer: mapped for the call.
struct Buffer {
    at: usize,
}

impl Buffer {
    fn new() -> Result<Buffer, Errno> {
        Ok(Buffer { at: map::anonymous(MAX_PACKET)?.as_ptr() as usize })
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: MAX_PACKET bytes of our own, mapped by new(), unmapped by drop().
        unsafe { core::slice::from_raw_parts_mut(self.at as *mut u8, MAX_PACKET) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: mapped by new(); no slice of it is left.
        let _ = unsafe { map::unmap(self.at, MAX_PACKET) };
    }
}

/// A call that sleeps in the broker. `head` comes first: the section knows the record by it.
#[repr(C)]
struct Sleeper {
    head: Waiting,
    line: Option<Fd>,
    tag: u32,
    buffer: Buffer,
    outcome: Option<Result<connection::Answer, Errno>>,
}

impl Sleeper {
    /// Takes the answer, if it has come.
    fn look(&mut self, wait: Wait) {
        let Some(line) = &self.line else { return };
        match connection::receive_once(line.raw(), self.tag, self.buffer.bytes(), wait) {
            Ok(Some(answer)) => self.outcome = Some(answer),
            Ok(None) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => self.outcome = Some(Err(Errno::EIDRM)),
        }
    }

    /// Asks for the call's end and takes what it answers.
    fn cancel(&mut self) {
        if let Some(line) = &self.line
            && connection::send(line.raw(), Op::Cancel, self.tag, &[], &[], None).is_err()
        {
            self.outcome = Some(Err(Errno::EIDRM));
        }
        while self.outcome.is_none() {
            self.look(Wait::Block);
        }
        self.line = None;
    }
}

/// Ends the call because a handler is about to run.
///
/// # Safety
/// The section's wrapper passes the armed record, on its own thread, once.
unsafe fn conclude(waiting: *mut Waiting) {
    let _section = section::enter();
    // SAFETY: the record's loop is interrupted in readable() (P1); `waiting` is the record's first field.
    let record = unsafe { &mut *waiting.cast::<Sleeper>() };
    record.cancel();
    record.head.concluded.store(1, Relaxed);
}

/// All signals but those that an instruction of our own may raise: blocked, these would end the process.
const ALL: poll::Mask = !(1 << 3 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 10);

/// A request that may sleep.
#[derive(Clone, Copy)]
struct Request<'a> {
    op: Op,
    body: &'a [u8],
    rest: &'a [u8],
    pass: Option<i32>,
    entry: &'a Entry,
    blocking: Blocking,
}

/// Does one call on a connection of its own, and sleeps until it is answered. Outside any section, if it may stay long.
fn sleep(request: Request<'_>) -> Result<(connection::Answer, Buffer), Errno> {
    // First the mask, then the section: a signal deferred by the section would put a mask of its own in between.
    let mask = poll::set_mask(ALL);
    let result = sleep_masked(request, mask);
    poll::set_mask(mask);
    result
}

fn sleep_masked(request: Request<'_>, mask: poll::Mask) -> Result<(connection::Answer, Buffer), Errno> {
    let section = section::enter();
    // No handler runs from here on but in readable(), where the record is armed.
    let may_sleep = request.blocking == Blocking::Allowed && !request.entry.interrupted();
    let tag = identity::current().next_tag();
    let line = connection::further_line()?;
    connection::send(line.raw(), request.op, tag, request.body, request.rest, request.pass)?;
    let buffer = Buffer::new()?;
    let head = Waiting::new(conclude);
    let mut record = ManuallyDrop::new(Sleeper { head, line: Some(line), tag, buffer, outcome: None });
    let record = (&raw mut record).cast::<Sleeper>();
    // SAFETY: the record lives until it is disarmed below.
    unsafe { section::arm(&section, record.cast()) };
    drop(section);
    // SAFETY: P1: no handler runs but in readable(), where no reference to the record is held.
    while unsafe { (*record).outcome.is_none() } {
        // SAFETY: for the same reason as the block above.
        let Some(line) = (unsafe { (*record).line.as_ref().map(Fd::raw) }) else { break };
        let woken = if may_sleep { poll::readable(line, mask) } else { Err(Errno::EINTR) };
        // SAFETY: for the same reason as the block above.
        let record = unsafe { &mut *record };
        if record.outcome.is_none() {
            if woken == Err(Errno::EINTR) { record.cancel() } else { record.look(Wait::DontWait) }
        }
    }
    section::disarm(&section::enter());
    // SAFETY: disarmed: nobody else knows the record; the original is not used or dropped again.
    let Sleeper { buffer, outcome, .. } = unsafe { record.read() };
    outcome.unwrap_or(Err(Errno::EINTR)).map(|answer| (answer, buffer))
}

/// Does a call that takes descriptors of its own. One that sleeps is not for a task that stands in for the thread: no handler could end it.
fn with_descriptors(
    blocking: Blocking,
    mut run: impl FnMut() -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    if blocking == Blocking::Allowed {
        run().map_err(|errno| if errno == Errno::EMFILE { Errno::ENOMEM } else { errno })
    } else {
        deputy::provided(run)
    }
}

/// semop.
pub(crate) fn semop(
    entry: &Entry,
    id: IpcId,
    ops: &[Sembuf],
    until: Deadline,
    blocking: Blocking,
) -> Result<usize, Errno> {
    let body = SemOp { id, nsops: ops.len() as u32, deadline: until.0 };
    let (op, body, rest) = (Op::SemOp, body.as_bytes(), ops.as_bytes());
    with_descriptors(blocking, || sleep(Request { op, body, rest, pass: None, entry, blocking }).map(|_| 0))
}

/// semctl's commands with at most one value.
pub(crate) fn semctl(id: IpcId, num: i32, cmd: i32, val: i32) -> Result<usize, Errno> {
    connection::ask(Op::SemCtl, &SemCtl { id, semnum: num, cmd, val }).map(|value| value as usize)
}

/// GETALL.
pub(crate) fn get_all(id: IpcId, values: &mut [u8]) -> Result<(), Errno> {
    let mut buffer = Buffer::new()?;
    let body = SemCtl { id, semnum: 0, cmd: GETALL, val: 0 };
    let answer = connection::call(Op::SemCtl, body.as_bytes(), &[], buffer.bytes())?;
    let bytes = buffer.bytes().get(connection::HEAD..connection::HEAD + answer.len).unwrap_or(&[]);
    for (to, from) in values.iter_mut().zip(bytes) {
        *to = *from;
    }
    Ok(())
}

/// SETALL.
pub(crate) fn set_all(id: IpcId, values: &[u8]) -> Result<usize, Errno> {
    let mut buf: connection::Small = [0; 256];
    let body = SemCtl { id, semnum: 0, cmd: SETALL, val: 0 };
    connection::call(Op::SemCtl, body.as_bytes(), values, &mut buf).map(|_| 0)
}

/// msgsnd. A text too long for a packet goes in a memfd.
pub(crate) fn msgsnd(
    entry: &Entry,
    head: MsgSend,
    text: UserBytes,
    blocking: Blocking,
) -> Result<usize, Errno> {
    let (op, body) = (Op::MsgSend, head.as_bytes());
    if text.len() > TEXT {
        return with_descriptors(blocking, || {
            let file = fd::filled(text)?;
            sleep(Request { op, body, rest: &[], pass: Some(file.raw()), entry, blocking }).map(|_| 0)
        });
    }
    let mut staged = Buffer::new()?;
    let part = staged.bytes().get_mut(..text.len()).ok_or(Errno::EINVAL)?;
    text.read(part)?;
    let part = &*part;
    with_descriptors(blocking, || {
        sleep(Request { op, body, rest: part, pass: None, entry, blocking }).map(|_| 0)
    })
}

/// msgrcv.
pub(crate) fn msgrcv(
    entry: &Entry,
    head: MsgReceive,
    message: Message,
    blocking: Blocking,
) -> Result<usize, Errno> {
    with_descriptors(blocking, || receive(entry, head, message, blocking))
}

fn receive(entry: &Entry, head: MsgReceive, message: Message, blocking: Blocking) -> Result<usize, Errno> {
    let (op, body) = (Op::MsgReceive, head.as_bytes());
    let (answer, mut buffer) = sleep(Request { op, body, rest: &[], pass: None, entry, blocking })?;
    let size = head.size as usize;
    let mtype: i64 = answer.body(buffer.bytes())?;
    let len = usize::try_from(answer.value).map_err(|_| Errno::EIDRM)?.min(size);
    message.write(&mtype)?;
    // Received once is received: it is not asked for again.
    answer.descriptor_if_any().map_err(|_| Errno::ENOMEM)?;
    let mut to = text(message, len)?;
    let start = connection::HEAD + 8;
    match answer.fd {
        None => {
            let bytes = buffer.bytes().get(start..start + len).ok_or(Errno::EIDRM)?;
            to.write(bytes)?;
        }
        Some(file) => {
            while !to.is_empty() {
                match fd::read_at_to_user(file.raw(), to, len - to.len())? {
                    0 => return Err(Errno::EIDRM),
                    n => to.take(n)?,
                };
            }
        }
    }
    Ok(len)
}
