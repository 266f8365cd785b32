//! What a library without a libc must bring along itself, on aarch64. Macros, because only the agent may have these symbols: a program
//! that has a libc would find ours instead of its own.

/// memcpy, memmove, memset, memcmp, bcmp, strlen: the compiler calls them. Hidden, or they would replace the program's own.
#[macro_export]
macro_rules! memory_functions {
    () => {
        core::arch::global_asm!(
            ".text",
            ".balign 16",
            ".globl memcpy",
            ".hidden memcpy",
            ".type memcpy,@function",
            ".globl memmove",
            ".hidden memmove",
            ".type memmove,@function",
            "memcpy:",
            "memmove:",
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
            ".size memcpy, . - memcpy",
            ".size memmove, . - memmove",
            ".balign 16",
            ".globl memset",
            ".hidden memset",
            ".type memset,@function",
            "memset:",
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
            ".size memset, . - memset",
            ".balign 16",
            ".globl memcmp",
            ".hidden memcmp",
            ".type memcmp,@function",
            ".globl bcmp",
            ".hidden bcmp",
            ".type bcmp,@function",
            "memcmp:",
            "bcmp:",
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
            ".size memcmp, . - memcmp",
            ".size bcmp, . - bcmp",
            ".balign 16",
            ".globl strlen",
            ".hidden strlen",
            ".type strlen,@function",
            "strlen:",
            "mov x1, x0",
            "mov x0, xzr",
            "2:",
            "ldrb w2, [x1, x0]",
            "cbz w2, 3f",
            "add x0, x0, #1",
            "b 2b",
            "3:",
            "ret",
            ".size strlen, . - strlen",
            // The compiler's atomics ask here for newer instructions, and do with "none".
            ".globl getauxval",
            ".hidden getauxval",
            ".type getauxval,@function",
            "getauxval:",
            "mov x0, xzr",
            "ret",
            ".size getauxval, . - getauxval",
            // The compiled core library names an unwinder's helper. Nothing here unwinds, but a thread's cancellation passes through:
            // _URC_CONTINUE_UNWIND is the answer.
            ".globl rust_eh_personality",
            ".hidden rust_eh_personality",
            ".type rust_eh_personality,@function",
            "rust_eh_personality:",
            "mov w0, #8",
            "ret",
            ".size rust_eh_personality, . - rust_eh_personality",
        );
    };
}

/// Arguments after the first that [`crate::argument_lists`] finds in registers.
pub const REGISTER_ARGUMENTS: usize = 7;

/// Defines variadic functions `name(first, ...)` that call `target(first, registers, stack)`: the arguments after the first are
/// [`REGISTER_ARGUMENTS`] words at `registers`, and then those at `stack`.
#[macro_export]
macro_rules! argument_lists {
    ($($(#[$doc:meta])* $name:ident => $target:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        /// As libc's function of this name.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name() -> i32 {
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
        }
    )*};
}
