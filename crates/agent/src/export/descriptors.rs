//! close, dup2 and their kin, and chroot: the connection to the broker stays (`ring3_calls::syscall::descriptors`).

use crate::libc::{answer, fail};
use crate::next;
use ring3_abi::Errno;
use ring3_calls::syscall::descriptors::{self, before_leaving, before_taking, is_hidden};

/// close(2). A cancellation point.
pub extern "C-unwind" fn close(fd: i32) -> i32 {
    if is_hidden(fd) {
        return fail(Errno::EBADF) as i32;
    }
    next!(close(fd => i32) -> i32)
}

/// dup2(2).
pub extern "C" fn dup2(old: i32, new: i32) -> i32 {
    before_taking(new);
    next!(dup2(old => i32, new => i32) -> i32)
}

/// dup3(2).
pub extern "C" fn dup3(old: i32, new: i32, flags: i32) -> i32 {
    before_taking(new);
    next!(dup3(old => i32, new => i32, flags => i32) -> i32)
}

/// close_range(2).
pub extern "C" fn close_range(first: u32, last: u32, flags: i32) -> i32 {
    match descriptors::close_range(first, last, flags) {
        Some(raw) => answer(Errno::decode(raw)) as i32,
        None => next!(close_range(first => u32, last => u32, flags => i32) -> i32),
    }
}

/// closefrom(3).
pub extern "C" fn closefrom(first: i32) {
    if descriptors::close_range(first.max(0).cast_unsigned(), u32::MAX, 0) != Some(0) {
        next!(closefrom(first => i32) -> i32);
    }
}

/// chroot(2).
pub extern "C" fn chroot(path: *const u8) -> i32 {
    before_leaving();
    next!(chroot(path => *const u8) -> i32)
}
