//! Mappings. mmap(2), munmap(2), madvise(2). All are the agent's own ([`own_syscall`]) but for [`change`], which is the program's.

use crate::arch::{nr, own_syscall, syscall};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use ring3_abi::Errno;

/// Page size. Regions and segments are multiples of it.
pub const PAGE: usize = 4096;

/// Pages may be read.
pub const PROT_READ: usize = 1;
/// Pages may be written.
pub const PROT_WRITE: usize = 2;
/// Pages may be executed.
pub const PROT_EXEC: usize = 4;

/// Changes are seen by all who map the file.
pub const MAP_SHARED: usize = 1;
/// Changes are ours.
pub const MAP_PRIVATE: usize = 2;
/// Exactly at the address; whatever was there goes.
pub const MAP_FIXED: usize = 0x10;
/// Without a file.
pub const MAP_ANONYMOUS: usize = 0x20;
/// Reserve no swap.
pub const MAP_NORESERVE: usize = 0x4000;
/// Exactly at the address; EEXIST if something is there.
pub const MAP_FIXED_NOREPLACE: usize = 0x10_0000;

/// mremap: elsewhere, if need be.
pub const MREMAP_MAYMOVE: usize = 1;
/// mremap: exactly to the address.
pub const MREMAP_FIXED: usize = 2;
/// mremap: the old range stays mapped.
pub const MREMAP_DONTUNMAP: usize = 4;

/// How memory is kept from being swapped out. mlock2(2), mlockall(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locking {
    /// It is not.
    No,
    /// All of it at once.
    Now,
    /// Each page from when it is there.
    OnFault,
}

const MADV_WIPEONFORK: usize = 18;

/// mmap with everything said.
///
/// # Safety
/// With `MAP_FIXED`, nothing of value lies in the range.
pub unsafe fn map(
    addr: usize,
    len: usize,
    prot: usize,
    flags: usize,
    fd: i32,
    offset: u64,
) -> Result<usize, Errno> {
    // SAFETY: by the caller's promise no memory in use is replaced.
    let raw = unsafe { own_syscall(nr::MMAP, [addr, len, prot, flags, fd as usize, offset as usize]) };
    Errno::decode(raw)
}

/// Maps a range of a file for all to see, anywhere, not locked.
pub fn shared(fd: i32, offset: u64, len: usize, prot: usize) -> Result<NonNull<u8>, Errno> {
    unlocked(len, prot, MAP_SHARED, fd, offset)
}

/// Maps zeroed memory of our own, which costs nothing until touched, not locked.
pub fn anonymous(len: usize) -> Result<NonNull<u8>, Errno> {
    unlocked(len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
}

/// Whether the kernel locks, and so fills, what is mapped (mlockall(2), MCL_FUTURE). Our own memory is the program's business as little as
/// the kernel's is, and would be megabytes of its RLIMIT_MEMLOCK.
static KERNEL_LOCKS: AtomicBool = AtomicBool::new(false);

/// Notes what mlockall or munlockall has said of what is mapped later.
pub fn set_kernel_locks(yes: bool) {
    KERNEL_LOCKS.store(yes, Relaxed);
}

/// Takes a range out of what is locked. munlock(2).
pub fn unlock(addr: usize, len: usize) {
    // SAFETY: changes no contents.
    unsafe { own_syscall(nr::MUNLOCK, [addr, len, 0, 0, 0, 0]) };
}

/// Maps a page of a file, read and written by all who map it, over a page of our own; not locked.
///
/// # Safety
/// The page at `addr` is ours, and nobody relies on what is there.
pub unsafe fn shared_over(addr: usize, fd: i32, offset: u64) -> Result<(), Errno> {
    // SAFETY: by the caller's promise.
    unsafe { map(addr, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, offset)? };
    if KERNEL_LOCKS.load(Relaxed) {
        unlock(addr, PAGE);
    }
    Ok(())
}

fn unlocked(len: usize, prot: usize, flags: usize, fd: i32, offset: u64) -> Result<NonNull<u8>, Errno> {
    // SAFETY: no MAP_FIXED.
    let map = |len| unsafe { map(0, len, prot, flags, fd, offset) };
    let at = if KERNEL_LOCKS.load(Relaxed) { Err(Errno::EAGAIN) } else { map(len) };
    let at = match at {
        // A page at most is locked, and not for long: a mapping that is not locked stays unlocked when it grows.
        Err(Errno::EAGAIN) => {
            let first = map(len.min(PAGE))?;
            unlock(first, len.min(PAGE));
            grown(first, len)?
        }
        other => other?,
    };
    NonNull::new(at as *mut u8).ok_or(Errno::ENOMEM)
}

/// Makes a mapping of one page that nobody knows as long as `len`, or takes it back.
fn grown(first: usize, len: usize) -> Result<usize, Errno> {
    if len <= PAGE {
        return Ok(first);
    }
    // SAFETY: nobody knows it yet.
    unsafe {
        remap(first, PAGE, len, MREMAP_MAYMOVE, 0).inspect_err(|_| {
            let _ = unmap(first, PAGE);
        })
    }
}

/// Maps zeroed memory that a forked child sees as zero again.
pub fn wiped_on_fork(len: usize) -> Result<NonNull<u8>, Errno> {
    let at = anonymous(len)?;
    // SAFETY: the range was mapped in the line above.
    let raw = unsafe { own_syscall(nr::MADVISE, [at.as_ptr() as usize, len, MADV_WIPEONFORK, 0, 0, 0]) };
    match Errno::decode(raw) {
        Ok(_) => Ok(at),
        Err(errno) => {
            // SAFETY: mapped above, and nobody knows the address.
            let _ = unsafe { unmap(at.as_ptr() as usize, len) };
            Err(errno)
        }
    }
}

/// Maps a file once more, from the place in it where the mapping at `old` begins, as that one is used.
///
/// # Safety
/// `old` is a page-aligned address in a shared mapping of a file; `len` goes no further than the file.
pub unsafe fn again(old: usize, len: usize) -> Result<NonNull<u8>, Errno> {
    // SAFETY: an old length of 0 leaves the old mapping as it is.
    let at = unsafe { remap(old, 0, len, MREMAP_MAYMOVE, 0)? };
    NonNull::new(at as *mut u8).ok_or(Errno::ENOMEM)
}

/// Puts zeroed private memory over a range that was the agent's: a thread that still reads there finds zeroes, and no fault.
///
/// # Safety
/// The range is a mapping of our own that nobody relies on.
pub unsafe fn blank(addr: usize, len: usize) -> Result<(), Errno> {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    if !KERNEL_LOCKS.load(Relaxed) {
        // SAFETY: by the caller's promise.
        return unsafe { map(addr, len, PROT_READ | PROT_WRITE, flags, -1, 0) }.map(|_| ());
    }
    let memory = anonymous(len)?.as_ptr() as usize;
    // SAFETY: what goes there was mapped in the line above; for the rest by the caller's promise.
    unsafe { remap(memory, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, addr) }.map(|_| ())
}

/// munmap.
///
/// # Safety
/// Nothing in the range is used any more.
pub unsafe fn unmap(addr: usize, len: usize) -> Result<(), Errno> {
    // SAFETY: by the caller's promise.
    let raw = unsafe { own_syscall(nr::MUNMAP, [addr, len, 0, 0, 0, 0]) };
    Errno::decode(raw).map(|_| ())
}

/// mremap.
///
/// # Safety
/// Nothing of value lies where the pages go, and nothing relies on where they were.
pub unsafe fn remap(
    old: usize,
    old_len: usize,
    new_len: usize,
    flags: usize,
    to: usize,
) -> Result<usize, Errno> {
    // SAFETY: by the caller's promise.
    Errno::decode(unsafe { own_syscall(nr::MREMAP, [old, old_len, new_len, flags, to, 0]) })
}

/// Whether every page of a range is mapped. mincore(2).
pub fn is_mapped(from: usize, to: usize) -> bool {
    const PAGES: usize = 256;
    let mut seen = [0u8; PAGES];
    let mut at = from & !(PAGE - 1);
    while at < to {
        let len = (to - at).min(PAGES * PAGE);
        // SAFETY: the kernel writes a byte for each of at most PAGES pages.
        if unsafe { own_syscall(nr::MINCORE, [at, len, seen.as_mut_ptr() as usize, 0, 0, 0]) } < 0 {
            return false;
        }
        at += len;
    }
    true
}

/// One of the calls that change mappings or how they may be used (mmap, mprotect, madvise, mlock and their like), by its number, as the program's
/// own call: the program's filter decides (`seccomp.rs`).
///
/// # Safety
/// The call changes what a range maps or how it may be used, as the program asks; nothing of ours lies there.
pub unsafe fn change(number: usize, arguments: [usize; 6]) -> Result<usize, Errno> {
    // SAFETY: by the caller's promise.
    Errno::decode(unsafe { syscall(number, arguments) })
}
