//! What the three kinds have in common: get, IPC_STAT and its like, IPC_SET, IPC_RMID, the INFO commands.
//! kernel: ipcget(), ipcctl_obtain_check(), ipc/util.c.

use crate::object::{open, record};
use crate::process::{self, connection, credentials, directory, identity};
use crate::thread::section;
use ring3_abi::ipc::{IPC_CREAT, IPC_EXCL, IPC_PRIVATE, IpcPerm, SEQ_SHIFT, requested};
use ring3_abi::{Errno, IpcId, Key, Kind};
use ring3_engine::directory::Entry;
use ring3_os::user::UserPtr;
use ring3_wire::Op;
use ring3_wire::request::{Get, Info, Object, Set, Stat, StatBy};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// msgget, semget, shmget, after the checks of their own.
///
/// A key that the directory knows is decided here, unless the broker has to say what this process may do; everything else, creation above all,
/// by the broker.
pub(crate) fn get(kind: Kind, key: Key, flags: i32, size: u64) -> Result<usize, Errno> {
    process::ready()?;
    if key != IPC_PRIVATE
        && !process::users_abroad()
        && let Some(entry) = directory::whole(kind)?.by_key(kind, key)
    {
        return existing(kind, &entry, flags, size);
    }
    let body = Get { kind: kind.into(), key, flags, pad: 0, size };
    connection::ask(Op::Get, &body).map(|id| id as usize)
}

/// kernel: ipcget_public(), the branch with an object.
fn existing(kind: Kind, entry: &Entry, flags: i32, size: u64) -> Result<usize, Errno> {
    if flags & IPC_CREAT != 0 && flags & IPC_EXCL != 0 {
        return Err(Errno::EEXIST);
    }
    if kind != Kind::Msg && size > entry.size {
        return Err(Errno::EINVAL);
    }
    let wanted = requested(flags);
    let _section = section::enter();
    if wanted != 0 {
        match record::find(kind, entry.id, identity::current()) {
            Some(object) => object.permit(wanted)?,
            None if credentials::granted(entry) & wanted != wanted => return Err(Errno::EACCES),
            None => {}
        }
    }
    Ok(entry.id as usize)
}

/// IPC_STAT, *_STAT, *_STAT_ANY by the broker. `T` is the kind's structure.
pub(crate) fn stat<T>(kind: Kind, id: IpcId, by: StatBy, arg: UserPtr<T>) -> Result<usize, Errno>
where
    T: FromBytes + KnownLayout + Immutable + IntoBytes,
{
    process::ready()?;
    let mut buf: connection::Small = [0; 256];
    let body = Stat { kind: kind.into(), id, by: by.into() };
    let answer = connection::call(Op::Stat, body.as_bytes(), &[], &mut buf)?;
    let state: T = answer.body(&buf)?;
    arg.write(&state)?;
    Ok(answer.value as usize)
}

/// IPC_INFO (`usage` 0) and the kind's own INFO (1).
pub(crate) fn info<T>(kind: Kind, usage: u32, arg: UserPtr<T>) -> Result<usize, Errno>
where
    T: FromBytes + KnownLayout + Immutable + IntoBytes,
{
    process::ready()?;
    let mut buf: connection::Small = [0; 256];
    let body = Info { kind: kind.into(), usage };
    let answer = connection::call(Op::Info, body.as_bytes(), &[], &mut buf)?;
    let info: T = answer.body(&buf)?;
    arg.write(&info)?;
    Ok(answer.value as usize)
}

/// IPC_SET.
pub(crate) fn set(kind: Kind, id: IpcId, perm: &IpcPerm, qbytes: u64) -> Result<usize, Errno> {
    let body = Set { kind: kind.into(), id, uid: perm.uid, gid: perm.gid, mode: perm.mode, pad: 0, qbytes };
    connection::ask(Op::Set, &body).map(|_| 0)
}

/// IPC_RMID. Our own mapping goes at once, so that the broker gets the range back.
pub(crate) fn remove(kind: Kind, id: IpcId) -> Result<usize, Errno> {
    connection::ask(Op::Remove, &Object { kind: kind.into(), id })?;
    open::forget(kind, id);
    Ok(0)
}

/// `struct ipc64_perm` from the directory's entry.
pub(crate) fn perm(object: &record::Object) -> IpcPerm {
    let entry = &object.entry;
    IpcPerm {
        key: entry.key,
        uid: entry.uid,
        gid: entry.gid,
        cuid: entry.cuid,
        cgid: entry.cgid,
        mode: entry.mode,
        seq: (entry.id as u32 >> SEQ_SHIFT) as u16,
        ..IpcPerm::default()
    }
}
