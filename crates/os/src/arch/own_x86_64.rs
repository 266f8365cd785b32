//! The instruction of the agent's own system calls, on x86-64.

// The six arguments are where a function has its own; the number is the seventh, on the stack.
crate::hidden_function!(
    ["ring3_own_call"],
    "mov rax, qword ptr [rsp + 8]",
    "mov r10, rcx",
    "syscall",
    crate::hidden_label!("ring3_own_call_end"),
    "ret",
);
