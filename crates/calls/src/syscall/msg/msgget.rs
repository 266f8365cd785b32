//! msgget. msgget(2); kernel: ipc/msg.c, ksys_msgget().

use crate::syscall::get;
use ring3_abi::{Errno, Kind};

/// msgget(2).
pub fn msgget(key: i32, flags: i32) -> Result<usize, Errno> {
    get::get(Kind::Msg, key, flags, 0)
}
