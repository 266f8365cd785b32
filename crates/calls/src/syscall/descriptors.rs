//! Calls that would take the connection to the broker away from a program that does not know of it. close(2), dup2(2), close_range(2),
//! chroot(2).
//!
//! Daemons close every descriptor there is. A number that a program did not open is closed nowhere else, so nothing is missed if the
//! connection stays; lost, it could not be made again where the path to the broker is out of reach.
//!
//! # Invariants
//! K1. A door here changes the program's call only if the number is the connection's, or `own_maps.rs`'s, at that moment (`connection::holds`); in a vfork child,
//!     whose descriptors are its own and whose memory is not, it never does.

use crate::process::{self, connection, own_maps};
use crate::thread::memory;
use ring3_os::arch::{nr, syscall};

const CLOSE_RANGE_UNSHARE: i32 = 2;

/// Whether close(2) finds no descriptor of the program's here: the answer is then `EBADF`.
#[inline]
pub fn is_hidden(fd: i32) -> bool {
    (connection::holds(fd) || own_maps::holds(fd)) && memory::is_ours()
}

/// Before dup2(2) or dup3(2) to a number: the connection makes way.
#[inline]
pub fn before_taking(fd: i32) {
    if is_hidden(fd) {
        connection::make_way(fd);
        own_maps::make_way(fd);
    }
}

/// close_range(2): closes a range but for what is ours. `None`: nothing of ours is in it, or is closed by this call, which is the kernel's then.
#[inline]
pub fn close_range(first: u32, last: u32, flags: i32) -> Option<isize> {
    let ours = [connection::number(), own_maps::number()];
    if !ours.iter().flatten().any(|&fd| (first..=last).contains(&fd.cast_unsigned())) {
        return None;
    }
    // CLOSE_RANGE_CLOEXEC closes nothing now, and what is ours ends with exec anyway.
    if flags & !CLOSE_RANGE_UNSHARE != 0 {
        return None;
    }
    let mut ours = ours.map(|fd| fd.filter(|&fd| is_hidden(fd)).map(i32::cast_unsigned));
    ours.sort_unstable();
    Some(close_around(ours, first, last, flags))
}

/// Closes what lies between numbers, which are in order.
#[cold]
fn close_around(ours: [Option<u32>; 2], first: u32, last: u32, mut flags: i32) -> isize {
    let mut from = Some(first);
    for stop in
        ours.into_iter().flatten().filter(|stop| (first..=last).contains(stop)).map(Some).chain([None])
    {
        let to = stop.map_or(Some(last), |stop| stop.checked_sub(1));
        if let Some((from, to)) = from.zip(to).filter(|(from, to)| from <= to) {
            let numbers = [from as usize, to as usize, flags as usize, 0, 0, 0];
            // SAFETY: numbers only; the program asks for it.
            let raw = unsafe { syscall(nr::CLOSE_RANGE, numbers) };
            if raw < 0 {
                return raw;
            }
            // CLOSE_RANGE_UNSHARE: the table is this process's own by now.
            flags = 0;
        }
        from = stop.and_then(|stop| stop.checked_add(1));
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
