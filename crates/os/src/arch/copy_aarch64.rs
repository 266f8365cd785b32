//! Copies that may fault, on aarch64. A fault between begin and end is sent on to an exit that says EFAULT.
//!
//! Nothing is on the stack while they run, so going to the exit is all that must be done.

use core::arch::global_asm;
use ring3_abi::Errno;

// x0 to, x1 from, x2 length. Long ones by 16 bytes, the last 16 apart; short ones by two moves that may overlap.
global_asm!(
    ".text",
    ".balign 16",
    ".globl ring3_copy",
    ".hidden ring3_copy",
    ".type ring3_copy,@function",
    "ring3_copy:",
    "cmp x2, #16",
    "b.lo 3f",
    "add x3, x1, x2",
    "add x4, x0, x2",
    "sub x4, x4, #16",
    "ldp x8, x9, [x3, #-16]",
    "2:",
    "cmp x0, x4",
    "b.hs 8f",
    "ldp x5, x6, [x1], #16",
    "stp x5, x6, [x0], #16",
    "b 2b",
    "8:",
    "stp x8, x9, [x4]",
    "mov x0, xzr",
    "ret",
    "3:",
    "cmp x2, #8",
    "b.lo 4f",
    "sub x3, x2, #8",
    "ldr x5, [x1]",
    "ldr x6, [x1, x3]",
    "str x5, [x0]",
    "str x6, [x0, x3]",
    "mov x0, xzr",
    "ret",
    "4:",
    "cbz x2, 5f",
    "sub x2, x2, #1",
    "ldrb w5, [x1, x2]",
    "strb w5, [x0, x2]",
    "b 4b",
    "5:",
    "mov x0, xzr",
    "ret",
    ".globl ring3_copy_end",
    ".hidden ring3_copy_end",
    "ring3_copy_end:",
    "mov x0, #-14",
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
