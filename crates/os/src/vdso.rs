//! The kernel's page of functions that need no system call. vdso(7).
//!
//! The image is the kernel's own and well formed; still every read stays inside what its headers name.

use crate::arch::{nr, syscall};
use crate::time::Timespec;
use core::ffi::CStr;
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
        unsafe { syscall(nr::GETCPU, [(&raw mut cpu) as usize, 0, 0, 0, 0, 0]) };
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
    let base = base().unwrap_or(0);
    for (cell, name) in [&CLOCK_GETTIME, &GETCPU].into_iter().zip(nr::VDSO_NAMES) {
        // SAFETY: `base` is 0 or the address of the vDSO's ELF header, which the kernel keeps mapped.
        let at = if base == 0 { None } else { unsafe { symbol(base, name) } };
        cell.store(at.unwrap_or(ABSENT), Relaxed);
    }
    cell.load(Relaxed)
}

/// Where the kernel says the vDSO is (AT_SYSINFO_EHDR), from the auxiliary vector: prctl since Linux 6.4, /proc before.
fn base() -> Option<usize> {
    const PR_GET_AUXV: usize = 0x4155_5856;
    let mut auxv = [0usize; 128];
    // SAFETY: the vector is ours and as long as we say.
    let raw =
        unsafe { syscall(nr::PRCTL, [PR_GET_AUXV, auxv.as_mut_ptr() as usize, size_of_val(&auxv), 0, 0, 0]) };
    if raw <= 0 {
        let file = crate::fd::open_read(c"/proc/self/auxv").ok()?;
        let mut bytes = [0u8; 1024];
        crate::fd::read(file.raw(), &mut bytes).ok()?;
        for (word, chunk) in auxv.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = usize::from_ne_bytes(chunk.try_into().ok()?);
        }
    }
    const AT_SYSINFO_EHDR: usize = 33;
    auxv.chunks_exact(2).find(|pair| pair[0] == AT_SYSINFO_EHDR).map(|pair| pair[1])
}

/// Reads a T at an address of the image.
///
/// # Safety
/// The address lies in the mapped image.
unsafe fn peek<T: Copy>(at: usize) -> T {
    // SAFETY: by the caller's promise; alignment is not assumed.
    unsafe { (at as *const T).read_unaligned() }
}

/// What of an image's dynamic section leads to its symbols: addresses, 0 for what is not there.
#[derive(Default)]
struct Dynamic {
    slide: usize,
    strings: usize,
    symbols: usize,
    hash: usize,
    gnu_hash: usize,
}

/// Reads the headers. # Safety: `base` is the address of a mapped ELF64 image.
unsafe fn dynamic(base: usize) -> Option<Dynamic> {
    let (mut section, mut slide) = (0, None);
    // SAFETY: the ELF header says where the program headers are and how many; they say where the dynamic section is. All in the image.
    unsafe {
        let headers = base + peek::<u64>(base + 32) as usize;
        for i in 0..usize::from(peek::<u16>(base + 56)) {
            let header = headers + i * 56;
            match peek::<u32>(header) {
                1 if slide.is_none() => {
                    let (offset, vaddr) = (peek::<u64>(header + 8), peek::<u64>(header + 16));
                    slide = Some(base.wrapping_add(offset as usize).wrapping_sub(vaddr as usize));
                }
                2 => section = base + peek::<u64>(header + 8) as usize,
                _ => {}
            }
        }
    }
    let slide = slide?;
    let mut found = Dynamic { slide, ..Dynamic::default() };
    if section == 0 {
        return None;
    }
    for i in 0..64 {
        // SAFETY: the dynamic section ends with an entry of tag 0, where this loop ends.
        let (tag, value) = unsafe { (peek::<u64>(section + i * 16), peek::<u64>(section + i * 16 + 8)) };
        let at = slide.wrapping_add(value as usize);
        match tag {
            0 => break,
            4 => found.hash = at,
            5 => found.strings = at,
            6 => found.symbols = at,
            0x6fff_fef5 => found.gnu_hash = at,
            _ => {}
        }
    }
    Some(found)
}

/// Finds a function by name. # Safety: `base` is the address of a mapped ELF64 image.
unsafe fn symbol(base: usize, name: &CStr) -> Option<usize> {
    // SAFETY: by the caller's promise.
    let found = unsafe { dynamic(base)? };
    if found.strings == 0 || found.symbols == 0 {
        return None;
    }
    let count = if found.hash != 0 {
        // SAFETY: the second word of a hash table is the number of symbols.
        unsafe { peek::<u32>(found.hash + 4) }
    } else {
        // SAFETY: the table's address in the image, or 0.
        unsafe { gnu_count(found.gnu_hash)? }
    };
    (0..count as usize).map(|i| found.symbols + i * 24).find_map(|entry| {
        // SAFETY: one of the table's `count` entries; its name is a string of the string table.
        let (defined, value, text) = unsafe {
            let text = found.strings + peek::<u32>(entry) as usize;
            (
                peek::<u16>(entry + 6) != 0,
                peek::<u64>(entry + 8),
                CStr::from_ptr(text as *const core::ffi::c_char),
            )
        };
        (defined && text == name).then(|| found.slide.wrapping_add(value as usize))
    })
}

/// How many symbols a GNU hash table covers: the end of the longest chain. # Safety: 0, or the table's address in the image.
unsafe fn gnu_count(table: usize) -> Option<u32> {
    if table == 0 {
        return None;
    }
    // SAFETY: the table's own sizes bound every read.
    unsafe {
        let (buckets, first, words) = (peek::<u32>(table), peek::<u32>(table + 4), peek::<u32>(table + 8));
        let bucket = table + 16 + words as usize * 8;
        let chain = bucket + buckets as usize * 4;
        let mut last = (0..buckets as usize).map(|i| peek::<u32>(bucket + i * 4)).max()?;
        if last < first {
            return Some(first);
        }
        while peek::<u32>(chain + (last - first) as usize * 4) & 1 == 0 {
            last += 1;
        }
        Some(last + 1)
    }
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
