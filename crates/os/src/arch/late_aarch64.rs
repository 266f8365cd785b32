//! Doors on aarch64: the dynamic linker makes the library ready.

use super::Relocation;

/// Whether the dynamic linker makes the library ready when it loads it.
pub const AT_LOAD: bool = true;

/// The body of a door to `$target`.
#[doc(hidden)]
#[macro_export]
macro_rules! door_body {
    ($target:path, $ready:path, $first:path) => {
        core::arch::naked_asm!("b {target}", target = sym $target)
    };
}

/// The body of a door to `$target`, a function that takes a handle first: with a pseudo-handle (RTLD_DEFAULT 0, RTLD_NEXT -1) the door
/// leads to the function whose address is in `$real`, as if the caller had called that, unless it is 0.
#[doc(hidden)]
#[macro_export]
macro_rules! lookup_door_body {
    ($target:path, $real:path, $ready:path, $first:path) => {
        core::arch::naked_asm!(
            "add x16, x0, #1",
            "cmp x16, #1",
            "b.hi 2f",
            "adrp x16, {real}",
            "ldr x16, [x16, :lo12:{real}]",
            "cbz x16, 2f",
            "br x16",
            "2:",
            "b {target}",
            target = sym $target,
            real = sym $real,
        )
    };
}

/// The body of a function that answers a text, and needs nothing ready.
#[doc(hidden)]
#[macro_export]
macro_rules! text_body {
    ($text:literal) => {
        core::arch::naked_asm!("adr x0, 2f", "ret", "2:", concat!(".asciz \"", $text, "\""), ".balign 4",)
    };
}

/// The body of vfork: `$before()`, the call, and in the parent `$after(answer)`, whose result is vfork's. The child returns first; the return
/// address stays in its register.
#[doc(hidden)]
#[macro_export]
macro_rules! vfork_body {
    ($ready:path, $first:path, $before:path, $after:path) => {
        core::arch::naked_asm!(
            "stp x29, x30, [sp, #-16]!",
            "bl {before}",
            "ldp x29, x30, [sp], #16",
            // CLONE_VFORK | CLONE_VM | SIGCHLD.
            "mov x0, #0x4111",
            "mov x1, xzr",
            "mov x2, xzr",
            "mov x3, xzr",
            "mov x4, xzr",
            "mov x8, #{clone}",
            "svc #0",
            "cbz x0, 2f",
            "stp x29, x30, [sp, #-16]!",
            "bl {after}",
            "ldp x29, x30, [sp], #16",
            "2:",
            "ret",
            before = sym $before,
            after = sym $after,
            clone = const $crate::arch::nr::CLONE,
        )
    };
}

/// Defines nothing: no door asks whether the library is ready.
#[doc(hidden)]
#[macro_export]
macro_rules! getting_ready {
    ($name:ident, $begin:path) => {};
}

/// The calling thread's thread pointer. Nobody asks for it here.
pub fn thread_pointer() -> usize {
    0
}

/// Carries relocations out: there are none left.
///
/// # Safety
/// None: nothing is written.
pub unsafe fn relocate(_base: usize, relocations: &[Relocation], _thread_block: isize) -> bool {
    relocations.is_empty()
}

/// Makes [`Image`](super::Image) of this library: only where it lies.
#[macro_export]
macro_rules! late_image {
    () => {{
        let base: usize;
        // SAFETY: an address of this very image.
        unsafe {
            core::arch::asm!(
                "adrp {0}, __ehdr_start",
                "add {0}, {0}, :lo12:__ehdr_start",
                out(reg) base,
                options(nostack, nomem, preserves_flags, pure),
            );
        }
        $crate::arch::late::Image { base, relocations: &[] }
    }};
}

/// What the dynamic linker calls when it has loaded the library.
#[macro_export]
macro_rules! at_load {
    ($begin:path) => {
        #[used]
        #[unsafe(link_section = ".init_array")]
        static START: extern "C" fn() = $begin;
    };
}
