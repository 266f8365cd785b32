//! How a task begins and ends, on aarch64.

// x0 flags, x1 the stack's end, x2 word, x3 function, x4 context. The new stack carries what the task is to do. The kernel has clone (220) with the word
// as its fifth argument, and exit (93).
crate::hidden_function!(
    ["ring3_start_task"],
    "stp x3, x4, [x1, #-16]!",
    "mov x4, x2",
    "mov x2, xzr",
    "mov x3, xzr",
    "mov x8, #220",
    "svc 0",
    "cbnz x0, 2f",
    "mov x29, xzr",
    "ldp x9, x0, [sp], #16",
    "blr x9",
    "mov x0, xzr",
    "mov x8, #93",
    "svc 0",
    "brk #1",
    "2:",
    "ret",
);
