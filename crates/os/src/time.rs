//! Clocks, by the vDSO where there is one. clock_gettime(2).

use crate::arch::{nr, own_syscall};
use crate::vdso;
use zerocopy::FromBytes;

const CLOCK_MONOTONIC: i32 = 1;
const CLOCK_REALTIME_COARSE: i32 = 5;

/// A struct timespec.
#[derive(Clone, Copy, Debug, Default, FromBytes)]
#[repr(C)]
pub struct Timespec {
    /// Seconds.
    pub sec: i64,
    /// Nanoseconds.
    pub nsec: i64,
}

#[inline]
fn gettime(clock: i32) -> Timespec {
    let mut now = Timespec::default();
    if let Some(gettime) = vdso::clock_gettime() {
        // SAFETY: the vDSO's function writes one struct timespec; the clock exists.
        if unsafe { gettime(clock, &raw mut now) } == 0 {
            return now;
        }
    }
    ask(clock)
}

/// Asks the kernel.
fn ask(clock: i32) -> Timespec {
    let mut now = Timespec::default();
    // SAFETY: the kernel writes one struct timespec of ours.
    unsafe { own_syscall(nr::CLOCK_GETTIME, [clock as usize, (&raw mut now) as usize, 0, 0, 0, 0]) };
    now
}

/// [`coarse_seconds`] for a caller that asks once and must touch few pages: one system call costs less than finding the vDSO.
pub fn coarse_seconds_once() -> i64 {
    ask(CLOCK_REALTIME_COARSE).sec
}

/// Seconds since 1970 by CLOCK_REALTIME_COARSE: the clock of the kernel's own IPC times (ktime_get_real_seconds()).
#[inline]
pub fn coarse_seconds() -> i64 {
    vdso::seconds()
}

/// CLOCK_REALTIME_COARSE.
pub(crate) fn coarse() -> Timespec {
    gettime(CLOCK_REALTIME_COARSE)
}

/// CLOCK_MONOTONIC in nanoseconds.
pub fn monotonic() -> u64 {
    let now = gettime(CLOCK_MONOTONIC);
    (now.sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.nsec as u64)
}
