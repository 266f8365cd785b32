//! The kernel's signal frame and the way back, on x86-64.

use core::arch::global_asm;

global_asm!(
    ".text",
    ".balign 16",
    "nop",
    ".globl ring3_restorer",
    ".hidden ring3_restorer",
    ".type ring3_restorer,@function",
    "ring3_restorer:",
    // These very bytes, 48 c7 c0 0f 00 00 00 0f 05, tell unwinders and debuggers that a signal frame lies above.
    "mov rax, 15",
    "syscall",
    ".globl ring3_restorer_end",
    ".hidden ring3_restorer_end",
    "ring3_restorer_end:",
    "ud2",
    ".size ring3_restorer, . - ring3_restorer",
);

/// Offset of the interrupted instruction's address in `ucontext_t` (`uc_mcontext.gregs[REG_RIP]`).
pub(super) const PC: usize = 40 + 16 * 8;
/// Offset of `uc_sigmask`.
pub(super) const MASK: usize = 296;
