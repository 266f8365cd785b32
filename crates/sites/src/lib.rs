//! Where the system calls of an ELF file are, and how each can be replaced by a jump to a trampoline.
//!
//! ```text
//! image   what the file says of its code: pieces, functions, what is pointed at    frame: what its unwind tables say
//! find    the instructions that enter the kernel, each proven or left              arch: the machines' own instructions
//! plan    the bytes around each that a jump takes the place of
//! list    the plan as bytes, which are not believed before they are compared with the code
//! ```
//!
//! This runs beside programs, never inside one. Nothing here changes a file or a mapping.
//!
//! # Invariants
//! S1. What is not proven is left, with its reason. A site that is left costs time, a wrong one costs the program.
//! S2. A site is proven where two decodings that begin at different places agree about it: one from the beginning of its section, one from a start that something else vouches for.
//! S3. Whatever is known to be pointed at, or jumped to, is never inside of a replaced range. It may be at its first byte.
//! S4. The replaced instructions mean the same at every address. So a trampoline has them as they are.
//!
//! What a trampoline has to do is no business of this crate: leave the 128 bytes below the stack pointer alone, come back by a jump, keep all registers but
//! rax, rcx and r11, look at rax for the call's number, and know a [`Special`] site.
#![forbid(unsafe_code)]

mod arch;
mod code;
pub mod find;
mod frame;
pub mod image;
pub mod list;
pub mod plan;

pub use find::{Found, Left, Reason, find};
pub use image::{Image, Machine};
pub use list::{Claim, Identity, List};
pub use plan::{Plan, Site, Special, plan};

/// Why a file, or a list, is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no ELF file of 64 bits, or is not whole.
    #[error("not a whole ELF file: {0}")]
    Elf(String),
    /// Its machine is not one of [`Machine`].
    #[error("made for another machine (e_machine {0})")]
    OtherMachine(u16),
    /// It is the kernel's own page, whose code the kernel may look at.
    #[error("the kernel's vdso")]
    Vdso,
    /// Its unwind tables do not make sense. Then nobody knows what they point at.
    #[error("its unwind tables do not make sense at {0:#x}")]
    Frames(u64),
    /// No jump can be planned for the machine yet.
    #[error("no plans for {0:?}")]
    NoPlans(Machine),
    /// The bytes are not a list of this version, or not as they were written.
    #[error("not a list: {0}")]
    List(&'static str),
    /// The list is of another file.
    #[error("a list of another file")]
    OtherFile,
    /// The list does not fit the code at this offset.
    #[error("the code at offset {0:#x} is not what the list says")]
    OtherCode(u64),
}
