//! shmctl. shmctl(2); kernel: ipc/shm.c, ksys_shmctl().

use crate::process::{self, connection};
use crate::syscall::get;
use crate::syscall::shm::look;
use ring3_abi::ipc::{IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT};
use ring3_abi::shm::{SHM_INFO, SHM_LOCK, SHM_STAT, SHM_STAT_ANY, SHM_UNLOCK, ShmInfo, Shmid, Shminfo};
use ring3_abi::{Errno, Kind};
use ring3_os::user::UserPtr;
use ring3_wire::Op;
use ring3_wire::request::{ShmLock, StatBy};

const KIND: Kind = Kind::Shm;

/// shmctl(2).
pub fn shmctl(id: i32, cmd: i32, arg: UserPtr<Shmid>) -> Result<usize, Errno> {
    if id < 0 || cmd < 0 {
        return Err(Errno::EINVAL);
    }
    match cmd {
        IPC_INFO => get::info(KIND, arg.cast(), |limits, _| Shminfo::of(limits)),
        SHM_INFO => get::usage(KIND, arg.cast::<ShmInfo>()),
        IPC_STAT => look::stat(id, StatBy::Id, arg),
        SHM_STAT => look::stat(id, StatBy::Index, arg),
        SHM_STAT_ANY => look::stat(id, StatBy::IndexAny, arg),
        IPC_SET => {
            process::ready()?;
            let new = arg.read()?;
            get::set(KIND, id, &new.perm, 0)
        }
        IPC_RMID => get::remove(KIND, id),
        SHM_LOCK | SHM_UNLOCK => {
            let body = ShmLock { id, lock: u32::from(cmd == SHM_LOCK) };
            connection::ask(Op::ShmLock, &body).map(|_| 0)
        }
        _ => Err(Errno::EINVAL),
    }
}
