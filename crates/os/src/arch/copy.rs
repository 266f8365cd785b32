//! Copies that may fault. A fault between begin and end is sent on to an exit that says EFAULT.
//!
//! Nothing is on the stack while they run, so going to the exit is all that must be done.

#[cfg_attr(target_arch = "aarch64", path = "copy_aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "copy_x86_64.rs")]
mod machine;

use ring3_abi::Errno;

unsafe extern "C" {
    fn ring3_copy(to: *mut u8, from: *const u8, len: usize) -> isize;
    fn ring3_read_6(from: *const u8) -> Read;
    fn ring3_read_8(from: *const u8) -> Read;
    static ring3_copy_end: u8;
}

/// What was read, and 0; or anything, and an error number below 0. Two registers on every machine.
#[repr(C)]
struct Read {
    value: u64,
    error: isize,
}

/// Reads `LEN` bytes, 6 or 8, at an address that may lead nowhere: they become the low ones of a word.
///
/// # Errors
/// As [`copy_from_user`].
#[inline(always)]
pub fn read_word<const LEN: usize>(from: usize) -> Result<u64, Errno> {
    let from = from as *const u8;
    const { assert!(LEN == 6 || LEN == 8) }
    // SAFETY: the address may be anything: a fault leads to the EFAULT exit.
    let read = unsafe { if LEN == 6 { ring3_read_6(from) } else { ring3_read_8(from) } };
    if read.error == 0 { Ok(read.value) } else { Err(Errno::EFAULT) }
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
