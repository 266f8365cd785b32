//! What ELF files of x86-64 say of themselves. elf(5).

/// EM_X86_64.
pub const MACHINE: u16 = 62;
/// Where programs of glibc's find their dynamic linker.
pub const GLIBC_INTERPRETER: &[u8] = b"/lib64/ld-linux-x86-64.so.2";
/// Tags of the dynamic section that only this machine has, and that bring nothing into a program.
pub const DYNAMIC_TAGS: &[u64] = &[];
/// A relocation's kind: the word is the distance of a thread's block from its thread pointer (R_X86_64_TPOFF64).
pub const THREAD_DISTANCE: u32 = 18;
/// The word is an address of the image (R_X86_64_RELATIVE).
pub const ADDRESS: u32 = 8;
