//! What a library without a libc must bring along itself. Macros, because only the agent may have these symbols: a program that has a
//! libc would find ours instead of its own.

#[cfg_attr(target_arch = "aarch64", path = "freestanding_aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "freestanding_x86_64.rs")]
mod machine;

pub use machine::REGISTER_ARGUMENTS;

/// memcpy, memmove, memset, memcmp, bcmp, strlen: the compiler calls them. Hidden, or they would replace the program's own.
///
/// The compiled core library names an unwinder's helper, rust_eh_personality, too. Nothing here unwinds, but a thread's cancellation
/// passes through: _URC_CONTINUE_UNWIND is the answer.
#[macro_export]
macro_rules! memory_functions {
    () => {
        $crate::memory_instructions!();
    };
}

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
        pub unsafe extern "C" fn $name() -> i32 {
            $crate::argument_list_body!($target)
        }
    )*};
}
