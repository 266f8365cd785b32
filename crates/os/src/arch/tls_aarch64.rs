//! This thread's block of zeroed memory, on aarch64.
//!
//! Initial-exec: one load and one addition. It works in objects that are there when the program starts, which is what the agent is.

use core::arch::{asm, global_asm};

global_asm!(
    ".section .tbss,\"awT\",@nobits",
    ".balign 64",
    ".globl ring3_thread_block",
    ".hidden ring3_thread_block",
    ".type ring3_thread_block,@object",
    "ring3_thread_block: .zero 256",
    ".size ring3_thread_block, 256",
    ".text",
);

/// Length of the block, bytes.
pub const THREAD_BLOCK_LEN: usize = 256;

/// This thread's block, 64-byte aligned, zero in a new thread, copied in a forked child.
#[inline]
pub fn thread_block() -> *mut u8 {
    let at: *mut u8;
    // SAFETY: reads the thread pointer and the block's offset from it; no memory is changed.
    unsafe {
        asm!("adrp {0}, :gottprel:ring3_thread_block", "ldr {0}, [{0}, :gottprel_lo12:ring3_thread_block]",
            "mrs {1}, tpidr_el0", "add {0}, {0}, {1}", out(reg) at, out(reg) _, options(nostack, readonly, preserves_flags, pure));
    }
    at
}
