//! What the three kinds have in common: get, IPC_STAT and its like, IPC_SET, IPC_RMID, the INFO commands.
//! kernel: ipcget(), ipcctl_obtain_check(), ipc/util.c.

use crate::object::lease::{self, New};
use crate::object::{open, record};
use crate::process::{self, connection, credentials, directory, identity};
use crate::thread::section;
use ring3_abi::ipc::{IPC_CREAT, IPC_EXCL, IPC_PRIVATE, IpcPerm, SEQ_SHIFT, index_of, requested};
use ring3_abi::limits::Limits;
use ring3_abi::shm::{SHM_HUGETLB, SHM_NORESERVE};
use ring3_abi::{Errno, IpcId, Key, Kind};
use ring3_engine::directory::{Directory, Entry};
use ring3_os::map;
use ring3_os::user::UserPtr;
use ring3_wire::Op;
use ring3_wire::reply::Lease;
use ring3_wire::request::{Get, Info, Limit, Object, Set, Stat, StatBy};
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
    let makes = key == IPC_PRIVATE || flags & IPC_CREAT != 0;
    if makes { make(kind, key, flags, size) } else { ask(kind, key, flags, size, 0).map(|(id, _)| id) }
}

/// Something that the directory does not have: made by a lease, if there is one and nothing says that the broker has to decide.
#[inline(never)]
fn make(kind: Kind, key: Key, flags: i32, size: u64) -> Result<usize, Errno> {
    let page = process::ready()?;
    let takes = match kind {
        Kind::Shm => {
            Some(size.div_ceil(map::PAGE as u64)).filter(|_| flags & (SHM_HUGETLB | SHM_NORESERVE) == 0)
        }
        _ => Some(size),
    };
    // A segment goes with its last attachment then, and its key with it.
    let goes = kind == Kind::Shm && process::limit_at_once(Limit::ShmRmidForced) != Some(0);
    // A queue has no size; the others cannot be empty.
    let takes = takes.filter(|&takes| (takes == 0) == (kind == Kind::Msg) && !goes);
    let mode = (flags & 0o777) as u16;
    let make = || takes.and_then(|takes| lease::make(New { kind, key, mode, size, takes }));
    if let Some(id) = make() {
        return Ok(id as usize);
    }
    if takes.is_some() && lease::is_wanted(kind, page) {
        match ask(kind, key, flags, size, 1)? {
            (_, Some(lease)) => lease::keep(kind, &lease),
            (id, None) => return Ok(id),
        }
        if let Some(id) = make() {
            return Ok(id as usize);
        }
    }
    ask(kind, key, flags, size, 0).map(|(id, _)| id)
}

/// Asks the broker.
#[inline(never)]
fn ask(kind: Kind, key: Key, flags: i32, size: u64, lease: u32) -> Result<(usize, Option<Lease>), Errno> {
    let mut buf: connection::Small = [0; 256];
    let body = Get { kind: kind.into(), key, flags, lease, size };
    let answer = connection::call(Op::Get, body.as_bytes(), &[], &mut buf)?;
    Ok((answer.value as usize, answer.body(&buf).ok()))
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

/// The INFO commands of which the directory knows everything. The value is the highest index in use. kernel: ipc_get_maxidx().
pub(crate) fn info<T>(
    kind: Kind,
    arg: UserPtr<T>,
    tell: impl FnOnce(&Limits, Directory<'_>) -> T,
) -> Result<usize, Errno>
where
    T: IntoBytes + Immutable,
{
    process::ready()?;
    lease::settle(kind);
    let (limits, directory) = (process::limits()?, directory::directory()?);
    arg.write(&tell(&limits, directory))?;
    Ok(directory.usage(kind).1.unwrap_or(0) as usize)
}

/// MSG_INFO and SHM_INFO, which tell what is in the objects.
pub(crate) fn usage<T>(kind: Kind, arg: UserPtr<T>) -> Result<usize, Errno>
where
    T: FromBytes + KnownLayout + Immutable + IntoBytes,
{
    process::ready()?;
    let mut buf: connection::Small = [0; 256];
    let body = Info { kind: kind.into(), usage: 1 };
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

/// The object of an IPC_SET that leaves its permission as it is, if it is open here and this thread may do that: nobody has to be told then, and the
/// region keeps the time. In a section.
pub(crate) fn to_set_again(kind: Kind, id: IpcId, perm: &IpcPerm) -> Option<&'static record::Object> {
    let object = record::find(kind, id, identity::current()).filter(|object| object.direct)?;
    let entry = &object.entry;
    let same = (entry.uid, entry.gid) == (perm.uid, perm.gid) && (entry.mode ^ perm.mode) & 0o777 == 0;
    (same && credentials::controls(entry)).then_some(object)
}

/// The object at an index, if it is open here: *_STAT and *_STAT_ANY then ask nobody. In a section.
pub(crate) fn open_at(kind: Kind, index: i32) -> Option<&'static record::Object> {
    let abroad = process::users_abroad() || process::pids_abroad();
    let directory = directory::directory().ok().filter(|_| !abroad)?;
    let entry = directory.entry(kind, index_of(index)?)?;
    record::find(kind, entry.id, identity::current())
}

/// IPC_RMID. Our own mapping goes at once, so that the broker gets the range back.
pub(crate) fn remove(kind: Kind, id: IpcId) -> Result<usize, Errno> {
    if let Some(removed) = lease::remove(kind, id) {
        return removed;
    }
    connection::ask(Op::Remove, &Object { kind: kind.into(), id })?;
    open::forget(kind, id);
    Ok(0)
}

/// `struct ipc64_perm` from the directory's entry.
pub(crate) fn perm(entry: &Entry) -> IpcPerm {
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
