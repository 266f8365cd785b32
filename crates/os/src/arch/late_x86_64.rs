//! Doors and relocations on x86-64.

use super::Relocation;
use core::arch::asm;

/// Whether the dynamic linker makes the library ready when it loads it.
pub const AT_LOAD: bool = false;

/// The body of a door to `$target`: with the byte `$ready` zero, `$first` comes first.
#[doc(hidden)]
#[macro_export]
macro_rules! door_body {
    ($target:path, $ready:path, $first:path) => {
        core::arch::naked_asm!(
            "cmp byte ptr [rip + {ready}], 0",
            "jne {target}",
            "call {first}",
            "jmp {target}",
            target = sym $target,
            ready = sym $ready,
            first = sym $first,
        )
    };
}

/// The body of a door to `$target`, a function that takes a handle first: with a pseudo-handle (RTLD_DEFAULT 0, RTLD_NEXT -1) the door
/// leads to the function whose address is in `$real`, as if the caller had called that, unless it is 0.
#[doc(hidden)]
#[macro_export]
macro_rules! lookup_door_body {
    ($target:path, $real:path, $ready:path, $first:path) => {
        core::arch::naked_asm!(
            "cmp byte ptr [rip + {ready}], 0",
            "jne 2f",
            "call {first}",
            "2:",
            "lea rax, [rdi + 1]",
            "cmp rax, 1",
            "ja {target}",
            "mov rax, qword ptr [rip + {real}]",
            "test rax, rax",
            "jz {target}",
            "jmp rax",
            target = sym $target,
            real = sym $real,
            ready = sym $ready,
            first = sym $first,
        )
    };
}

/// The body of a function that answers a text, and needs nothing ready.
#[doc(hidden)]
#[macro_export]
macro_rules! text_body {
    ($text:literal) => {
        core::arch::naked_asm!("lea rax, [rip + 2f]", "ret", "2:", concat!(".asciz \"", $text, "\""),)
    };
}

/// The body of vfork: `$before()`, the call, and in the parent `$after(answer)`, whose result is vfork's. The child returns first, and
/// overwrites the stack from its return address on: so that address is kept in a register, and the parent puts it back.
#[doc(hidden)]
#[macro_export]
macro_rules! vfork_body {
    ($ready:path, $first:path, $before:path, $after:path) => {
        core::arch::naked_asm!(
            "cmp byte ptr [rip + {ready}], 0",
            "jne 2f",
            "call {first}",
            "2:",
            "sub rsp, 8",
            "call {before}",
            "add rsp, 8",
            "pop rdi",
            "mov eax, {vfork}",
            "syscall",
            "push rdi",
            "test rax, rax",
            "jz 3f",
            "sub rsp, 8",
            "mov rdi, rax",
            "call {after}",
            "add rsp, 8",
            "3:",
            "ret",
            ready = sym $ready,
            first = sym $first,
            before = sym $before,
            after = sym $after,
            vfork = const $crate::arch::nr::VFORK,
        )
    };
}

/// Defines `$name`, which makes the library's data writable, turns the words of it that are addresses into addresses, and calls
/// `$begin()`. It keeps every register in which a caller passes arguments; al counts a variadic call's vector registers. No function
/// behind a door takes a floating-point number.
///
/// In assembly, because what the compiler makes may call by such a word (a global offset table).
#[doc(hidden)]
#[macro_export]
macro_rules! getting_ready {
    ($name:ident, $begin:path) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                "push rax",
                "push rdi",
                "push rsi",
                "push rdx",
                "push rcx",
                "push r8",
                "push r9",
                // The eighth leaves the stack where a call may be made.
                "push r10",
                "lea rdi, [rip + ring3_data]",
                "lea rsi, [rip + ring3_data_end]",
                "sub rsi, rdi",
                "mov edx, {read_write}",
                "mov eax, {mprotect}",
                "syscall",
                "test eax, eax",
                "jz 2f",
                // Without its data the library can neither serve a call nor pass it on.
                "ud2",
                "2:",
                "lea rsi, [rip + __ehdr_start]",
                "lea rcx, [rip + ring3_relocations]",
                "lea rdx, [rip + ring3_relocations_end]",
                "3:",
                "cmp rcx, rdx",
                "jae 5f",
                "cmp qword ptr [rcx + 8], {relative}",
                "jne 4f",
                "mov rdi, qword ptr [rcx]",
                "mov r8, qword ptr [rcx + 16]",
                "add r8, rsi",
                // Only a word that nobody has relocated yet, which is zero in the file: whoever was quicker may have stored to it since.
                "xor eax, eax",
                "lock cmpxchg qword ptr [rsi + rdi], r8",
                "4:",
                "add rcx, 24",
                "jmp 3b",
                "5:",
                "call {begin}",
                "pop r10",
                "pop r9",
                "pop r8",
                "pop rcx",
                "pop rdx",
                "pop rsi",
                "pop rdi",
                "pop rax",
                "ret",
                begin = sym $begin,
                mprotect = const $crate::arch::nr::MPROTECT,
                read_write = const $crate::map::PROT_READ | $crate::map::PROT_WRITE,
                relative = const $crate::arch::late::RELATIVE,
            )
        }
    };
}

/// The calling thread's thread pointer.
pub fn thread_pointer() -> usize {
    let at;
    // SAFETY: reads one word of the thread's own block, which the ABI says holds its address.
    unsafe {
        asm!("mov {0}, qword ptr fs:[0]", out(reg) at, options(nostack, readonly, preserves_flags, pure))
    };
    at
}

/// A word is an address of the image (R_X86_64_RELATIVE).
pub const RELATIVE: u64 = 8;
/// A word is a distance from the thread pointer (R_X86_64_TPOFF64).
const TPOFF64: u64 = 18;

/// Carries out what is left when words are addresses: distances from the thread pointer, where the library's thread-local block is
/// `thread_block` away from it. Whether that was all.
///
/// # Safety
/// They are the relocations of the image that begins at `base`, whose data may be written.
pub unsafe fn relocate(base: usize, relocations: &[Relocation], thread_block: isize) -> bool {
    relocations.iter().filter(|relocation| relocation.info != RELATIVE).all(|relocation| {
        if relocation.info == TPOFF64 {
            let value = relocation.addend.wrapping_add_signed(thread_block);
            // SAFETY: by the caller's promise a word of the image's data.
            unsafe { ((base + relocation.offset) as *mut usize).write_volatile(value) };
        }
        relocation.info == TPOFF64
    })
}

/// Makes [`Image`](super::Image) of what the linker's script names: only the library that is linked with it has these symbols.
#[macro_export]
macro_rules! late_image {
    () => {{
        let (base, relocations, relocations_end): (usize, usize, usize);
        // SAFETY: addresses of this very image.
        unsafe {
            core::arch::asm!(
                "lea {0}, [rip + __ehdr_start]",
                "lea {1}, [rip + ring3_relocations]",
                "lea {2}, [rip + ring3_relocations_end]",
                out(reg) base, out(reg) relocations, out(reg) relocations_end,
                options(nostack, nomem, preserves_flags, pure),
            );
        }
        let count = (relocations_end - relocations) / size_of::<$crate::arch::late::Relocation>();
        // SAFETY: the section of relocations, which nobody writes.
        let relocations = unsafe { core::slice::from_raw_parts(relocations as *const _, count) };
        $crate::arch::late::Image { base, relocations }
    }};
}

/// What the dynamic linker calls when it has loaded the library: nothing.
#[macro_export]
macro_rules! at_load {
    ($begin:path) => {};
}
