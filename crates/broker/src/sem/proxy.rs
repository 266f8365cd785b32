//! Calls on behalf of a client whose permission fits no mapping: semop, semctl's values.
//! semop(2), semctl(2); kernel: __do_semtimedop(), semctl_main(), semctl_setval().

use super::sleep::Operating;
use super::{KIND, set};
use crate::abroad::View;
use crate::life::Process;
use crate::namespace::{Namespace, Trouble};
use crate::serve::client::{Answer, Request};
use crate::serve::sleepers::Progress;
use ring3_abi::sem::{GETALL, GETNCNT, GETPID, GETVAL, GETZCNT, SETALL, SETVAL, Sembuf};
use ring3_abi::{Errno, IpcId};
use ring3_engine::sem::rules::{self, Shape};
use ring3_engine::{Caller, Error, Step};
use ring3_wire::{Packet, request};
use zerocopy::{FromBytes, IntoBytes};

/// semop and semtimedop.
pub(crate) fn semop(ns: &mut Namespace, asked: &Request, packet: &Packet<'_>) -> Result<Progress, Trouble> {
    let creds = &asked.creds;
    let (ask, rest) = packet.body_and_rest::<request::SemOp>()?;
    let ops = <[Sembuf]>::ref_from_bytes(rest).map_err(|_| Errno::EPROTO)?.to_vec();
    if ops.len() as u64 != u64::from(ask.nsops) {
        return Err(Errno::EPROTO.into());
    }
    rules::check_count(ops.len(), ns.limits().semopm)?;
    if ask.id < 0 {
        return Err(Errno::EINVAL.into());
    }
    let object = ns.object(KIND, ask.id)?;
    let shape = Shape::of(&ops);
    let allowed = shape.check(&ops, object.size, |bits| creds.permit(&object.perm, bits.cast_signed()));
    let life = ns.processes.get(&creds.pid).map_or(0, Process::life);
    let who = Caller { life, ..creds.caller() };
    if asked.again
        && let Some(done) = ns.done_before(KIND, ask.id, asked.number)
    {
        done?;
        return Ok(Progress::Done(Answer::default()));
    }
    // A sleeper whose set was moved and who may not map it any more goes on sleeping, as in the kernel.
    let asleep = ns.attempt(KIND, ask.id, |ns| set(ns, ask.id)?.adopt(&ns.host, who))?;
    let deadline = ask.deadline;
    if let Some(ticket) = asleep {
        return Ok(Progress::Asleep { id: ask.id, ticket, call: Box::new(Operating), deadline });
    }
    ns.note_user(KIND, ask.id, creds.pid);
    if let Err(errno) = allowed {
        if shape.undo {
            ns.growing(KIND, ask.id, |ns| set(ns, ask.id)?.claim_row(&ns.host, who))?;
        }
        return Err(errno.into());
    }
    Ok(match ns.growing(KIND, ask.id, |ns| set(ns, ask.id)?.semop(&ns.host, who, &ops))? {
        Step::Done(()) => Progress::Done(Answer::default()),
        Step::Wait(ticket) => Progress::Asleep { id: ask.id, ticket, call: Box::new(Operating), deadline },
    })
}

/// semctl's commands on values.
pub(crate) fn semctl(ns: &mut Namespace, asked: &Request, packet: &Packet<'_>) -> Result<Answer, Trouble> {
    let creds = &asked.creds;
    let (ask, rest) = packet.body_and_rest::<request::SemCtl>()?;
    if ask.cmd == SETVAL {
        rules::check_value(ask.val)?;
    }
    let object = ns.object(KIND, ask.id)?;
    let (perm, nsems) = (object.perm, object.size);
    rules::check_command(ask.cmd, ask.semnum, nsems, |bits| creds.permit(&perm, bits.cast_signed()))?;
    let num = ask.semnum.cast_unsigned();
    let (id, who) = (ask.id, creds.caller());
    if asked.again
        && let Some(done) = ns.done_before(KIND, id, asked.number)
    {
        // Only commands that set something leave a receipt.
        done?;
        return Ok(Answer::default());
    }
    ns.note_user(KIND, id, creds.pid);
    match ask.cmd {
        GETALL => getall(ns, id, who, nsems as usize),
        SETALL => {
            let values = <[u16]>::ref_from_bytes(rest).map_err(|_| Errno::EPROTO)?.to_vec();
            if values.len() as u64 != nsems {
                return Err(Errno::EPROTO.into());
            }
            let value = |num: u32| values.get(num as usize).copied().unwrap_or(0);
            ns.attempt(KIND, id, |ns| set(ns, id)?.setall(&ns.host, who, value))?;
            Ok(Answer::default())
        }
        SETVAL => {
            ns.attempt(KIND, id, |ns| set(ns, id)?.setval(&ns.host, who, num, ask.val))?;
            Ok(Answer::default())
        }
        GETPID => {
            let pid = one_value(ns, id, who, num, GETPID)?;
            Ok(Answer::value(View::of(ns, creds).pid(ns, pid as i32).into()))
        }
        _ => one_value(ns, id, who, num, ask.cmd).map(Answer::value),
    }
}

fn getall(ns: &mut Namespace, id: IpcId, who: Caller, nsems: usize) -> Result<Answer, Trouble> {
    let values = ns.attempt(KIND, id, |ns| {
        let mut values = vec![0u16; nsems];
        set(ns, id)?.getall(&ns.host, who, |num, value| {
            if let Some(place) = values.get_mut(num as usize) {
                *place = value;
            }
        })?;
        Ok(values)
    })?;
    Ok(Answer { body: values.as_bytes().to_vec(), ..Answer::default() })
}

fn one_value(ns: &mut Namespace, id: IpcId, who: Caller, num: u32, cmd: i32) -> Result<i64, Trouble> {
    ns.attempt(KIND, id, |ns| {
        let set = set(ns, id)?;
        match cmd {
            GETVAL => set.getval(&ns.host, who, num).map(i64::from),
            GETPID => set.getpid(&ns.host, who, num).map(i64::from),
            GETNCNT => set.counts(&ns.host, who, num).map(|counts| i64::from(counts.0)),
            GETZCNT => set.counts(&ns.host, who, num).map(|counts| i64::from(counts.1)),
            _ => Err(Error::Errno(Errno::EINVAL)),
        }
    })
}
