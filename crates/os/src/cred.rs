//! Credentials of the calling thread. geteuid(2), getegid(2), getuid(2), getgid(2), getgroups(2), capget(2).

use crate::arch::{nr, own_syscall};
use ring3_abi::{Errno, Gid, Uid};

/// Effective user.
pub fn euid() -> Uid {
    // SAFETY: no arguments.
    unsafe { own_syscall(nr::GETEUID, [0; 6]) as Uid }
}

/// Real user.
pub fn uid() -> Uid {
    // SAFETY: no arguments.
    unsafe { own_syscall(nr::GETUID, [0; 6]) as Uid }
}

/// Real, effective and saved user. getresuid(2).
pub fn users() -> [Uid; 3] {
    let mut users = [0; 3];
    let [real, effective, saved] = users.each_mut().map(|user| &raw mut *user as usize);
    // SAFETY: three words of ours.
    unsafe { own_syscall(nr::GETRESUID, [real, effective, saved, 0, 0, 0]) };
    users
}

/// Real group.
pub fn gid() -> Gid {
    // SAFETY: no arguments.
    unsafe { own_syscall(nr::GETGID, [0; 6]) as Gid }
}

/// Effective group.
pub fn egid() -> Gid {
    // SAFETY: no arguments.
    unsafe { own_syscall(nr::GETEGID, [0; 6]) as Gid }
}

/// Supplementary groups: fills `into` and answers how many there are. # Errors: `EINVAL` if they are more than fit.
pub fn groups(into: &mut [Gid]) -> Result<usize, Errno> {
    // SAFETY: the slice is ours and as long as we say.
    Errno::decode(unsafe { own_syscall(nr::GETGROUPS, [into.len(), into.as_mut_ptr() as usize, 0, 0, 0, 0]) })
}

/// How many supplementary groups there are.
pub fn group_count() -> usize {
    // SAFETY: a size of 0 asks for the count only.
    Errno::decode(unsafe { own_syscall(nr::GETGROUPS, [0; 6]) }).unwrap_or(0)
}

/// Number of the capability that passes by permission bits of IPC objects.
pub const CAP_IPC_OWNER: u32 = 15;

/// Whether a capability (0 to 63) is effective.
pub fn has_capability(number: u32) -> bool {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let mut data = [0u32; 6];
    // SAFETY: struct __user_cap_header_struct and two __user_cap_data_struct of ours.
    let raw = unsafe {
        own_syscall(nr::CAPGET, [header.as_ptr() as usize, data.as_mut_ptr() as usize, 0, 0, 0, 0])
    };
    let effective = u64::from(data[0]) | u64::from(data[3]) << 32;
    raw == 0 && effective >> number & 1 != 0
}
