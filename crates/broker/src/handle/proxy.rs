//! Calls on behalf of a client whose permission fits no mapping: semop, semctl's values, msgsnd, msgrcv.
//! semop(2), semctl(2), msgop(2); kernel: __do_semtimedop(), semctl_main(), semctl_setval(), do_msgsnd(), do_msgrcv().

use crate::client::{Answer, Request};
use crate::creds::Creds;
use crate::handle::open::enlarge;
use crate::namespace::{Namespace, Trouble};
use crate::regions::{copy_in, copy_out, memory_file};
use crate::sleepers::Call;
use ring3_abi::ipc::IPC_NOWAIT;
use ring3_abi::msg::{MSG_COPY, MSG_EXCEPT, MSG_NOERROR};
use ring3_abi::sem::{GETALL, GETNCNT, GETPID, GETVAL, GETZCNT, SEM_UNDO, SEMVMX, SETALL, SETVAL, Sembuf};
use ring3_abi::{Errno, IpcId, Kind};
use ring3_engine::msg::{Received, Room, STAGE, Wish};
use ring3_engine::{Error, Parked, Step, Ticket};
use ring3_wire::{MAX_PACKET, Packet, request};
use rustix::fs::MemfdFlags;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use zerocopy::{FromBytes, IntoBytes};

/// How far a call got.
#[derive(Debug)]
pub(crate) enum Progress {
    Done(Answer),
    /// It sleeps until this time (nanoseconds of CLOCK_MONOTONIC).
    Asleep {
        id: IpcId,
        ticket: Ticket,
        call: Call,
        deadline: u64,
    },
}

/// Longest text that a reply carries; longer ones go in a file beside it.
const LONGEST_INLINE: usize = MAX_PACKET - 64;

/// Runs an operation, and again in a larger region when this one is full.
fn growing<T>(
    ns: &mut Namespace,
    kind: Kind,
    id: IpcId,
    operation: impl Fn(&Namespace) -> Result<T, Error>,
) -> Result<T, Trouble> {
    loop {
        let result = ns.attempt(kind, id, |ns| match operation(ns) {
            Err(Error::Full) => Ok(None),
            other => other.map(Some),
        })?;
        match result {
            Some(done) => return Ok(done),
            None => enlarge(ns, kind, id)?,
        }
    }
}

/// semop and semtimedop.
pub(crate) fn semop(ns: &mut Namespace, creds: &Creds, packet: &Packet<'_>) -> Result<Progress, Trouble> {
    let (ask, rest) = packet.body_and_rest::<request::SemOp>()?;
    let ops = <[Sembuf]>::ref_from_bytes(rest).map_err(|_| Errno::EPROTO)?.to_vec();
    if ops.len() as u64 != u64::from(ask.nsops) {
        return Err(Errno::EPROTO.into());
    }
    if ops.is_empty() || ask.id < 0 {
        return Err(Errno::EINVAL.into());
    }
    if ops.len() as i64 > ns.limits().semopm {
        return Err(Errno::E2BIG.into());
    }
    let object = ns.object(Kind::Sem, ask.id)?;
    let alters = ops.iter().any(|op| op.sem_op != 0);
    let refusal = if ops.iter().any(|op| u64::from(op.sem_num) >= object.entry().size) {
        Some(Errno::EFBIG)
    } else {
        let permitted = creds.permits(&object.perm, if alters { 0o222 } else { 0o444 });
        (!permitted).then_some(Errno::EACCES)
    };
    let who = creds.caller();
    // A sleeper whose set was moved and who may not map it any more goes on sleeping, as in the kernel.
    let asleep = ns.set(ask.id).and_then(|set| set.find(who)).unwrap_or(None);
    let deadline = ask.deadline;
    if let Some(ticket) = asleep {
        return Ok(Progress::Asleep { id: ask.id, ticket, call: Call::Semop, deadline });
    }
    ns.note_user(Kind::Sem, ask.id, creds.pid);
    if let Some(errno) = refusal {
        if ops.iter().any(|op| op.sem_flg & SEM_UNDO != 0) {
            // As in the kernel, where find_alloc_undo() comes before the checks: the caller's end will count as an operation.
            growing(ns, Kind::Sem, ask.id, |ns| ns.set(ask.id)?.claim_row(&ns.host, who))?;
        }
        return Err(errno.into());
    }
    Ok(match growing(ns, Kind::Sem, ask.id, |ns| ns.set(ask.id)?.semop(&ns.host, who, &ops))? {
        Step::Done(()) => Progress::Done(Answer::default()),
        Step::Wait(ticket) => Progress::Asleep { id: ask.id, ticket, call: Call::Semop, deadline },
    })
}

/// semctl's commands on values.
pub(crate) fn semctl(ns: &mut Namespace, creds: &Creds, packet: &Packet<'_>) -> Result<Answer, Trouble> {
    let (ask, rest) = packet.body_and_rest::<request::SemCtl>()?;
    if ask.cmd == SETVAL && !(0..=SEMVMX).contains(&ask.val) {
        return Err(Errno::ERANGE.into());
    }
    let object = ns.object(Kind::Sem, ask.id)?;
    let nsems = object.entry().size;
    let semnum = u32::try_from(ask.semnum).ok().filter(|&num| u64::from(num) < nsems).ok_or(Errno::EINVAL);
    if ask.cmd == SETVAL {
        semnum?;
    }
    let wanted = if matches!(ask.cmd, SETVAL | SETALL) { 0o222 } else { 0o444 };
    if !creds.permits(&object.perm, wanted) {
        return Err(Errno::EACCES.into());
    }
    let (id, who) = (ask.id, creds.caller());
    ns.note_user(Kind::Sem, id, creds.pid);
    match ask.cmd {
        GETALL => getall(ns, id, who, nsems as usize),
        SETALL => {
            let values = <[u16]>::ref_from_bytes(rest).map_err(|_| Errno::EPROTO)?.to_vec();
            if values.len() as u64 != nsems {
                return Err(Errno::EPROTO.into());
            }
            let value = |num: u32| values.get(num as usize).copied().unwrap_or(0);
            ns.attempt(Kind::Sem, id, |ns| ns.set(id)?.setall(&ns.host, who, value))?;
            Ok(Answer::default())
        }
        SETVAL => {
            let num = semnum?;
            ns.attempt(Kind::Sem, id, |ns| ns.set(id)?.setval(&ns.host, who, num, ask.val))?;
            Ok(Answer::default())
        }
        _ => one_value(ns, id, who, semnum?, ask.cmd).map(Answer::value),
    }
}

fn getall(ns: &mut Namespace, id: IpcId, who: ring3_engine::Caller, nsems: usize) -> Result<Answer, Trouble> {
    let values = ns.attempt(Kind::Sem, id, |ns| {
        let mut values = vec![0u16; nsems];
        ns.set(id)?.getall(&ns.host, who, |num, value| {
            if let Some(place) = values.get_mut(num as usize) {
                *place = value;
            }
        })?;
        Ok(values)
    })?;
    Ok(Answer { body: values.as_bytes().to_vec(), ..Answer::default() })
}

fn one_value(
    ns: &mut Namespace,
    id: IpcId,
    who: ring3_engine::Caller,
    num: u32,
    cmd: i32,
) -> Result<i64, Trouble> {
    ns.attempt(Kind::Sem, id, |ns| {
        let set = ns.set(id)?;
        match cmd {
            GETVAL => set.getval(&ns.host, who, num).map(i64::from),
            GETPID => set.getpid(&ns.host, who, num).map(i64::from),
            GETNCNT => set.counts(&ns.host, who, num).map(|counts| i64::from(counts.0)),
            GETZCNT => set.counts(&ns.host, who, num).map(|counts| i64::from(counts.1)),
            _ => Err(Error::Errno(Errno::EINVAL)),
        }
    })
}

/// msgsnd.
pub(crate) fn send(ns: &mut Namespace, asked: &Request, packet: &Packet<'_>) -> Result<Progress, Trouble> {
    let (ask, rest) = packet.body_and_rest::<request::MsgSend>()?;
    let creds = &asked.creds;
    let file = asked.fd.as_ref().map(|fd| text_of(fd, ns.limits().msgmax)).transpose()?;
    let text = file.as_deref().unwrap_or(rest);
    if text.len() as i64 > ns.limits().msgmax || ask.id < 0 || ask.mtype < 1 {
        return Err(Errno::EINVAL.into());
    }
    let permitted = creds.permits(&ns.object(Kind::Msg, ask.id)?.perm, 0o222);
    if let Some(progress) = resumed(ns, creds, ask.id, Call::Send, permitted)? {
        return Ok(progress);
    }
    if !permitted {
        return Err(Errno::EACCES.into());
    }
    let (id, who, nowait) = (ask.id, creds.caller(), ask.flags & IPC_NOWAIT != 0);
    ns.note_user(Kind::Msg, id, creds.pid);
    let step = growing(ns, Kind::Msg, id, |ns| {
        let queue = ns.queue(id)?;
        if text.len() <= STAGE {
            return queue.send_small(&ns.host, who, ask.mtype, text, nowait);
        }
        let draft = queue.reserve(&ns.host, who, text.len())?;
        copy_in(queue.draft_pieces(&draft), text)?;
        let step = queue.post(&ns.host, who, &draft, ask.mtype, nowait);
        if matches!(step, Err(Error::Stuck(_))) {
            // The request is run again from its start.
            queue.abandon(&ns.host, who, &draft)?;
        }
        step
    })?;
    Ok(match step {
        Step::Done(()) => Progress::Done(Answer::default()),
        Step::Wait(ticket) => Progress::Asleep { id, ticket, call: Call::Send, deadline: u64::MAX },
    })
}

/// Goes on with a call that slept in the client, on a queue that the client may not map any more: what is done is done, a sender
/// waits for its turn all the same, a receiver does not. `None`: the thread does not sleep.
fn resumed(
    ns: &mut Namespace,
    creds: &Creds,
    id: IpcId,
    call: Call,
    permitted: bool,
) -> Result<Option<Progress>, Trouble> {
    let who = creds.caller();
    let Some(ticket) = ns.attempt(Kind::Msg, id, |ns| ns.queue(id)?.adopt(&ns.host, who))? else {
        return Ok(None);
    };
    if let Some(answer) = call.resume(ns, id, who, ticket, Parked::Woken)? {
        return Ok(Some(Progress::Done(answer)));
    }
    if !permitted && matches!(call, Call::Receive(_)) {
        ns.attempt(Kind::Msg, id, |ns| ns.queue(id)?.forsake(&ns.host, who))?;
        return Err(Errno::EACCES.into());
    }
    ns.note_user(Kind::Msg, id, creds.pid);
    Ok(Some(Progress::Asleep { id, ticket, call, deadline: u64::MAX }))
}

/// The contents of a file that came instead of a text.
fn text_of(fd: &OwnedFd, msgmax: i64) -> Result<Vec<u8>, Errno> {
    let file = File::from(fd.try_clone().map_err(|_| Errno::EMFILE)?);
    let len = file.metadata().map_err(|_| Errno::EPROTO)?.len();
    if i64::try_from(len).is_ok_and(|len| len > msgmax) {
        return Err(Errno::EINVAL);
    }
    let mut text = vec![0; len as usize];
    file.read_exact_at(&mut text, 0).map_err(|_| Errno::EPROTO)?;
    Ok(text)
}

/// msgrcv.
pub(crate) fn receive(ns: &mut Namespace, creds: &Creds, packet: &Packet<'_>) -> Result<Progress, Trouble> {
    let ask = packet.body::<request::MsgReceive>()?;
    let size =
        usize::try_from(ask.size).ok().filter(|&size| isize::try_from(size).is_ok()).ok_or(Errno::EINVAL)?;
    if ask.id < 0 {
        return Err(Errno::EINVAL.into());
    }
    let copies = ask.flags & MSG_COPY != 0;
    if copies && (ask.flags & MSG_EXCEPT != 0 || ask.flags & IPC_NOWAIT == 0) {
        return Err(Errno::EINVAL.into());
    }
    let wish = Wish { msgtyp: ask.msgtyp, size, flags: ask.flags };
    let permitted = creds.permits(&ns.object(Kind::Msg, ask.id)?.perm, 0o444);
    if let Some(progress) = resumed(ns, creds, ask.id, Call::Receive(wish), permitted)? {
        return Ok(progress);
    }
    if !permitted {
        return Err(Errno::EACCES.into());
    }
    let (id, who) = (ask.id, creds.caller());
    ns.note_user(Kind::Msg, id, creds.pid);
    let msgmax = usize::try_from(ns.limits().msgmax).unwrap_or(0);
    let step = growing(ns, Kind::Msg, id, |ns| {
        let queue = ns.queue(id)?;
        // Without a buffer every text comes as a parcel.
        let step = if copies {
            let room = Room { size, msgmax, noerror: ask.flags & MSG_NOERROR != 0 };
            Step::Done(queue.copy(&ns.host, who, ask.msgtyp, room, &mut [])?)
        } else {
            queue.receive(&ns.host, who, wish, &mut [])?
        };
        Ok(match step {
            Step::Done(received) => Ok(unpack(ns, id, who, received)?),
            Step::Wait(ticket) => Err(ticket),
        })
    })?;
    match step {
        Ok(text) => delivery(text).map(Progress::Done),
        Err(ticket) => Ok(Progress::Asleep { id, ticket, call: Call::Receive(wish), deadline: u64::MAX }),
    }
}

/// A message out of its queue.
#[derive(Debug)]
pub(crate) struct Text {
    mtype: i64,
    bytes: Vec<u8>,
}

/// Takes a received message's text out of the region.
pub(crate) fn unpack(
    ns: &Namespace,
    id: IpcId,
    who: ring3_engine::Caller,
    received: Received,
) -> Result<Text, Error> {
    let queue = ns.queue(id)?;
    let mut bytes = Vec::new();
    if let Some(parcel) = received.parcel {
        bytes = copy_out(queue.parcel_pieces(&parcel), received.len)?;
        // The message is the caller's: if the lock does not come free now, the ticket goes when its process does.
        let _ = queue.release(&ns.host, who, &parcel);
    }
    bytes.resize(received.len, 0);
    Ok(Text { mtype: received.mtype, bytes })
}

/// The answer that delivers a message.
pub(crate) fn delivery(text: Text) -> Result<Answer, Trouble> {
    let value = text.bytes.len() as i64;
    let mut body = text.mtype.as_bytes().to_vec();
    if text.bytes.len() <= LONGEST_INLINE {
        body.extend_from_slice(&text.bytes);
        return Ok(Answer { value, body, fd: None });
    }
    let fd = memory_file("ring3-text", MemfdFlags::empty())?;
    let file = File::from(fd);
    file.write_all_at(&text.bytes, 0).map_err(|_| Errno::ENOMEM)?;
    Ok(Answer { value, body, fd: Some(file.into()) })
}
