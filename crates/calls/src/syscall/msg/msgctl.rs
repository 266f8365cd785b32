//! msgctl. msgctl(2); kernel: ipc/msg.c, ksys_msgctl().
//!
//! Who may read and alter a queue asks its region for IPC_STAT; everything else is the broker's to answer.

use crate::object::open;
use crate::process;
use crate::syscall::get;
use crate::syscall::msg::queue::{KIND, queue_of};
use crate::thread::section;
use crate::thread::sleep::Agent;
use ring3_abi::ipc::{IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, READ};
use ring3_abi::msg::{MSG_INFO, MSG_STAT, MSG_STAT_ANY, Msginfo, Msqid};
use ring3_abi::{Errno, IpcId};
use ring3_os::user::UserPtr;
use ring3_wire::request::StatBy;

/// msgctl(2).
pub fn msgctl(id: i32, cmd: i32, arg: UserPtr<Msqid>) -> Result<usize, Errno> {
    if id < 0 || cmd < 0 {
        return Err(Errno::EINVAL);
    }
    match cmd {
        IPC_INFO | MSG_INFO => get::info(KIND, u32::from(cmd == MSG_INFO), arg.cast::<Msginfo>()),
        IPC_STAT => stat(id, arg),
        MSG_STAT => get::stat(KIND, id, StatBy::Index, arg),
        MSG_STAT_ANY => get::stat(KIND, id, StatBy::IndexAny, arg),
        IPC_SET => {
            process::ready()?;
            let new = arg.read()?;
            get::set(KIND, id, &new.perm, new.qbytes)
        }
        IPC_RMID => get::remove(KIND, id),
        _ => Err(Errno::EINVAL),
    }
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
        return arg.write(&now.msqid(get::perm(object))).map(|()| 0);
    }
    drop(section);
    get::stat(KIND, id, StatBy::Id, arg)
}
