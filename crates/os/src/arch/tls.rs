//! This thread's block of zeroed memory.
//!
//! Initial-exec: one load and one addition. It works in objects that are there when the program starts, which is what the agent is.

#[cfg_attr(target_arch = "aarch64", path = "tls_aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "tls_x86_64.rs")]
mod machine;

use core::arch::global_asm;

global_asm!(
    ".section .tbss,\"awT\",@nobits",
    ".balign 64",
    ".globl ring3_thread_block",
    ".hidden ring3_thread_block",
    ".type ring3_thread_block,@object",
    "ring3_thread_block: .zero {len}",
    ".size ring3_thread_block, {len}",
    ".text",
    len = const THREAD_BLOCK_LEN,
);

/// Length of the block, bytes.
pub const THREAD_BLOCK_LEN: usize = 256;

/// What others may rely on in the block: four bytes, not 0 while the thread is in a section of the agent's (crates/calls/src/thread/section.rs).
pub const SECTION_DEPTH: usize = 0;
/// Four bytes behind them: if not 0, the outermost section ends with a system call that sets the mask of signals.
pub const SECTION_DEFERRED: usize = 4;
/// Eight bytes: to this mask.
pub const SECTION_MASK: usize = 8;

/// This thread's block, 64-byte aligned, zero in a new thread, copied in a forked child.
#[inline]
pub fn thread_block() -> *mut u8 {
    machine::thread_block()
}
