//! Copies that may fault, on x86-64. A fault between begin and end is sent on to an exit that says EFAULT.
//!
//! Nothing is on the stack while they run, so going to the exit is all that must be done. SSE2 only: the agent saves no wider registers.

use core::arch::global_asm;
use ring3_abi::Errno;

// rdi to, rsi from, rdx length.
global_asm!(
    ".text",
    ".balign 16",
    ".globl ring3_copy",
    ".hidden ring3_copy",
    ".type ring3_copy,@function",
    "ring3_copy:",
    "cmp rdx, 16",
    "jae 5f",
    "cmp rdx, 8",
    "jae 4f",
    "cmp rdx, 4",
    "jae 3f",
    "test rdx, rdx",
    "je 2f",
    "mov r8, rdx",
    "shr r8, 1",
    "movzx eax, byte ptr [rsi]",
    "movzx ecx, byte ptr [rsi + r8]",
    "movzx r9d, byte ptr [rsi + rdx - 1]",
    "mov byte ptr [rdi], al",
    "mov byte ptr [rdi + r8], cl",
    "mov byte ptr [rdi + rdx - 1], r9b",
    "2:",
    "xor eax, eax",
    "ret",
    "3:",
    "mov eax, dword ptr [rsi]",
    "mov ecx, dword ptr [rsi + rdx - 4]",
    "mov dword ptr [rdi], eax",
    "mov dword ptr [rdi + rdx - 4], ecx",
    "xor eax, eax",
    "ret",
    "4:",
    "mov rax, qword ptr [rsi]",
    "mov rcx, qword ptr [rsi + rdx - 8]",
    "mov qword ptr [rdi], rax",
    "mov qword ptr [rdi + rdx - 8], rcx",
    "xor eax, eax",
    "ret",
    "5:",
    "cmp rdx, 1024",
    "jae 7f",
    "movups xmm1, xmmword ptr [rsi + rdx - 16]",
    "lea r8, [rdx - 16]",
    "xor ecx, ecx",
    "6:",
    "cmp rcx, r8",
    "jae 8f",
    "movups xmm0, xmmword ptr [rsi + rcx]",
    "movups xmmword ptr [rdi + rcx], xmm0",
    "add rcx, 16",
    "jmp 6b",
    "8:",
    "movups xmmword ptr [rdi + r8], xmm1",
    "xor eax, eax",
    "ret",
    "7:",
    "mov rcx, rdx",
    "rep movsb",
    "xor eax, eax",
    "ret",
    ".globl ring3_copy_end",
    ".hidden ring3_copy_end",
    "ring3_copy_end:",
    "mov rax, -14",
    "ret",
    ".size ring3_copy, . - ring3_copy",
);

unsafe extern "C" {
    fn ring3_copy(to: *mut u8, from: *const u8, len: usize) -> isize;
    static ring3_copy_end: u8;
}

/// Copies from an address that may lead nowhere.
///
/// # Errors
/// `EFAULT`, once the process's fault handlers are armed; a part may have been copied, as by the kernel.
///
/// # Safety
/// `to` is valid for `len` bytes.
#[inline]
pub unsafe fn copy_from_user(to: *mut u8, from: *const u8, len: usize) -> Result<(), Errno> {
    // SAFETY: by the caller's promise; a fault leads to the EFAULT exit.
    if unsafe { ring3_copy(to, from, len) } == 0 { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Copies to an address that may lead nowhere.
///
/// # Errors
/// As [`copy_from_user`].
///
/// # Safety
/// `from` is valid for `len` bytes.
#[inline]
pub unsafe fn copy_to_user(to: *mut u8, from: *const u8, len: usize) -> Result<(), Errno> {
    // SAFETY: by the caller's promise; a fault leads to the EFAULT exit.
    if unsafe { ring3_copy(to, from, len) } == 0 { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Where a thread that faulted at `pc` must go on, if it faulted in a copy.
pub fn fixup(pc: usize) -> Option<usize> {
    let (begin, end) = (ring3_copy as *const () as usize, &raw const ring3_copy_end as usize);
    (begin..end).contains(&pc).then_some(end)
}
