//! The address of the thread's block, on aarch64.

use core::arch::asm;

/// Adds the block's offset, which the dynamic linker knows, to the thread pointer.
#[inline]
pub(super) fn thread_block() -> *mut u8 {
    let at: *mut u8;
    // SAFETY: reads the thread pointer and the block's offset from it; no memory is changed.
    unsafe {
        asm!("adrp {0}, :gottprel:ring3_thread_block", "ldr {0}, [{0}, :gottprel_lo12:ring3_thread_block]",
            "mrs {1}, tpidr_el0", "add {0}, {0}, {1}", out(reg) at, out(reg) _, options(nostack, readonly, preserves_flags, pure));
    }
    at
}
