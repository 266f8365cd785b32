//! The program's pointers. What a program passes is an address that may lead nowhere: a claim, of a type of its own, that becomes a value
//! by a checked copy alone, or `EFAULT`.
//!
//! kernel: `__user`, copy_from_user(), copy_to_user(). The copies themselves are in `arch/`; a fault in them lands in the process's
//! SIGSEGV and SIGBUS handlers, which send it on to the copy's own exit.
//!
//! # Conditions
//! U1. A number becomes a [`UserPtr`] where it comes in: at a front door, in the table of system calls, or where the kernel or a structure of the
//!     program's says it. Inside nobody makes one of an address of ours.
//! U2. Nobody dereferences a [`UserPtr`]; it goes to the copies below, or as a number to the kernel, which checks it itself.
//! U3. An address that is computed from a claim is a claim, and one that does not exist is `EFAULT`.

use crate::arch::copy;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use ring3_abi::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// End of the addresses that user memory can have. The copies fault above it like anywhere; the kernel's own range check says EFAULT too.
const TASK_SIZE: usize = 1 << 56;

/// Where the program says that a `T` is, or that there is room for one. Kept as the register that it came in.
#[repr(transparent)]
pub struct UserPtr<T> {
    addr: usize,
    to: PhantomData<fn() -> T>,
}

impl<T> Clone for UserPtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for UserPtr<T> {}

impl<T> core::fmt::Debug for UserPtr<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#x}, as the program says", self.addr)
    }
}

impl<T> UserPtr<T> {
    /// Takes a number for what the program says it is (U1).
    #[inline]
    pub const fn claim(addr: usize) -> UserPtr<T> {
        UserPtr { addr, to: PhantomData }
    }

    /// The number, for a call that hands it to the kernel (U2).
    #[inline]
    pub const fn addr(self) -> usize {
        self.addr
    }

    /// The pointer, where null is the program's way to give none.
    #[inline]
    pub fn given(self) -> Option<UserPtr<T>> {
        (self.addr != 0).then_some(self)
    }

    /// The same address, said to lead to something else.
    #[inline]
    pub const fn cast<U>(self) -> UserPtr<U> {
        UserPtr::claim(self.addr)
    }

    /// What is so many bytes behind the address. # Errors: `EFAULT` (U3).
    #[inline]
    pub fn field<U>(self, offset: usize) -> Result<UserPtr<U>, Errno> {
        self.addr.checked_add(offset).map(UserPtr::claim).ok_or(Errno::EFAULT)
    }

    /// Element `n` of the array that begins here. # Errors: `EFAULT` (U3).
    #[inline]
    pub fn nth(self, n: usize) -> Result<UserPtr<T>, Errno> {
        n.checked_mul(size_of::<T>()).ok_or(Errno::EFAULT).and_then(|offset| self.field(offset))
    }

    /// The range of `len` bytes that begins here.
    #[inline]
    pub const fn bytes(self, len: usize) -> UserBytes {
        UserBytes { at: self.addr, len }
    }
}

impl<T: FromBytes> UserPtr<T> {
    /// Reads the value, of 6 or 8 bytes: they become the low ones of a word, which stays in a register. # Errors: `EFAULT`.
    #[inline(always)]
    pub fn read_word<const LEN: usize>(self) -> Result<u64, Errno> {
        const { assert!(size_of::<T>() == LEN) }
        self.bytes(LEN).check()?;
        copy::read_word::<LEN>(self.addr)
    }

    /// Reads the value. # Errors: `EFAULT`.
    #[inline]
    pub fn read(self) -> Result<T, Errno> {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: `value` has room for a T.
        unsafe { self.bytes(size_of::<T>()).copy_to(value.as_mut_ptr().cast())? };
        // SAFETY: all bytes were written, and any bytes are a T (FromBytes).
        Ok(unsafe { value.assume_init() })
    }

    /// Reads as many values as there is room for, and answers them. # Errors: `EFAULT`.
    #[inline]
    pub fn read_slice(self, room: &mut [MaybeUninit<T>]) -> Result<&mut [T], Errno> {
        // SAFETY: the room is ours.
        unsafe { self.bytes(size_of_val(room)).copy_to(room.as_mut_ptr().cast())? };
        // SAFETY: all bytes were written, and any bytes are a T (FromBytes).
        Ok(unsafe { core::slice::from_raw_parts_mut(room.as_mut_ptr().cast(), room.len()) })
    }
}

impl<T: IntoBytes + Immutable> UserPtr<T> {
    /// Writes a value. # Errors: `EFAULT`.
    #[inline]
    pub fn write(self, value: &T) -> Result<(), Errno> {
        self.bytes(size_of::<T>()).write(value.as_bytes())
    }
}

/// A range of the program's memory, as it says.
#[derive(Clone, Copy, Debug)]
pub struct UserBytes {
    at: usize,
    len: usize,
}

impl UserBytes {
    /// Length, bytes.
    #[inline]
    pub const fn len(self) -> usize {
        self.len
    }

    /// Whether there is nothing in it.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Where it begins, for a call that hands it to the kernel (U2).
    #[inline]
    pub const fn addr(self) -> usize {
        self.at
    }

    /// Cuts `len` bytes off its front, and answers them. # Errors: `EFAULT`: it has no so many, or they go beyond all addresses (U3).
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<UserBytes, Errno> {
        let front = self.front(len)?;
        self.at = self.at.checked_add(len).ok_or(Errno::EFAULT)?;
        self.len -= len;
        Ok(front)
    }

    /// Reads the front of it, as much as there is room for. # Errors: `EFAULT`; also if it is shorter.
    #[inline]
    pub fn read(self, into: &mut [u8]) -> Result<(), Errno> {
        let front = self.front(into.len())?;
        // SAFETY: the slice is ours.
        unsafe { front.copy_to(into.as_mut_ptr()) }
    }

    /// Reads the front of it to room that holds nothing yet, and answers what is there now. # Errors: as [`UserBytes::read`].
    #[inline]
    pub fn read_to(self, room: &mut [MaybeUninit<u8>]) -> Result<&mut [u8], Errno> {
        let front = self.front(room.len())?;
        UserPtr::<u8>::claim(front.at).read_slice(room)
    }

    /// Writes to the front of it. # Errors: `EFAULT`; also if it is shorter.
    #[inline]
    pub fn write(self, from: &[u8]) -> Result<(), Errno> {
        let front = self.front(from.len())?;
        // SAFETY: the slice is ours.
        unsafe { front.copy_from(from.as_ptr()) }
    }

    /// Copies all of it to memory of ours. # Errors: `EFAULT`.
    ///
    /// # Safety
    /// `to` is valid for writes of the range's length; bytes that other processes write are no problem.
    #[inline]
    pub unsafe fn copy_to(self, to: *mut u8) -> Result<(), Errno> {
        self.check()?;
        // SAFETY: `to` by the caller's promise; the address may be anything.
        unsafe { copy::copy_from_user(to, self.at as *const u8, self.len) }
    }

    /// Fills all of it from memory of ours. # Errors: `EFAULT`.
    ///
    /// # Safety
    /// `from` is valid for reads of the range's length.
    #[inline]
    pub unsafe fn copy_from(self, from: *const u8) -> Result<(), Errno> {
        self.check()?;
        // SAFETY: `from` by the caller's promise; the address may be anything.
        unsafe { copy::copy_to_user(self.at as *mut u8, from, self.len) }
    }

    /// Its first `len` bytes.
    #[inline]
    fn front(self, len: usize) -> Result<UserBytes, Errno> {
        if len > self.len { Err(Errno::EFAULT) } else { Ok(UserBytes { len, ..self }) }
    }

    #[inline]
    fn check(self) -> Result<(), Errno> {
        let end = self.at.checked_add(self.len).ok_or(Errno::EFAULT)?;
        if end > TASK_SIZE { Err(Errno::EFAULT) } else { Ok(()) }
    }
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

    /// Reads a value, of any alignment. # Errors: `EFAULT`.
    #[inline]
    pub fn read<T: FromBytes>(&mut self, from: UserPtr<T>) -> Result<T, Errno> {
        let last = from.field::<u8>(size_of::<T>().saturating_sub(1))?;
        for at in [from.cast(), last] {
            let page = at.addr() / crate::map::PAGE;
            if self.page != Some(page) {
                at.bytes(1).check()?;
                crate::futex::read_by_kernel(at.addr())?;
                self.page = Some(page);
            }
        }
        from.read()
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
    fn a_claim_that_holds_is_a_value() {
        let mut memory = [3u64, 5, 7];
        let at = UserPtr::<u64>::claim(memory.as_mut_ptr() as usize);
        assert_eq!((at.read(), at.nth(2).and_then(UserPtr::read)), (Ok(3), Ok(7)));
        assert_eq!(at.field::<u64>(8).and_then(UserPtr::read), Ok(5));
        let mut room = [MaybeUninit::uninit(); 2];
        assert_eq!(at.read_slice(&mut room).unwrap(), [3, 5]);
        assert_eq!(at.nth(1).unwrap().write(&9), Ok(()));
        assert_eq!(memory, [3, 9, 7]);
    }

    #[test]
    fn a_claim_that_cannot_hold_is_efault() {
        let end = UserPtr::<u64>::claim(usize::MAX);
        assert_eq!(end.read(), Err(Errno::EFAULT));
        assert_eq!(end.write(&1), Err(Errno::EFAULT));
        assert_eq!(end.field::<u8>(1).map(UserPtr::addr), Err(Errno::EFAULT));
        assert_eq!(UserPtr::<u64>::claim(8).nth(usize::MAX / 4).map(UserPtr::addr), Err(Errno::EFAULT));
        assert_eq!(UserPtr::<u64>::claim(TASK_SIZE - 4).read(), Err(Errno::EFAULT));
        assert!(UserPtr::<u64>::claim(0).given().is_none() && end.given().is_some());
    }

    #[test]
    fn a_range_is_taken_from_the_front_and_never_exceeded() {
        let memory = *b"sender and receiver";
        let mut text = UserPtr::<u8>::claim(memory.as_ptr() as usize).bytes(memory.len());
        let (front, mut room) = (text.take(6).unwrap(), [0; 6]);
        assert_eq!((front.read(&mut room), &room), (Ok(()), b"sender"));
        assert_eq!(text.read_to(&mut [MaybeUninit::uninit(); 4]).unwrap(), b" and");
        assert_eq!((front.len(), text.len(), text.addr()), (6, memory.len() - 6, front.addr() + 6));
        assert_eq!(front.read(&mut [0; 7]), Err(Errno::EFAULT));
        assert_eq!(text.take(memory.len()).map(UserBytes::len), Err(Errno::EFAULT));
        assert_eq!(text.len(), memory.len() - 6);
    }

    #[test]
    fn what_cannot_be_read_is_not() {
        let pages = map::anonymous(2 * PAGE).unwrap().as_ptr() as usize;
        // SAFETY: the second page, which this test has mapped and nobody uses.
        unsafe { map::unmap(pages + PAGE, PAGE) }.unwrap();
        let mut careful = Careful::new();
        let at = UserPtr::<u8>::claim;
        at(pages + PAGE - 8).cast().write(&0x1122_3344_5566_7788_u64).unwrap();
        assert_eq!(careful.read::<u64>(at(pages + PAGE - 8).cast()), Ok(0x1122_3344_5566_7788));
        assert_eq!(careful.read::<u64>(at(pages + PAGE - 7).cast()), Err(Errno::EFAULT));
        assert_eq!(careful.read(at(pages + PAGE - 1)), Ok(0x11));
        for nowhere in [0, 8, pages + PAGE, usize::MAX, usize::MAX - 7, 1 << 47, 1 << 60] {
            assert_eq!(careful.read(at(nowhere)), Err(Errno::EFAULT), "{nowhere:#x}");
        }
        // SAFETY: the page that is left.
        unsafe { map::unmap(pages, PAGE) }.unwrap();
    }
}
