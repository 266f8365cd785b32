//! User, groups and capabilities. setuid(2) and its sisters, capset(2).

use crate::next;
use ring3_calls::syscall::credentials;

macro_rules! changers {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),*);)*) => {$(
        $(#[$doc])*
        pub extern "C" fn $name($($arg: $ty),*) -> i32 {
            credentials::changing(|| next!($name($($arg => $ty),*) -> i32))
        }
    )*};
}

changers! {
    /// setuid(2).
    fn setuid(uid: u32);
    /// setgid(2).
    fn setgid(gid: u32);
    /// seteuid(2).
    fn seteuid(uid: u32);
    /// setegid(2).
    fn setegid(gid: u32);
    /// setreuid(2).
    fn setreuid(real: u32, effective: u32);
    /// setregid(2).
    fn setregid(real: u32, effective: u32);
    /// setresuid(2).
    fn setresuid(real: u32, effective: u32, saved: u32);
    /// setresgid(2).
    fn setresgid(real: u32, effective: u32, saved: u32);
    /// setgroups(2).
    fn setgroups(count: usize, list: usize);
    /// initgroups(3).
    fn initgroups(user: usize, group: u32);
}

/// capset(2): libc changes the calling thread only.
pub extern "C" fn capset(header: usize, data: usize) -> i32 {
    credentials::changing_own(|| next!(capset(header => usize, data => usize) -> i32) as isize) as i32
}
