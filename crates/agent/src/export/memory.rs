//! Mappings: mmap(2), munmap(2), mremap(2), remap_file_pages(2); and how they may be used: mprotect(2), madvise(2), mlock(2).

use crate::libc::{answer, is_musl};
use ring3_calls::syscall::{memory, usage};
use ring3_os::map::PAGE;
use ring3_os::user::UserPtr;

/// munmap(2): a program may unmap what it attached.
pub extern "C" fn munmap(addr: usize, len: usize) -> i32 {
    answer(memory::munmap(addr, len)) as i32
}

/// mmap(2): a program may map over what it attached.
pub extern "C" fn mmap(addr: usize, len: usize, prot: i32, flags: i32, fd: i32, offset: i64) -> isize {
    answer(memory::mmap(addr, len, prot as usize, flags as usize, fd, offset as u64))
}

/// mmap(2) under its other name.
pub extern "C" fn mmap64(addr: usize, len: usize, prot: i32, flags: i32, fd: i32, offset: i64) -> isize {
    mmap(addr, len, prot, flags, fd, offset)
}

/// mremap(2). The fifth argument is there if the flags say so; a register more or less does not matter to a C caller.
pub extern "C" fn mremap(old: usize, old_len: usize, new_len: usize, flags: i32, to: usize) -> isize {
    answer(memory::mremap(old, old_len, new_len, flags as usize, to))
}

/// remap_file_pages(2).
pub extern "C" fn remap_file_pages(addr: usize, size: usize, prot: i32, page: usize, flags: i32) -> i32 {
    answer(memory::remap_file_pages(addr, size, prot as usize, page, flags as usize)) as i32
}

/// mprotect(2): cuts an attachment in two, as do the calls below.
pub extern "C" fn mprotect(addr: usize, len: usize, prot: i32) -> i32 {
    // musl rounds the range to whole pages.
    let inside = if is_musl() { addr % PAGE } else { 0 };
    answer(usage::mprotect(addr - inside, len.saturating_add(inside), prot as usize)) as i32
}

/// pkey_mprotect(2).
pub extern "C" fn pkey_mprotect(addr: usize, len: usize, prot: i32, key: i32) -> i32 {
    match key {
        -1 => mprotect(addr, len, prot),
        _ => answer(usage::pkey_mprotect(addr, len, prot as usize, key)) as i32,
    }
}

/// madvise(2).
pub extern "C" fn madvise(addr: usize, len: usize, advice: i32) -> i32 {
    answer(usage::madvise(addr, len, advice)) as i32
}

/// posix_madvise(3). It answers its error.
pub extern "C" fn posix_madvise(addr: usize, len: usize, advice: i32) -> i32 {
    const POSIX_MADV_DONTNEED: i32 = 4;
    if advice == POSIX_MADV_DONTNEED {
        // The kernel's advice of this number would lose what is there.
        return 0;
    }
    usage::madvise(addr, len, advice).map_or_else(|errno| i32::from(errno.0), |_| 0)
}

/// process_madvise(2).
pub extern "C" fn process_madvise(
    process: i32,
    ranges: usize,
    count: usize,
    advice: i32,
    flags: u32,
) -> isize {
    answer(usage::process_madvise(process, UserPtr::claim(ranges), count, advice, flags as usize))
}

/// mlock(2).
pub extern "C" fn mlock(addr: usize, len: usize) -> i32 {
    answer(usage::mlock(addr, len)) as i32
}

/// mlock2(2).
pub extern "C" fn mlock2(addr: usize, len: usize, flags: u32) -> i32 {
    match flags {
        0 => mlock(addr, len),
        _ => answer(usage::mlock2(addr, len, flags as usize)) as i32,
    }
}

/// munlock(2).
pub extern "C" fn munlock(addr: usize, len: usize) -> i32 {
    answer(usage::munlock(addr, len)) as i32
}

/// mlockall(2).
pub extern "C" fn mlockall(flags: i32) -> i32 {
    answer(usage::mlockall(flags as usize)) as i32
}

/// munlockall(2).
pub extern "C" fn munlockall() -> i32 {
    answer(usage::munlockall()) as i32
}

/// mseal(2).
pub extern "C" fn mseal(addr: usize, len: usize, flags: usize) -> i32 {
    answer(usage::mseal(addr, len, flags)) as i32
}
