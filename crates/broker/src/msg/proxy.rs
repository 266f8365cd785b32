//! Calls on behalf of a client whose permission fits no mapping: msgsnd, msgrcv.
//! msgop(2); kernel: do_msgsnd(), do_msgrcv().

use super::sleep::{Receiving, Sending};
use super::{KIND, queue};
use crate::namespace::{Namespace, Trouble};
use crate::policy::creds::Creds;
use crate::regions::{copy_in, copy_out, memory_file};
use crate::serve::client::{Answer, Request, Then};
use crate::serve::sleepers::{Call, Progress};
use crate::state::Held;
use ring3_abi::ipc::IPC_NOWAIT;
use ring3_abi::msg::MSG_NOERROR;
use ring3_abi::{Errno, IpcId};
use ring3_engine::msg::{Received, Room, STAGE, Selection, rules};
use ring3_engine::{Caller, Error, Parked, Step};
use ring3_wire::{MAX_PACKET, Packet, request};
use rustix::fs::MemfdFlags;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use zerocopy::IntoBytes;

/// Longest text that a reply carries; longer ones go in a file beside it.
const LONGEST_INLINE: usize = MAX_PACKET - 64;

/// msgsnd.
pub(crate) fn send(ns: &mut Namespace, asked: &Request, packet: &Packet<'_>) -> Result<Progress, Trouble> {
    let (ask, rest) = packet.body_and_rest::<request::MsgSend>()?;
    let creds = &asked.creds;
    let file = asked.fd.as_ref().map(|fd| text_of(fd, ns.limits().msgmax)).transpose()?;
    let text = file.as_deref().unwrap_or(rest);
    rules::check_send(ask.id, ask.mtype, text.len(), ns.limits().msgmax)?;
    let permitted = creds.permits(&ns.object(KIND, ask.id)?.perm, 0o222);
    if asked.again {
        if let Some(done) = ns.done_before(KIND, ask.id, asked.number) {
            done?;
            return Ok(Progress::Done(Answer::default()));
        }
        // A text that was being copied in is dropped.
        reclaimed(ns, ask.id, creds.caller(), 0)?;
    }
    if let Some(progress) = resumed(ns, creds, ask.id, Sending, permitted)? {
        return Ok(progress);
    }
    if !permitted {
        return Err(Errno::EACCES.into());
    }
    let (id, who, nowait) = (ask.id, creds.caller(), ask.flags & IPC_NOWAIT != 0);
    ns.note_user(KIND, id, creds.pid);
    let step = ns.growing(KIND, id, |ns| {
        let queue = queue(ns, id)?;
        if text.len() <= STAGE {
            return queue.send_small(&ns.host, who, ask.mtype, text, nowait);
        }
        let reserved = queue.reserve(&ns.host, who, text.len())?;
        copy_in(queue.reserved_pieces(&reserved), text)?;
        let step = queue.post(&ns.host, who, &reserved, ask.mtype, nowait);
        if matches!(step, Err(Error::Stuck(_))) {
            // The request is run again from its start.
            queue.abandon(&ns.host, who, &reserved)?;
        }
        step
    })?;
    Ok(match step {
        Step::Done(()) => Progress::Done(Answer::default()),
        Step::Wait(ticket) => Progress::Asleep { id, ticket, call: Box::new(Sending), deadline: u64::MAX },
    })
}

/// Goes on with a call that slept in the client, on a queue that the client may not map any more: what is done is done, a sender
/// waits for its turn all the same, a receiver does not. `None`: the thread does not sleep.
fn resumed(
    ns: &mut Namespace,
    creds: &Creds,
    id: IpcId,
    call: impl Call + 'static,
    permitted: bool,
) -> Result<Option<Progress>, Trouble> {
    let who = creds.caller();
    let Some(ticket) = ns.attempt(KIND, id, |ns| call.adopt(ns, id, who))? else {
        return Ok(None);
    };
    if let Some(answer) = call.resume(ns, id, who, ticket, Parked::Woken)? {
        return Ok(Some(Progress::Done(answer)));
    }
    if !permitted && call.wanted() != 0 {
        ns.attempt(KIND, id, |ns| call.withdraw(ns, id, who))?;
        return Err(Errno::EACCES.into());
    }
    ns.note_user(KIND, id, creds.pid);
    Ok(Some(Progress::Asleep { id, ticket, call: Box::new(call), deadline: u64::MAX }))
}

/// kernel: TMPFS_MAGIC.
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

/// The contents of a file that came instead of a text.
fn text_of(fd: &Held, msgmax: i64) -> Result<Vec<u8>, Errno> {
    // Of another file system the reader may have to wait for what some process says.
    let there = rustix::fs::fstatfs(fd).map_err(|_| Errno::EPROTO)?;
    if there.f_type != TMPFS {
        return Err(Errno::EPROTO);
    }
    let file = File::from(fd.as_fd().try_clone_to_owned().map_err(|_| Errno::EMFILE)?);
    let len = file.metadata().map_err(|_| Errno::EPROTO)?.len();
    if i64::try_from(len).is_ok_and(|len| len > msgmax) {
        return Err(Errno::EINVAL);
    }
    let mut text = vec![0; len as usize];
    file.read_exact_at(&mut text, 0).map_err(|_| Errno::EPROTO)?;
    Ok(text)
}

/// msgrcv.
pub(crate) fn receive(ns: &mut Namespace, asked: &Request, packet: &Packet<'_>) -> Result<Progress, Trouble> {
    let creds = &asked.creds;
    let ask = packet.body::<request::MsgReceive>()?;
    let size = usize::try_from(ask.size).map_err(|_| Errno::EINVAL)?;
    rules::check_receive(ask.id, size, ask.flags)?;
    let wanted = Selection { msgtyp: ask.msgtyp, size, flags: ask.flags };
    let permitted = creds.permits(&ns.object(KIND, ask.id)?.perm, 0o444);
    if asked.again
        && let Some(done) = ns.done_before(KIND, ask.id, asked.number)
    {
        done?;
        if let Some(answer) = reclaimed(ns, ask.id, creds.caller(), size)? {
            return Ok(Progress::Done(answer));
        }
    }
    if let Some(progress) = resumed(ns, creds, ask.id, Receiving(wanted), permitted)? {
        return Ok(progress);
    }
    if !permitted {
        return Err(Errno::EACCES.into());
    }
    let (id, who) = (ask.id, creds.caller());
    ns.note_user(KIND, id, creds.pid);
    let msgmax = usize::try_from(ns.limits().msgmax).unwrap_or(0);
    let step = ns.growing(KIND, id, |ns| {
        let queue = queue(ns, id)?;
        // Without a buffer every text stays in the region until it is copied out.
        let step = if rules::copies(ask.flags) {
            let room = Room { size, msgmax, noerror: ask.flags & MSG_NOERROR != 0 };
            Step::Done(queue.copy(&ns.host, who, ask.msgtyp, room, &mut [])?)
        } else {
            queue.receive(&ns.host, who, wanted, &mut [])?
        };
        Ok(match step {
            Step::Done(received) => Ok(unpack(ns, id, who, received)?),
            Step::Wait(ticket) => Err(ticket),
        })
    })?;
    match step {
        Ok(text) => delivery(text).map(Progress::Done),
        Err(ticket) => {
            Ok(Progress::Asleep { id, ticket, call: Box::new(Receiving(wanted)), deadline: u64::MAX })
        }
    }
}

/// A message out of its queue.
#[derive(Debug)]
pub(super) struct Text {
    mtype: i64,
    bytes: Vec<u8>,
    /// Its room in the region.
    held: Option<Then>,
}

/// What a call that was run before has received, if it is there still.
pub(super) fn reclaimed(
    ns: &mut Namespace,
    id: IpcId,
    who: Caller,
    size: usize,
) -> Result<Option<Answer>, Trouble> {
    let text = ns.attempt(KIND, id, |ns| match queue(ns, id)?.reclaim(&ns.host, who, size)? {
        Some(received) => unpack(ns, id, who, received).map(Some),
        None => Ok(None),
    })?;
    text.map(delivery).transpose()
}

/// Gives back the room of a text that was told. If the lock does not come free now, it goes when the receiver's process does.
pub(crate) fn release(ns: &mut Namespace, then: &Then) {
    let _: Result<(), Trouble> =
        ns.attempt(KIND, then.id, |ns| queue(ns, then.id)?.release(&ns.host, then.who, &then.text));
}

/// Copies a received message's text out of the region, where it stays until it is told.
pub(super) fn unpack(ns: &Namespace, id: IpcId, who: Caller, received: Received) -> Result<Text, Error> {
    let queue = queue(ns, id)?;
    let mut bytes = Vec::new();
    let mut held = None;
    if let Some(text) = received.pending {
        bytes = copy_out(queue.received_pieces(&text), received.len)?;
        held = Some(Then { id, who, text });
    }
    bytes.resize(received.len, 0);
    Ok(Text { mtype: received.mtype, bytes, held })
}

/// The answer that delivers a message.
pub(super) fn delivery(text: Text) -> Result<Answer, Trouble> {
    let value = text.bytes.len() as i64;
    let mut body = text.mtype.as_bytes().to_vec();
    if text.bytes.len() <= LONGEST_INLINE {
        body.extend_from_slice(&text.bytes);
        return Ok(Answer { value, body, fd: None, then: text.held });
    }
    let fd = memory_file("ring3-text", MemfdFlags::empty())?;
    let file = File::from(fd);
    file.write_all_at(&text.bytes, 0).map_err(|_| Errno::ENOMEM)?;
    Ok(Answer { value, body, fd: None, then: text.held }.passing(Held::from(OwnedFd::from(file))))
}
