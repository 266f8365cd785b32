//! The agent's own system calls, told from the program's by where they enter the kernel.
//!
//! A program may install a filter of system calls that knows nothing of the agent's (seccomp(2)). Such a filter sees the instruction pointer. So
//! what the agent does for itself enters the kernel by the instruction here, by that of `park` or by that which ends a handler, and what it passes on for
//! the program by any other ([`syscall`](super::syscall)); `seccomp.rs` makes the difference for the filter.

#[cfg_attr(target_arch = "aarch64", path = "own_aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "own_x86_64.rs")]
mod machine;

unsafe extern "C" {
    fn ring3_own_call(a: usize, b: usize, c: usize, d: usize, e: usize, f: usize, number: usize) -> isize;
    static ring3_own_call_end: u8;
    static ring3_park_end: u8;
    static ring3_restorer_end: u8;
}

/// Enters the kernel for the agent's own purpose; answers the raw result.
///
/// # Safety
/// The call does nothing to memory in use that its Rust caller does not know of.
#[inline]
pub unsafe fn own_syscall(number: usize, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    // SAFETY: the function only enters the kernel; what the call does is the caller's promise.
    unsafe { ring3_own_call(a, b, c, d, e, f, number) }
}

/// How many instructions enter the kernel for the agent itself.
pub const OWN_PLACES: usize = 3;

/// Where the kernel sees the instruction pointer in the agent's own calls: behind each of those instructions.
pub fn own_places() -> [usize; OWN_PLACES] {
    [&raw const ring3_own_call_end, &raw const ring3_park_end, &raw const ring3_restorer_end]
        .map(|place| place as usize)
}
