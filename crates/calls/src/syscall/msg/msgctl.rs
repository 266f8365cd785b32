//! msgctl. msgctl(2); kernel: ipc/msg.c, ksys_msgctl().
//!
//! Who has a queue open asks its region for its state, and sets there what only the region knows; the limits are in the directory; everything else is the
//! broker's to answer.

use crate::object::record::{self, Object};
use crate::object::{lease, open};
use crate::process::{self, directory, identity};
use crate::syscall::get;
use crate::syscall::msg::queue::{KIND, queue_of};
use crate::thread::section;
use crate::thread::sleep::Agent;
use ring3_abi::ipc::{IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, READ};
use ring3_abi::msg::{MSG_INFO, MSG_STAT, MSG_STAT_ANY, Msginfo, Msqid};
use ring3_abi::{Errno, IpcId};
use ring3_engine::directory::Directory;
use ring3_os::user::UserPtr;
use ring3_wire::request::{Limit, StatBy};

/// How many queues MSG_INFO looks at here.
const FEW: usize = 64;

/// msgctl(2).
pub fn msgctl(id: i32, cmd: i32, arg: UserPtr<Msqid>) -> Result<usize, Errno> {
    if id < 0 || cmd < 0 {
        return Err(Errno::EINVAL);
    }
    match cmd {
        IPC_INFO => get::info(KIND, arg.cast(), |limits, _| Msginfo::of(limits)),
        MSG_INFO => usage(arg.cast()),
        IPC_STAT => stat(id, arg),
        MSG_STAT | MSG_STAT_ANY => stat_at(id, cmd, arg),
        IPC_SET => {
            process::ready()?;
            let new = arg.read()?;
            if set_again(id, &new) { Ok(0) } else { get::set(KIND, id, &new.perm, new.qbytes) }
        }
        IPC_RMID => get::remove(KIND, id),
        _ => Err(Errno::EINVAL),
    }
}

/// MSG_INFO.
fn usage(arg: UserPtr<Msginfo>) -> Result<usize, Errno> {
    process::ready()?;
    lease::settle(KIND);
    let section = section::enter();
    let queued = queued(directory::directory()?);
    drop(section);
    match queued {
        Some([queues, messages, bytes]) => {
            get::info(KIND, arg, |limits, _| Msginfo::of(limits).in_use(queues as usize, messages, bytes))
        }
        None => get::usage(KIND, arg),
    }
}

/// Queues, messages in them, and bytes, if there are few queues and all of them are open here. In a section.
fn queued(directory: Directory<'_>) -> Option<[u64; 3]> {
    let (in_use, highest) = directory.usage(KIND);
    let [mut queues, mut messages, mut bytes] = [0; 3];
    for index in 0..highest.map_or(0, |highest| highest as usize + 1) {
        if index == FEW {
            return None;
        }
        let Some(entry) = directory.entry(KIND, index) else { continue };
        let state = queue_of(record::find(KIND, entry.id, identity::current())?)?.peek()?;
        (queues, messages, bytes) = (queues + 1, messages + state.qnum, bytes + state.cbytes);
    }
    // One that was being changed is not among them.
    (queues == u64::from(in_use)).then_some([queues, messages, bytes])
}

fn stat(id: IpcId, arg: UserPtr<Msqid>) -> Result<usize, Errno> {
    let section = section::enter();
    let object = open::open(KIND, id)?;
    object.permit(READ)?;
    if let Some(now) = state(object) {
        drop(section);
        return arg.write(&now).map(|()| 0);
    }
    drop(section);
    get::stat(KIND, id, StatBy::Id, arg)
}

/// MSG_STAT and MSG_STAT_ANY.
#[inline(never)]
fn stat_at(index: i32, cmd: i32, arg: UserPtr<Msqid>) -> Result<usize, Errno> {
    let by = if cmd == MSG_STAT { StatBy::Index } else { StatBy::IndexAny };
    process::ready()?;
    let section = section::enter();
    let found = get::open_at(KIND, index);
    if let Some(object) = found.filter(|_| cmd == MSG_STAT) {
        object.permit(READ)?;
    }
    let now = found.and_then(|object| state(object).map(|now| (now, object.id)));
    drop(section);
    match now {
        Some((now, id)) => arg.write(&now).map(|()| id as usize),
        None => get::stat(KIND, index, by, arg),
    }
}

/// What there is to tell of a queue, if its region is mapped here and this process's numbers are the broker's. In a section.
#[inline(always)]
fn state(object: &Object) -> Option<Msqid> {
    let who = process::caller(process::ready().ok()?);
    let abroad = process::users_abroad() || process::pids_abroad();
    let now = queue_of(object).filter(|_| !abroad)?.stat(&Agent, who).ok()?;
    Some(now.msqid(get::perm(&object.entry)))
}

/// IPC_SET that leaves everything but the time as it is. `false`: the broker does it, or says why not.
fn set_again(id: IpcId, new: &Msqid) -> bool {
    let _section = section::enter();
    let Some(most) = process::limit_at_once(Limit::Msgmnb) else { return false };
    let queue = get::to_set_again(KIND, id, &new.perm).and_then(queue_of);
    // More than the limit needs a capability, though it is there already.
    let (Some(queue), true) = (queue, new.qbytes <= most.cast_unsigned()) else { return false };
    process::ready().is_ok_and(|page| queue.set_again(&Agent, process::caller(page), new.qbytes) == Ok(true))
}
