//! What ELF files of aarch64 say of themselves. elf(5).

/// EM_AARCH64.
pub const MACHINE: u16 = 183;
/// Where programs of glibc's find their dynamic linker.
pub const GLIBC_INTERPRETER: &[u8] = b"/lib/ld-linux-aarch64.so.1";
/// Tags of the dynamic section that only this machine has, and that bring nothing into a program: DT_AARCH64_BTI_PLT,
/// DT_AARCH64_PAC_PLT, DT_AARCH64_VARIANT_PCS.
pub const DYNAMIC_TAGS: &[u64] = &[0x7000_0001, 0x7000_0003, 0x7000_0005];
/// A relocation's kind: the word is the distance of a thread's block from its thread pointer (R_AARCH64_TLS_TPREL).
pub const THREAD_DISTANCE: u32 = 1030;
/// The word is an address of the image (R_AARCH64_RELATIVE).
pub const ADDRESS: u32 = 1027;
