//! The question to valgrind, on aarch64.

// x0 request, x1 the answer of a processor. The rotations add up to two whole turns.
crate::hidden_function!(
    ["ring3_ask_emulator"],
    "mov x4, x0",
    "mov x3, x1",
    "ror x12, x12, #3",
    "ror x12, x12, #13",
    "ror x12, x12, #51",
    "ror x12, x12, #61",
    "orr x10, x10, x10",
    "mov x0, x3",
    "ret",
);
