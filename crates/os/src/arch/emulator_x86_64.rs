//! The question to valgrind, on x86-64.

// rdi request, rsi the answer of a processor. The rotations add up to two whole turns.
crate::hidden_function!(
    ["ring3_ask_emulator"],
    "mov rax, rdi",
    "mov rdx, rsi",
    "rol rdi, 3",
    "rol rdi, 13",
    "rol rdi, 61",
    "rol rdi, 51",
    "xchg rbx, rbx",
    "mov rax, rdx",
    "ret",
);
