//! Waiting for a descriptor with another signal mask, and masks. ppoll(2), rt_sigprocmask(2).

use crate::arch::{nr, own_syscall};
use ring3_abi::Errno;

/// A set of signals, bit n-1 for signal n.
pub type Mask = u64;

const SIG_SETMASK: usize = 2;
const POLLIN: u64 = 1;

/// Sets this thread's mask and answers the old one.
pub fn set_mask(new: Mask) -> Mask {
    let mut old: Mask = 0;
    let (new, old_at) = (&raw const new as usize, &raw mut old as usize);
    // SAFETY: two masks of ours, of the size we say.
    unsafe { own_syscall(nr::RT_SIGPROCMASK, [SIG_SETMASK, new, old_at, size_of::<Mask>(), 0, 0]) };
    old
}

/// Waits until `fd` can be read or is hung up, with `mask` in force meanwhile. # Errors: `EINTR` when a handler ran.
pub fn readable(fd: i32, mask: Mask) -> Result<(), Errno> {
    // struct pollfd: fd, events, revents.
    let mut entry = u64::from(fd as u32) | POLLIN << 32;
    let arguments = [&raw mut entry as usize, 1, 0, &raw const mask as usize, size_of::<Mask>(), 0];
    // SAFETY: one pollfd and one mask of ours.
    Errno::decode(unsafe { own_syscall(nr::PPOLL, arguments) }).map(|_| ())
}
