//! setns(2). unshare is in `fork.rs`.

use crate::next;
use ring3_calls::syscall::namespace;

/// setns(2).
pub extern "C" fn setns(fd: i32, kind: i32) -> i32 {
    namespace::changing(|| next!(setns(fd => i32, kind => i32) -> i32) as isize) as i32
}
