//! A library that makes itself ready at the first call of one of its functions, not when it is loaded: a program that never calls one
//! pays only for having it mapped.
//!
//! Its exported names are doors ([`crate::door_body`]). A door sees whether the library is ready; if not, it goes by way of the function that
//! makes it so, with the caller's arguments kept. Where the machine's file says that the dynamic linker makes the library ready
//! ([`AT_LOAD`]), doors lead straight in.

#[cfg_attr(target_arch = "aarch64", path = "late_aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "late_x86_64.rs")]
mod machine;

pub use machine::*;

/// A relocation as ELF has it (Elf64_Rela). elf(5).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Relocation {
    /// Where, from the image's start.
    pub offset: usize,
    /// The symbol, and what to do.
    pub info: u64,
    /// The number to do it with.
    pub addend: usize,
}

/// Where a library that makes itself ready has what that takes. Made by [`crate::late_image`].
#[derive(Clone, Copy, Debug)]
pub struct Image {
    /// Its address, less the one it was linked at.
    pub base: usize,
    /// Its relocations, if the dynamic linker left them.
    pub relocations: &'static [Relocation],
}
