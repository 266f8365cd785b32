//! The caller's pointers. What a caller passes is an address that may lead nowhere: it becomes a value here, or `EFAULT`.
//!
//! kernel: copy_from_user(), copy_to_user(). The copies themselves are in `arch/`; a fault in them lands in the process's
//! SIGSEGV and SIGBUS handlers, which send it on to the copy's own exit.

use crate::arch::copy;
use core::mem::MaybeUninit;
use ring3_abi::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// End of the addresses that user memory can have. The copies fault above it like anywhere; the kernel's own range check says EFAULT too.
const TASK_SIZE: usize = 1 << 56;

fn check(addr: usize, len: usize) -> Result<(), Errno> {
    let end = addr.checked_add(len).ok_or(Errno::EFAULT)?;
    if end > TASK_SIZE { Err(Errno::EFAULT) } else { Ok(()) }
}

/// Copies from the caller's address to memory of ours.
///
/// # Safety
/// `to` is valid for writes of `len` bytes; bytes that other processes write are no problem.
#[inline]
pub unsafe fn read_raw(addr: usize, to: *mut u8, len: usize) -> Result<(), Errno> {
    check(addr, len)?;
    // SAFETY: `to` by the caller's promise; the address may be anything.
    unsafe { copy::copy_from_user(to, addr as *const u8, len) }
}

/// Copies from memory of ours to the caller's address.
///
/// # Safety
/// `from` is valid for reads of `len` bytes.
#[inline]
pub unsafe fn write_raw(addr: usize, from: *const u8, len: usize) -> Result<(), Errno> {
    check(addr, len)?;
    // SAFETY: `from` by the caller's promise; the address may be anything.
    unsafe { copy::copy_to_user(addr as *mut u8, from, len) }
}

/// Reads a value at the caller's address.
#[inline]
pub fn read<T: FromBytes>(addr: usize) -> Result<T, Errno> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: `value` has room for a T.
    unsafe { read_raw(addr, value.as_mut_ptr().cast(), size_of::<T>())? };
    // SAFETY: all bytes were written, and any bytes are a T (FromBytes).
    Ok(unsafe { value.assume_init() })
}

/// Writes a value to the caller's address.
#[inline]
pub fn write<T: IntoBytes + Immutable>(addr: usize, value: &T) -> Result<(), Errno> {
    write_bytes(addr, value.as_bytes())
}

/// Reads bytes at the caller's address.
#[inline]
pub fn read_bytes(addr: usize, into: &mut [u8]) -> Result<(), Errno> {
    // SAFETY: the slice is ours.
    unsafe { read_raw(addr, into.as_mut_ptr(), into.len()) }
}

/// Writes bytes to the caller's address.
#[inline]
pub fn write_bytes(addr: usize, from: &[u8]) -> Result<(), Errno> {
    // SAFETY: the slice is ours.
    unsafe { write_raw(addr, from.as_ptr(), from.len()) }
}

/// Reads `count` values at the caller's address into the front of `into`, and answers them.
pub fn read_slice<T: FromBytes + Copy>(addr: usize, into: &mut [T]) -> Result<(), Errno> {
    // SAFETY: the slice is ours; any bytes are a T (FromBytes).
    unsafe { read_raw(addr, into.as_mut_ptr().cast(), size_of_val(into)) }
}

/// Reads many small things of the caller's where a fault cannot be caught: in a process that has not armed its handlers, and in a vfork
/// child, which has no handlers of its own. The kernel is asked of each page whether it can be read.
///
/// Where the handlers are armed a page that another thread takes away between the question and the copy gives EFAULT, too.
#[derive(Debug)]
pub struct Careful {
    /// Address of the page that was asked about last.
    page: Option<usize>,
}

impl Careful {
    /// Knows of no page.
    pub const fn new() -> Careful {
        Careful { page: None }
    }

    /// Reads a value at the caller's address, of any alignment. # Errors: `EFAULT`.
    #[inline]
    pub fn read<T: FromBytes>(&mut self, addr: usize) -> Result<T, Errno> {
        let last = addr.checked_add(size_of::<T>().saturating_sub(1)).ok_or(Errno::EFAULT)?;
        for at in [addr, last] {
            let page = at / crate::map::PAGE;
            if self.page != Some(page) {
                check(at, 1)?;
                crate::futex::read_by_kernel(at)?;
                self.page = Some(page);
            }
        }
        read(addr)
    }
}

impl Default for Careful {
    fn default() -> Self {
        Careful::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::{self, PAGE};

    #[test]
    fn what_cannot_be_read_is_not() {
        let pages = map::anonymous(2 * PAGE).unwrap().as_ptr() as usize;
        // SAFETY: the second page, which this test has mapped and nobody uses.
        unsafe { map::unmap(pages + PAGE, PAGE) }.unwrap();
        let mut careful = Careful::new();
        write(pages + PAGE - 8, &0x1122_3344_5566_7788_u64).unwrap();
        assert_eq!(careful.read::<u64>(pages + PAGE - 8), Ok(0x1122_3344_5566_7788));
        assert_eq!(careful.read::<u64>(pages + PAGE - 7), Err(Errno::EFAULT));
        assert_eq!(careful.read::<u8>(pages + PAGE - 1), Ok(0x11));
        for nowhere in [0, 8, pages + PAGE, usize::MAX, usize::MAX - 7, 1 << 47, 1 << 60] {
            assert_eq!(careful.read::<u8>(nowhere), Err(Errno::EFAULT), "{nowhere:#x}");
        }
        // SAFETY: the page that is left.
        unsafe { map::unmap(pages, PAGE) }.unwrap();
    }
}
