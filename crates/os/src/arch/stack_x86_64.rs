//! Memory on the stack whose size is known only at run time, on x86-64: for a vfork child, which may allocate nothing.

use core::arch::global_asm;

// rdi bytes, rsi function, rdx context.
global_asm!(
    ".text",
    ".balign 16",
    ".globl ring3_with_stack",
    ".hidden ring3_with_stack",
    ".type ring3_with_stack,@function",
    "ring3_with_stack:",
    ".cfi_startproc",
    "push rbp",
    ".cfi_def_cfa_offset 16",
    ".cfi_offset rbp, -16",
    "mov rbp, rsp",
    ".cfi_def_cfa_register rbp",
    "sub rsp, rdi",
    "and rsp, -64",
    "mov rax, rsi",
    "mov rdi, rdx",
    "mov rsi, rsp",
    "call rax",
    "leave",
    ".cfi_def_cfa rsp, 8",
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
