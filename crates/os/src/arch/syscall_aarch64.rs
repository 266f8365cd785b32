//! The system call instruction of aarch64.

use core::arch::asm;

/// Enters the kernel; answers its raw result.
///
/// # Safety
/// The call does nothing to memory in use that its Rust caller does not know of.
#[inline]
pub unsafe fn syscall(number: usize, a: [usize; 6]) -> isize {
    let result;
    // SAFETY: the kernel keeps every register but x0; what the call does is the caller's promise.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a[0] as isize => result, in("x1") a[1], in("x2") a[2],
            in("x3") a[3], in("x4") a[4], in("x5") a[5], options(nostack));
    }
    result
}
