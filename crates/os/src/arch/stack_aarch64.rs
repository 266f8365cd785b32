//! Memory on the stack whose size is known only at run time, on aarch64: for a vfork child, which may allocate nothing.

use core::arch::global_asm;

// x0 bytes, x1 function, x2 context.
global_asm!(
    ".text",
    ".balign 16",
    ".globl ring3_with_stack",
    ".hidden ring3_with_stack",
    ".type ring3_with_stack,@function",
    "ring3_with_stack:",
    ".cfi_startproc",
    "stp x29, x30, [sp, #-16]!",
    ".cfi_def_cfa_offset 16",
    ".cfi_offset 29, -16",
    ".cfi_offset 30, -8",
    "mov x29, sp",
    ".cfi_def_cfa_register 29",
    "sub x9, x29, x0",
    "and x9, x9, #-64",
    "mov sp, x9",
    "mov x10, x1",
    "mov x0, x2",
    "mov x1, x9",
    "blr x10",
    "mov sp, x29",
    "ldp x29, x30, [sp], #16",
    ".cfi_def_cfa 31, 0",
    "ret",
    ".cfi_endproc",
    ".size ring3_with_stack, . - ring3_with_stack",
);

unsafe extern "C" {
    fn ring3_with_stack(
        bytes: usize,
        f: unsafe extern "C" fn(*mut u8, *mut u8) -> isize,
        context: *mut u8,
    ) -> isize;
}

/// Calls `f(context, memory)` with `bytes` bytes of stack, 64-byte aligned.
///
/// # Safety
/// The stack has room for `bytes`; `f` may be called with `context`.
pub unsafe fn with_stack(
    bytes: usize,
    f: unsafe extern "C" fn(*mut u8, *mut u8) -> isize,
    context: *mut u8,
) -> isize {
    // SAFETY: by the caller's promise.
    unsafe { ring3_with_stack(bytes, f, context) }
}
