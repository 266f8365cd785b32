//! The wait on a word, on aarch64.

// x0 word, x1 operation, x2 value, x3 timeout, x4 the word that interrupts. x0 is the kernel's answer too, so nothing of it is
// lost before the call.
crate::hidden_function!(
    ["ring3_park"],
    "mov x9, x4",
    "mov x4, xzr",
    "mov w5, #-1",
    "mov x8, #98",
    crate::hidden_label!("ring3_park_begin"),
    "ldr w10, [x9]",
    "cbnz w10, ring3_park_interrupted",
    "svc 0",
    crate::hidden_label!("ring3_park_end"),
    "ret",
    crate::hidden_label!("ring3_park_interrupted"),
    "mov x0, #-4",
    "ret",
);
