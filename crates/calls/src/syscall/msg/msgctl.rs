//! msgctl. msgctl(2); kernel: ipc/msg.c, ksys_msgctl().
//!
//! Who may read and alter a queue asks its region for IPC_STAT; everything else is the broker's to answer.

use crate::object::{open, record};
use crate::process::{self, identity};
use crate::syscall::get;
use crate::syscall::msg::queue::{KIND, queue_of};
use crate::thread::section;
use crate::thread::sleep::Agent;
use ring3_abi::ipc::{IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, READ};
use ring3_abi::msg::{MSG_INFO, MSG_STAT, MSG_STAT_ANY, Msginfo, Msqid};
use ring3_abi::{Errno, IpcId};
use ring3_engine::directory::Directory;
use ring3_os::user::UserPtr;
use ring3_wire::request::StatBy;

/// How many queues MSG_INFO looks at here.
const FEW: usize = 64;

/// msgctl(2).
pub fn msgctl(id: i32, cmd: i32, arg: UserPtr<Msqid>) -> Result<usize, Errno> {
    if id < 0 || cmd < 0 {
        return Err(Errno::EINVAL);
    }
    match cmd {
        IPC_INFO | MSG_INFO => info(cmd == MSG_INFO, arg.cast()),
        IPC_STAT => stat(id, arg),
        MSG_STAT => get::stat_at(KIND, id, StatBy::Index, arg, |id| stat(id, arg)),
        MSG_STAT_ANY => get::stat_at(KIND, id, StatBy::IndexAny, arg, |id| stat(id, arg)),
        IPC_SET => {
            process::ready()?;
            let new = arg.read()?;
            get::set(KIND, id, &new.perm, new.qbytes)
        }
        IPC_RMID => get::remove(KIND, id),
        _ => Err(Errno::EINVAL),
    }
}

/// IPC_INFO, and MSG_INFO with `usage`.
fn info(usage: bool, arg: UserPtr<Msginfo>) -> Result<usize, Errno> {
    let _section = section::enter();
    get::info_at_hand(KIND, usage, arg, |directory| {
        let info = Msginfo::of(&directory.limits());
        if usage {
            queued(directory).map(|(queues, count, bytes)| info.with_usage(queues, count, bytes))
        } else {
            Some(info)
        }
    })
}

/// Queues, messages in them, and bytes, if there are few queues and all of them are open here.
fn queued(directory: Directory<'_>) -> Option<(usize, u64, u64)> {
    let (in_use, highest) = directory.usage(KIND);
    let (mut queues, mut count, mut bytes) = (0, 0, 0);
    for index in 0..highest.map_or(0, |highest| highest as usize + 1) {
        if index == FEW {
            return None;
        }
        let Some(entry) = directory.entry(KIND, index) else { continue };
        let state = queue_of(record::find(KIND, entry.id, identity::current())?)?.peek()?;
        (queues, count, bytes) = (queues + 1, count + state.qnum, bytes + state.cbytes);
    }
    // One that was being changed is not among them.
    (queues == in_use as usize).then_some((queues, count, bytes))
}

fn stat(id: IpcId, arg: UserPtr<Msqid>) -> Result<usize, Errno> {
    let section = section::enter();
    let object = open::open(KIND, id)?;
    object.permit(READ)?;
    let who = process::caller(process::ready()?);
    if !process::users_abroad()
        && !process::pids_abroad()
        && let Some(queue) = queue_of(object)
        && let Ok(now) = queue.stat(&Agent, who)
    {
        drop(section);
        return arg.write(&now.msqid(get::perm(&object.entry))).map(|()| 0);
    }
    drop(section);
    get::stat(KIND, id, StatBy::Id, arg)
}
