//! The kernel's page of functions that need no system call. vdso(7).

use crate::arch::{nr, own_syscall};
use crate::auxv::{AT_SYSINFO_EHDR, Vector};
use crate::elf::Segments;
use crate::time::{self, Timespec};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

type ClockGettime = unsafe extern "C" fn(i32, *mut Timespec) -> i32;
type Getcpu = unsafe extern "C" fn(*mut u32, *mut u32, *mut u8) -> i32;
type Time = unsafe extern "C" fn(*mut i64) -> i64;

/// Addresses of the functions: 0 not looked for, 1 not there.
static CLOCK_GETTIME: AtomicUsize = AtomicUsize::new(0);
static GETCPU: AtomicUsize = AtomicUsize::new(0);
const ABSENT: usize = 1;
/// What tells the seconds: [`first_seconds`] until it was looked for, then the vDSO's time, or [`asked_seconds`] where there is none.
static SECONDS: AtomicPtr<()> = AtomicPtr::new(first_seconds as *mut ());

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

/// Seconds since 1970 by time(2)'s clock, which is CLOCK_REALTIME_COARSE: the kernel keeps the same number of seconds for both. Its function for
/// that alone reads one word, where clock_gettime takes some forty instructions.
#[inline]
pub(crate) fn seconds() -> i64 {
    // SAFETY: SECONDS holds the address of one of three functions of this form.
    let time = unsafe { core::mem::transmute::<*mut (), Time>(SECONDS.load(Relaxed)) };
    // SAFETY: a null pointer asks for nothing but the answer.
    unsafe { time(null_mut()) }
}

#[cold]
extern "C" fn first_seconds(_: *mut i64) -> i64 {
    find(&CLOCK_GETTIME);
    seconds()
}

/// For a vDSO without time.
extern "C" fn asked_seconds(_: *mut i64) -> i64 {
    time::coarse().sec
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

/// Looks all functions up, remembers them, and answers the one whose cell is given.
#[cold]
fn find(cell: &AtomicUsize) -> usize {
    let image = Vector::read().and_then(|vector| {
        let base = vector.get(AT_SYSINFO_EHDR)?;
        // SAFETY: the kernel says where the vDSO's ELF header is, and keeps it mapped.
        unsafe { Segments::of(base) }.image(Some(base))
    });
    let [gettime, getcpu, seconds] =
        nr::VDSO_NAMES.map(|name| image.and_then(|image| image.symbol(name.to_bytes())));
    CLOCK_GETTIME.store(gettime.unwrap_or(ABSENT), Relaxed);
    GETCPU.store(getcpu.unwrap_or(ABSENT), Relaxed);
    SECONDS.store(seconds.map_or(asked_seconds as *mut (), |at| at as *mut ()), Relaxed);
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
    fn seconds_are_those_of_the_coarse_clock_also_where_a_second_begins() {
        for told in [seconds, || asked_seconds(null_mut())] {
            let begin = time::monotonic();
            let (mut changes, mut last) = (0, told());
            while changes < 2 {
                let (before, now, after) = (time::coarse().sec, told(), time::coarse().sec);
                assert!((before..=after).contains(&now), "{now} is not from {before} to {after}");
                changes += i32::from(now != last);
                last = now;
                assert!(time::monotonic() - begin < 5_000_000_000, "the clock stands still");
            }
        }
    }

    #[test]
    fn tells_the_time() {
        let (first, second) = (crate::time::coarse_seconds(), std::time::SystemTime::now());
        let second = second.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
        assert!((second - first).abs() <= 1);
    }
}
