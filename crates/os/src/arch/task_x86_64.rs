//! How a task begins and ends, on x86-64.

// rdi flags, rsi the stack's end, rdx word, rcx function, r8 context. The kernel keeps neither rcx nor r11, so the new stack carries what the task
// is to do. It has clone (56) with the word as its fourth argument, and exit (60).
crate::hidden_function!(
    ["ring3_start_task"],
    "sub rsi, 16",
    "mov qword ptr [rsi], rcx",
    "mov qword ptr [rsi + 8], r8",
    "mov r10, rdx",
    "xor edx, edx",
    "xor r8d, r8d",
    "mov eax, 56",
    "syscall",
    "test rax, rax",
    "jnz 2f",
    "xor ebp, ebp",
    "pop rax",
    "pop rdi",
    "call rax",
    "xor edi, edi",
    "mov eax, 60",
    "syscall",
    "ud2",
    "2:",
    "ret",
);
