//! The call with memory on the stack, on x86-64.

// rdi bytes, rsi function, rdx context.
crate::hidden_function!(
    ["ring3_with_stack"],
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
);
