//! The system call instruction of x86-64.

use core::arch::asm;

/// Enters the kernel; answers its raw result.
///
/// # Safety
/// The call does nothing to memory in use that its Rust caller does not know of.
#[inline]
pub unsafe fn syscall(number: usize, a: [usize; 6]) -> isize {
    let result;
    // SAFETY: the kernel clobbers rcx and r11 and nothing else of ours; what the call does is the caller's promise.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5], lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}
