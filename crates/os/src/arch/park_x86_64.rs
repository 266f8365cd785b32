//! The wait on a word, on x86-64.

// rdi word, rsi operation, rdx value, rcx timeout, r8 the word that interrupts.
crate::hidden_function!(
    ["ring3_park"],
    "mov r10, rcx",
    "mov r11, r8",
    "xor r8d, r8d",
    "mov r9d, -1",
    crate::hidden_label!("ring3_park_begin"),
    "cmp dword ptr [r11], 0",
    "jne ring3_park_interrupted",
    "mov eax, 202",
    "syscall",
    crate::hidden_label!("ring3_park_end"),
    "ret",
    crate::hidden_label!("ring3_park_interrupted"),
    "mov rax, -4",
    "ret",
);
