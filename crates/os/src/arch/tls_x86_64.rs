//! The address of the thread's block, on x86-64.

use core::arch::asm;

/// Adds the block's offset, which the dynamic linker knows, to the thread pointer.
#[inline]
pub(super) fn thread_block() -> *mut u8 {
    let at: *mut u8;
    // SAFETY: reads the thread pointer and the block's offset from it; no memory is changed.
    unsafe {
        asm!("mov {0}, qword ptr [rip + ring3_thread_block@GOTTPOFF]", "add {0}, qword ptr fs:[0]", out(reg) at,
            options(nostack, readonly, preserves_flags, pure));
    }
    at
}
