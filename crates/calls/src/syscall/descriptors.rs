//! Calls that would take the connection to the broker away from a program that does not know of it. close(2), dup2(2), close_range(2),
//! chroot(2).
//!
//! Daemons close every descriptor there is. A number that a program did not open is closed nowhere else, so nothing is missed if the
//! connection stays; lost, it could not be made again where the path to the broker is out of reach.
//!
//! # Invariants
//! K1. A door here changes the program's call only if the number is the connection's at that moment (`connection::holds`); in a vfork child,
//!     whose descriptors are its own and whose memory is not, it never does.

use crate::process::{self, connection};
use crate::thread::memory;
use ring3_os::arch::{nr, syscall};

const CLOSE_RANGE_UNSHARE: i32 = 2;

/// Whether close(2) finds no descriptor of the program's here: the answer is then `EBADF`.
#[inline]
pub fn is_hidden(fd: i32) -> bool {
    connection::holds(fd) && memory::is_ours()
}

/// Before dup2(2) or dup3(2) to a number: the connection makes way.
#[inline]
pub fn before_taking(fd: i32) {
    if is_hidden(fd) {
        connection::make_way(fd);
    }
}

/// close_range(2): closes a range but for the connection. `None`: the connection is not in it, or is not closed by this call, which is the
/// kernel's then.
#[inline]
pub fn close_range(first: u32, last: u32, flags: i32) -> Option<isize> {
    let fd = connection::number().filter(|&fd| (first..=last).contains(&fd.cast_unsigned()))?;
    // CLOSE_RANGE_CLOEXEC closes nothing now, and the connection ends with exec anyway.
    if flags & !CLOSE_RANGE_UNSHARE != 0 || !is_hidden(fd) {
        return None;
    }
    Some(close_around(fd.cast_unsigned(), first, last, flags))
}

#[cold]
fn close_around(fd: u32, first: u32, last: u32, mut flags: i32) -> isize {
    let below = fd.checked_sub(1).map(|last| (first, last));
    for (first, last) in [below, Some((fd + 1, last))].into_iter().flatten().filter(|(a, b)| a <= b) {
        let numbers = [first as usize, last as usize, flags as usize, 0, 0, 0];
        // SAFETY: numbers only; the program asks for it.
        let raw = unsafe { syscall(nr::CLOSE_RANGE, numbers) };
        if raw < 0 {
            return raw;
        }
        // CLOSE_RANGE_UNSHARE: the table is this process's own by now.
        flags = 0;
    }
    0
}

/// Before the process changes its root: what leads to the broker now may be out of reach then.
pub fn before_leaving() {
    if memory::is_ours() {
        // Without a broker there is nothing to hold on to; the first use will say so.
        let _ = process::ready();
    }
}
