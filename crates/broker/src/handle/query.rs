//! IPC_STAT, *_STAT, *_STAT_ANY, IPC_INFO, *_INFO, and what listings need. kernel: msgctl_stat(), semctl_stat(), shmctl_stat(), *_info().

use super::kind_of;
use crate::client::Answer;
use crate::creds::{Capability, Creds};
use crate::limits;
use crate::namespace::{Namespace, Trouble};
use crate::object::{Body, Object};
use crate::segment::Segment;
use ring3_abi::msg::{MSGSEG, MSGSSZ, Msginfo, Msqid};
use ring3_abi::sem::{SEMAEM, SEMVMX, Semid, Seminfo};
use ring3_abi::shm::{ShmInfo, Shmid, Shminfo};
use ring3_abi::{Errno, IpcId, Kind};
use ring3_wire::reply;
use ring3_wire::request::{self, Limit, ProcFile, StatBy};

/// MSGPOOL, MSGMAP and MSGTQL of <linux/msg.h>: constants that IPC_INFO reports.
const MSG_CONSTANTS: (i32, i32, i32) = (512_000, 16384, 16384);
/// SEMMAP, SEMMNU, SEMUME and SEMUSZ of <linux/sem.h>, likewise.
const SEM_CONSTANTS: (i32, i32, i32, i32) = (1_024_000_000, 1_024_000_000, 500, 20);

/// State of an object as the kernel's structure.
pub(crate) fn stat(ns: &mut Namespace, creds: &Creds, ask: &request::Stat) -> Result<Answer, Trouble> {
    let kind = kind_of(ask.kind)?;
    let by = StatBy::from_u32(ask.by).ok_or(Errno::EPROTO)?;
    let id = if by == StatBy::Id { ask.id } else { ns.names(kind).at(ask.id).ok_or(Errno::EINVAL)? };
    let object = ns.object(kind, id)?;
    if by != StatBy::IndexAny && !creds.permits(&object.perm, 0o444) {
        return Err(Errno::EACCES.into());
    }
    let value = if by == StatBy::Id { 0 } else { i64::from(id) };
    Ok(match kind {
        Kind::Msg => Answer::with(value, &queue_state(ns, id)?),
        Kind::Sem => Answer::with(value, &set_state(ns, id)?),
        Kind::Shm => Answer::with(value, &segment_state(ns.object(kind, id)?).ok_or(Errno::EINVAL)?),
    })
}

/// A queue's state.
pub(crate) fn queue_state(ns: &mut Namespace, id: IpcId) -> Result<Msqid, Trouble> {
    let now = ns.attempt(Kind::Msg, id, |ns| ns.queue(id)?.stat(&ns.host, ns.host.me))?;
    Ok(now.msqid(ns.object(Kind::Msg, id)?.perm.to_kernel()))
}

/// A set's state.
pub(crate) fn set_state(ns: &mut Namespace, id: IpcId) -> Result<Semid, Trouble> {
    let now = ns.attempt(Kind::Sem, id, |ns| ns.set(id)?.stat())?;
    let object = ns.object(Kind::Sem, id)?;
    Ok(now.semid(object.perm.to_kernel(), object.entry().size))
}

/// A segment's state.
pub(crate) fn segment_state(object: &Object) -> Option<Shmid> {
    let segment = object.segment()?;
    Some(Shmid {
        perm: object.perm.to_kernel(),
        segsz: segment.size,
        atime: segment.atime,
        dtime: segment.dtime,
        ctime: segment.ctime,
        cpid: segment.cpid.cast_signed(),
        lpid: segment.lpid.cast_signed(),
        nattch: segment.nattch,
        ..Shmid::default()
    })
}

/// Limits, or usage, of a kind.
pub(crate) fn info(ns: &mut Namespace, ask: &request::Info) -> Result<Answer, Trouble> {
    let kind = kind_of(ask.kind)?;
    let highest = ns.names(kind).highest().map_or(0, |index| index as i64);
    let usage = ask.usage != 0;
    Ok(match kind {
        Kind::Msg => Answer::with(highest, &msg_info(ns, usage)?),
        Kind::Sem => Answer::with(highest, &sem_info(ns, usage)),
        Kind::Shm if usage => Answer::with(highest, &shm_usage(ns)),
        Kind::Shm => {
            let limits = ns.limits();
            let shmmni = limits.shmmni.cast_unsigned();
            let (shmmax, shmall) = (limits.shmmax, limits.shmall);
            Answer::with(
                highest,
                &Shminfo { shmmax, shmmin: 1, shmmni, shmseg: shmmni, shmall, unused: [0; 4] },
            )
        }
    })
}

fn msg_info(ns: &mut Namespace, usage: bool) -> Result<Msginfo, Trouble> {
    let (mut msgpool, mut msgmap, mut msgtql) = MSG_CONSTANTS;
    if usage {
        let ids: Vec<IpcId> = ns.names(Kind::Msg).iter().map(|(id, _)| id).collect();
        let (mut count, mut bytes) = (0u64, 0u64);
        for id in &ids {
            match queue_state(ns, *id) {
                Ok(state) => (count, bytes) = (count + state.qnum, bytes + state.cbytes),
                Err(Trouble::Later) => return Err(Trouble::Later),
                Err(Trouble::Errno(_)) => {}
            }
        }
        msgpool = ids.len() as i32;
        (msgmap, msgtql) = (int(count.cast_signed()), int(bytes.cast_signed()));
    }
    let limits = ns.limits();
    Ok(Msginfo {
        msgpool,
        msgmap,
        msgtql,
        msgmax: int(limits.msgmax),
        msgmnb: int(limits.msgmnb),
        msgmni: int(limits.msgmni),
        msgssz: MSGSSZ,
        msgseg: MSGSEG,
        pad: 0,
    })
}

fn sem_info(ns: &Namespace, usage: bool) -> Seminfo {
    let limits = ns.limits();
    let (semmap, semmnu, semume, semusz) = SEM_CONSTANTS;
    let in_use = ns.names(Kind::Sem).in_use() as i32;
    Seminfo {
        semmap,
        semmni: int(limits.semmni),
        semmns: int(limits.semmns),
        semmnu,
        semmsl: int(limits.semmsl),
        semopm: int(limits.semopm),
        semume,
        semusz: if usage { in_use } else { semusz },
        semvmx: SEMVMX,
        semaem: if usage { int(ns.used_sems.cast_signed()) } else { SEMAEM },
    }
}

fn shm_usage(ns: &Namespace) -> ShmInfo {
    let resident: Vec<(u64, u64)> = ns
        .names(Kind::Shm)
        .iter()
        .filter_map(|(_, object)| object.segment().map(Segment::resident))
        .collect();
    ShmInfo {
        used_ids: resident.len() as i32,
        shm_tot: ns.shm_pages,
        shm_rss: resident.iter().map(|pages| pages.0).sum(),
        shm_swp: resident.iter().map(|pages| pages.1).sum(),
        ..ShmInfo::default()
    }
}

fn int(wide: i64) -> i32 {
    i32::try_from(wide).unwrap_or(if wide < 0 { i32::MIN } else { i32::MAX })
}

/// All limits.
pub(crate) fn limits(ns: &Namespace) -> Answer {
    Answer::with(0, ns.limits())
}

/// Whether somebody may set a limit: whose the namespace is, root, and for the wished identifiers who may restore checkpoints.
/// kernel: ipc_permissions(), ipc/ipc_sysctl.c.
pub(crate) fn may_set(ns: &Namespace, creds: &Creds, file: ProcFile) -> bool {
    let wish = matches!(file, ProcFile::MsgNextId | ProcFile::SemNextId | ProcFile::ShmNextId);
    creds.uid == ns.owner
        || creds.uid == 0
        || wish && (creds.capable(Capability::CheckpointRestore) || creds.capable(Capability::SysAdmin))
}

/// Sets one limit.
pub(crate) fn set_limit(
    ns: &mut Namespace,
    creds: &Creds,
    ask: &request::SetLimit,
) -> Result<Answer, Trouble> {
    let which = Limit::from_u32(ask.limit).ok_or(Errno::EINVAL)?;
    if !may_set(ns, creds, ProcFile::Msgmax) {
        return Err(Errno::EPERM.into());
    }
    let mut new = *ns.limits();
    limits::set(&mut new, which, ask.value)?;
    apply_limits(ns, new);
    Ok(Answer::default())
}

/// Puts new limits in force, with what follows from them.
pub(crate) fn apply_limits(ns: &mut Namespace, new: ring3_abi::limits::Limits) {
    ns.set_limits(new);
    if new.shm_rmid_forced != 0 {
        ns.destroy_orphans();
    }
}

/// The first object at or above an index, for listings.
pub(crate) fn detail(ns: &mut Namespace, ask: &request::Detail) -> Result<Answer, Trouble> {
    let kind = kind_of(ask.kind)?;
    let found =
        ns.names(kind).iter().map(|(id, _)| id).find(|&id| {
            ring3_abi::ipc::index_of(id).is_some_and(|index| index as u64 >= u64::from(ask.index))
        });
    let detail = detail_of(ns, kind, found.ok_or(Errno::ENOENT)?)?;
    Ok(Answer::with(0, &detail))
}

/// Everything worth listing of one object.
pub(crate) fn detail_of(ns: &mut Namespace, kind: Kind, id: IpcId) -> Result<reply::Detail, Trouble> {
    // size, count, last use, ctime
    let counts = match kind {
        Kind::Msg => queue_state(ns, id).map(|q| (q.cbytes, q.qnum, q.stime.max(q.rtime), q.ctime)),
        Kind::Sem => {
            let sleepers = ns.set(id).map_or(0, |set| u64::from(set.sleepers()));
            set_state(ns, id).map(|s| (s.nsems, sleepers, s.otime, s.ctime))
        }
        Kind::Shm => {
            let state = segment_state(ns.object(kind, id)?).ok_or(Errno::EINVAL)?;
            Ok((state.segsz, state.nattch, state.atime.max(state.dtime), state.ctime))
        }
    };
    let (size, count, last_use, ctime) = match counts {
        Err(Trouble::Later) => return Err(Trouble::Later),
        // A spoiled region is listed with its names alone.
        other => other.unwrap_or_default(),
    };
    let object = ns.object(kind, id)?;
    debug_assert_eq!(kind, object.kind());
    let size = if matches!(object.body, Body::Queue { .. }) { size } else { object.entry().size };
    let perm = object.perm;
    Ok(reply::Detail {
        index: ring3_abi::ipc::index_of(id).map_or(0, |index| index as u32),
        id,
        key: perm.key,
        mode: perm.mode,
        uid: perm.uid,
        gid: perm.gid,
        cuid: perm.cuid,
        cgid: perm.cgid,
        size,
        count,
        last_use,
        ctime,
        creator: object.creator,
        pad: 0,
        creator_name: object.creator_name,
    })
}
