//! The kernel's page of functions that need no system call. vdso(7).

use crate::arch::{nr, own_syscall};
use crate::auxv::{AT_SYSINFO_EHDR, Vector};
use crate::elf::Segments;
use crate::time::Timespec;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

type ClockGettime = unsafe extern "C" fn(i32, *mut Timespec) -> i32;
type Getcpu = unsafe extern "C" fn(*mut u32, *mut u32, *mut u8) -> i32;

/// Addresses of the functions: 0 not looked for, 1 not there.
static CLOCK_GETTIME: AtomicUsize = AtomicUsize::new(0);
static GETCPU: AtomicUsize = AtomicUsize::new(0);
const ABSENT: usize = 1;

/// clock_gettime, if the vDSO has it.
#[inline]
pub fn clock_gettime() -> Option<ClockGettime> {
    let at = match CLOCK_GETTIME.load(Relaxed) {
        0 => find(&CLOCK_GETTIME),
        at => at,
    };
    // SAFETY: find() stored the address of the function of that name, whose signature this is.
    (at != ABSENT).then(|| unsafe { core::mem::transmute::<usize, ClockGettime>(at) })
}

/// The CPU that runs us, a moment ago.
pub fn cpu() -> u32 {
    let mut cpu = 0;
    let at = match GETCPU.load(Relaxed) {
        0 => find(&GETCPU),
        at => at,
    };
    if at == ABSENT {
        // SAFETY: the kernel writes one word of ours; the node is not asked for.
        unsafe { own_syscall(nr::GETCPU, [(&raw mut cpu) as usize, 0, 0, 0, 0, 0]) };
    } else {
        // SAFETY: as in clock_gettime(); null pointers ask for nothing.
        unsafe {
            let getcpu = core::mem::transmute::<usize, Getcpu>(at);
            getcpu(&raw mut cpu, core::ptr::null_mut(), core::ptr::null_mut());
        }
    }
    cpu
}

/// Looks both functions up, remembers them, and answers the one whose cell is given.
#[cold]
fn find(cell: &AtomicUsize) -> usize {
    let image = Vector::read().and_then(|vector| {
        let base = vector.get(AT_SYSINFO_EHDR)?;
        // SAFETY: the kernel says where the vDSO's ELF header is, and keeps it mapped.
        unsafe { Segments::of(base) }.image(Some(base))
    });
    for (cell, name) in [&CLOCK_GETTIME, &GETCPU].into_iter().zip(nr::VDSO_NAMES) {
        let at = image.and_then(|image| image.symbol(name.to_bytes()));
        cell.store(at.unwrap_or(ABSENT), Relaxed);
    }
    cell.load(Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_both_functions() {
        assert!(clock_gettime().is_some());
        assert_ne!(GETCPU.load(Relaxed), ABSENT);
        assert!(cpu() < 4096);
    }

    #[test]
    fn tells_the_time() {
        let (first, second) = (crate::time::coarse_seconds(), std::time::SystemTime::now());
        let second = second.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
        assert!((second - first).abs() <= 1);
    }
}
