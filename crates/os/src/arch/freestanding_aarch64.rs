//! The functions that a compiler calls and the lists of arguments, on aarch64.

/// The instructions of [`crate::memory_functions`].
#[doc(hidden)]
#[macro_export]
macro_rules! memory_instructions {
    () => {
        $crate::hidden_function!(
            ["memcpy", "memmove"],
            "mov x3, x0",
            "sub x4, x0, x1",
            "cmp x4, x2",
            "b.lo 4f",
            // Forward.
            "2:",
            "cmp x2, #16",
            "b.lo 3f",
            "ldp x5, x6, [x1], #16",
            "stp x5, x6, [x3], #16",
            "sub x2, x2, #16",
            "b 2b",
            "3:",
            "cbz x2, 6f",
            "ldrb w5, [x1], #1",
            "strb w5, [x3], #1",
            "sub x2, x2, #1",
            "b 3b",
            // Backward: the target starts inside the source.
            "4:",
            "cmp x2, #16",
            "b.lo 5f",
            "sub x2, x2, #16",
            "add x7, x1, x2",
            "ldp x5, x6, [x7]",
            "add x7, x3, x2",
            "stp x5, x6, [x7]",
            "b 4b",
            "5:",
            "cbz x2, 6f",
            "sub x2, x2, #1",
            "ldrb w5, [x1, x2]",
            "strb w5, [x3, x2]",
            "b 5b",
            "6:",
            "ret",
        );
        $crate::hidden_function!(
            ["memset"],
            "mov x3, x0",
            "and x1, x1, #0xff",
            "mov x4, #0x0101010101010101",
            "mul x1, x1, x4",
            "2:",
            "cmp x2, #16",
            "b.lo 3f",
            "stp x1, x1, [x3], #16",
            "sub x2, x2, #16",
            "b 2b",
            "3:",
            "cbz x2, 4f",
            "strb w1, [x3], #1",
            "sub x2, x2, #1",
            "b 3b",
            "4:",
            "ret",
        );
        $crate::hidden_function!(
            ["memcmp", "bcmp"],
            "mov x3, x0",
            "mov w0, wzr",
            "2:",
            "cbz x2, 3f",
            "ldrb w4, [x3], #1",
            "ldrb w5, [x1], #1",
            "sub x2, x2, #1",
            "subs w0, w4, w5",
            "b.eq 2b",
            "3:",
            "ret",
        );
        $crate::hidden_function!(
            ["strlen"],
            "mov x1, x0",
            "mov x0, xzr",
            "2:",
            "ldrb w2, [x1, x0]",
            "cbz w2, 3f",
            "add x0, x0, #1",
            "b 2b",
            "3:",
            "ret",
        );
        // The compiler's atomics ask here for newer instructions, and do with "none".
        $crate::hidden_function!(["getauxval"], "mov x0, xzr", "ret",);
        $crate::hidden_function!(["rust_eh_personality"], "mov w0, #8", "ret",);
    };
}

/// Arguments after the first that [`crate::argument_lists`] finds in registers.
pub const REGISTER_ARGUMENTS: usize = 7;

/// The body of one of [`crate::argument_lists`].
#[doc(hidden)]
#[macro_export]
macro_rules! argument_list_body {
    ($target:ident) => {
        core::arch::naked_asm!(
            "mov x9, sp",
            "sub sp, sp, #80",
            "stp x1, x2, [sp]",
            "stp x3, x4, [sp, #16]",
            "stp x5, x6, [sp, #32]",
            "str x7, [sp, #48]",
            "str x30, [sp, #64]",
            "mov x1, sp",
            "mov x2, x9",
            "bl {target}",
            "ldr x30, [sp, #64]",
            "add sp, sp, #80",
            "ret",
            target = sym $target,
        )
    };
}
