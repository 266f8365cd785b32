//! References to what a libc may lack: words that hold an address, or 0. The same on every machine of 64 bits.

/// `"place" => "symbol"`: defines the hidden words that the dynamic linker fills in before any of our code runs.
#[macro_export]
macro_rules! weak_words {
    ($($place:literal => $symbol:literal),* $(,)?) => {
        core::arch::global_asm!(
            ".section .data.rel.ro.ring3,\"aw\"",
            ".balign 8",
            $(
                concat!(".weak ", $symbol),
                concat!(".globl ", $place),
                concat!(".hidden ", $place),
                concat!($place, ": .quad ", $symbol),
            )*
            ".text",
        );
    };
}
