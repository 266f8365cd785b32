//! The kernel's own namespaces, by their files in /proc. namespaces(7), ioctl_ns(2).

use crate::arch::{nr, syscall};
use crate::fd::Fd;
use ring3_abi::Errno;

/// What a namespace's file can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Relative {
    /// The user namespace that owns it (NS_GET_USERNS); of a user namespace the one that it was made in.
    Owner = 0xb701,
    /// The PID or user namespace above it (NS_GET_PARENT).
    Parent = 0xb702,
}

/// A relative of the namespace whose file is open. # Errors: `EPERM` if it lies outside the caller's own; `EINVAL` if there is none of this sort.
pub fn relative(file: &Fd, which: Relative) -> Result<Fd, Errno> {
    // SAFETY: numbers only.
    let raw = unsafe { syscall(nr::IOCTL, [file.raw() as usize, which as usize, 0, 0, 0, 0]) };
    Errno::decode(raw).map(|n| Fd::own(n as i32))
}
