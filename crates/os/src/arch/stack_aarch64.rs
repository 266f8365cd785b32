//! The call with memory on the stack, on aarch64.

// x0 bytes, x1 function, x2 context.
crate::hidden_function!(
    ["ring3_with_stack"],
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
);
