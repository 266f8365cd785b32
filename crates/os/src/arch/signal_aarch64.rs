//! The kernel's signal frame and the way back, on aarch64.

use core::arch::global_asm;

global_asm!(
    ".text",
    ".balign 16",
    "nop",
    ".globl ring3_restorer",
    ".hidden ring3_restorer",
    ".type ring3_restorer,@function",
    // These very instructions tell unwinders and debuggers that a signal frame lies above.
    "ring3_restorer:",
    "mov x8, #139",
    "svc 0",
    ".globl ring3_restorer_end",
    ".hidden ring3_restorer_end",
    "ring3_restorer_end:",
    ".size ring3_restorer, . - ring3_restorer",
);

/// Offset of the interrupted instruction's address in `ucontext_t` (uc_mcontext.pc).
pub(super) const PC: usize = 176 + 264;
/// Offset of `uc_sigmask`.
pub(super) const MASK: usize = 40;
