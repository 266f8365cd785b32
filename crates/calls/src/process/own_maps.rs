//! A descriptor of /proc/self/maps, kept for a process that detaches segments often: opening the file takes as long as everything else that shmdt does.
//! proc_pid_maps(5).
//!
//! # Invariants
//! O1. The descriptor shows the mappings of the memory whose image opened it. A forked child's is its parent's, and is not used.
//! O2. It is used only after fstat has shown that its number still names that file, as the connection's is (B1 of `connection.rs`).

use crate::process::identity::Home;
use crate::process::line::Line;
use ring3_abi::Errno;
use ring3_os::{fd, seccomp};

static MAPS: Line = Line::new();

/// The descriptor, opened if need be. `Home::attach` is held. # Errors: what open answers; `EPERM` where a filter may forbid it.
pub(crate) fn descriptor(home: &Home) -> Result<i32, Errno> {
    if seccomp::is_filtered() {
        return Err(Errno::EPERM);
    }
    let image = home.image();
    if let Some(fd) = MAPS.get_of(image) {
        return Ok(fd);
    }
    // A forked child has its parent's.
    MAPS.hang_up();
    MAPS.keep(fd::open_read(c"/proc/self/maps")?, image)
}

/// The descriptor's number, if there may be one.
#[inline]
pub(crate) fn number() -> Option<i32> {
    MAPS.number()
}

/// Whether a number is the descriptor's (O2).
#[inline]
pub(crate) fn holds(fd: i32) -> bool {
    number() == Some(fd) && MAPS.get() == Some(fd)
}

/// Lets the number go, if it is the descriptor's: the program replaces what is there.
pub(crate) fn make_way(fd: i32) {
    if holds(fd) {
        MAPS.forget();
    }
}
