//! shmget. shmget(2); kernel: ipc/shm.c, ksys_shmget().

use crate::syscall::get;
use ring3_abi::{Errno, Kind};

/// shmget(2).
pub fn shmget(key: i32, size: usize, flags: i32) -> Result<usize, Errno> {
    get::get(Kind::Shm, key, flags, size as u64)
}
