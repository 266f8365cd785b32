//! Mappings. mmap(2), munmap(2), mremap(2).

use crate::libc::answer;
use ring3_calls::syscall::memory;

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
