//! What stands around assembly on every machine: names that other objects of ours see and nobody else does.

/// `["name", "alias"], "instruction", ...`: defines a function.
#[doc(hidden)]
#[macro_export]
macro_rules! hidden_function {
    ([$($name:literal),+], $($line:expr),+ $(,)?) => {
        core::arch::global_asm!(
            ".text",
            ".balign 16",
            $(
                concat!(".type ", $name, ",@function"),
                $crate::hidden_label!($name),
            )+
            $($line,)+
            $(concat!(".size ", $name, ", . - ", $name),)+
        );
    };
}

/// Defines a place inside a function.
#[doc(hidden)]
#[macro_export]
macro_rules! hidden_label {
    ($name:literal) => {
        concat!(".globl ", $name, "\n.hidden ", $name, "\n", $name, ":")
    };
}
