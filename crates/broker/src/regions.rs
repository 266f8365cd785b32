//! Files mapped as regions: the broker's only unsafe file.
//!
//! # Conditions
//! M1. A [`Mapping`] owns its address range, which is mapped from construction to drop.
//! M2. Its file cannot shrink: the constructors are given files sealed against that, or such as nobody else can truncate.
#![allow(unsafe_code)]

use crate::failure::errno;
use crate::state::Held;
use ring3_abi::Errno;
use ring3_engine::msg::Piece;
use ring3_engine::region::Layout;
use ring3_engine::{Error, Region};
use ring3_os::fd::Fd;
use ring3_os::packet::{self, Arrival};
use ring3_os::socket::Received;
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::mm::{Advice, MapFlags, MlockFlags, ProtFlags};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;

/// A shared, writable mapping of the beginning of a file.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
    /// It is another's too, or the state names it: it stays when this goes.
    stays: bool,
}

impl Mapping {
    /// Maps `len` bytes of a file that is at least so long and cannot shrink (M2).
    pub(crate) fn new(file: impl AsFd, len: usize, flags: MapFlags) -> Result<Mapping, Errno> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: no address is asked for, so nothing that is mapped is replaced.
        let at =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, prot, MapFlags::SHARED | flags, file, 0) }
                .map_err(errno)?;
        Ok(Mapping { base: NonNull::new(at.cast()).ok_or(Errno::ENOMEM)?, len, stays: false })
    }

    /// The same, once more: from here on it stays mapped until the process ends.
    pub(crate) fn again(&self) -> Mapping {
        Mapping { base: self.base, len: self.len, stays: true }
    }

    /// A mapping by its address: one that this process was forked with.
    pub(crate) fn inherited(address: u64, len: usize) -> Option<Mapping> {
        Some(Mapping {
            base: NonNull::new(std::ptr::with_exposed_provenance_mut(address as usize))?,
            len,
            stays: false,
        })
    }

    /// From here on it stays mapped until the process ends.
    pub(crate) fn leave(&mut self) {
        self.stays = true;
    }

    /// Its address.
    pub(crate) fn address(&self) -> u64 {
        self.base.as_ptr().expose_provenance() as u64
    }

    /// All of it.
    pub(crate) fn whole(&self) -> Region<'_> {
        // SAFETY: as in region().
        unsafe { Region::new(self.base, self.len) }
    }

    /// The structure that it begins with.
    pub(crate) fn first<T: Layout>(&self) -> &T {
        const { assert!(size_of::<T>() <= 4096) }
        // SAFETY: every mapping has a page at least, which is aligned for every layout; a layout is atomics alone (R2).
        unsafe { self.base.cast::<T>().as_ref() }
    }

    /// A place for a packet. Out of bounds it is the first.
    pub(crate) fn place(&self, at: usize) -> Place<'_> {
        let lies =
            at.is_multiple_of(align_of::<packet::Place>()) && at + size_of::<packet::Place>() <= self.len;
        // SAFETY: the offset was compared with the mapping's length just now, and 0 is in every mapping.
        let place = unsafe { self.base.add(if lies { at } else { 0 }) };
        Place { place: place.cast(), life: PhantomData }
    }

    /// A range of it, or `None` if it does not lie within.
    pub(crate) fn region(&self, offset: usize, len: usize) -> Option<Region<'_>> {
        offset.checked_add(len).filter(|&end| end <= self.len)?;
        // SAFETY: in bounds of a mapping that lives as long as the borrow (M1) of a file that cannot shrink (M2); nothing
        // here makes references into it. R1 to R3 of the engine.
        Some(unsafe { Region::new(self.base.add(offset), len) })
    }

    /// Keeps the pages that have contents in memory, and those that get some through this mapping.
    pub(crate) fn lock(&self, ranges: &[(usize, usize)]) -> Result<(), Errno> {
        // SAFETY: locking changes no contents; the range is ours (M1).
        unsafe { rustix::mm::mlock_with(self.base.as_ptr().cast(), self.len, MlockFlags::ONFAULT) }
            .map_err(errno)?;
        self.populate(ranges);
        Ok(())
    }

    /// Brings pages of these ranges (offset, length) into the mapping.
    pub(crate) fn populate(&self, ranges: &[(usize, usize)]) {
        for &(offset, len) in ranges {
            let Some(len) = self.len.checked_sub(offset).map(|room| room.min(len)) else { continue };
            // SAFETY: in bounds; reading pages in changes no contents.
            // A failure leaves pages where they are, which is what was before.
            let _ = unsafe {
                rustix::mm::madvise(self.base.add(offset).as_ptr().cast(), len, Advice::LinuxPopulateRead)
            };
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        // SAFETY: M1: ours, and nobody borrows it any more. It cannot fail for a range that is mapped whole.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// A place in a mapping for a packet and what comes with it (`ring3_os::packet`). This process alone uses it.
#[derive(Debug)]
pub(crate) struct Place<'m> {
    place: NonNull<packet::Place>,
    life: PhantomData<&'m ()>,
}

impl Place<'_> {
    /// Receives the next packet into it, if it is empty.
    pub(crate) fn receive(&self, fd: impl AsRawFd) -> Result<Arrival, Errno> {
        // SAFETY: in bounds of a mapping (M1), which nobody has a reference into.
        unsafe { packet::receive_at(fd.as_raw_fd(), self.place.as_ptr()) }
    }

    /// Whether a packet is in it.
    pub(crate) fn is_full(&self) -> bool {
        // SAFETY: as in receive().
        unsafe { packet::length(self.place.as_ptr()) != 0 }
    }

    /// The packet in it and what came with it.
    pub(crate) fn packet(&self) -> (Received, Vec<u8>) {
        // SAFETY: as in receive(); the vector gets the length that was written.
        unsafe {
            let len = packet::length(self.place.as_ptr());
            let mut bytes = Vec::with_capacity(len);
            let received = packet::received(self.place.as_ptr(), bytes.as_mut_ptr());
            bytes.set_len(len);
            (received, bytes)
        }
    }

    /// Forgets what came beside it unless it is one of those that are there.
    pub(crate) fn keep_beside(&self, is_there: impl Fn(RawFd) -> bool) {
        // SAFETY: as in receive().
        unsafe { packet::keep_beside(self.place.as_ptr(), is_there) };
    }

    /// Empties it.
    pub(crate) fn empty(&self) {
        // SAFETY: as in receive().
        unsafe { packet::empty(self.place.as_ptr()) };
    }
}

/// Makes a memory file that nobody but its owner may reopen for writing.
pub(crate) fn memory_file(name: &str, extra: MemfdFlags) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | extra;
    // Kernels before 6.3 do not know NOEXEC_SEAL.
    let file = rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL)
        .or_else(|failed| match failed {
            rustix::io::Errno::INVAL => rustix::fs::memfd_create(name, flags),
            other => Err(other),
        })
        .map_err(errno)?;
    rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR).map_err(errno)?;
    Ok(file)
}

/// Forbids to shrink the file, whatever else `seals` says, and to add further seals.
pub(crate) fn seal(file: impl AsFd, seals: SealFlags) -> Result<(), Errno> {
    rustix::fs::fcntl_add_seals(file, SealFlags::SHRINK | SealFlags::SEAL | seals).map_err(errno)
}

/// A descriptor of the same file through which it cannot be written.
pub(crate) fn read_only(file: &impl AsRawFd) -> Result<OwnedFd, Errno> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(errno)
}

/// How many pages of a file are in the page cache, or `None` on kernels without cachestat(2) (before 6.5).
pub(crate) fn cached_pages(file: impl AsFd) -> Option<u64> {
    const CACHESTAT: usize = 451;
    let range = [0u64; 2];
    let mut counts = [0u64; 5];
    let fd = file.as_fd().as_raw_fd() as usize;
    // SAFETY: cachestat reads a struct of two and writes one of five 64-bit numbers, both ours.
    let raw = unsafe {
        ring3_os::arch::syscall(
            CACHESTAT,
            [fd, range.as_ptr() as usize, counts.as_mut_ptr() as usize, 0, 0, 0],
        )
    };
    Errno::decode(raw).ok().map(|_| counts[0])
}

/// Copies a text into a queue's region.
pub(crate) fn copy_in(
    pieces: impl Iterator<Item = Result<Piece, Error>>,
    mut text: &[u8],
) -> Result<(), Error> {
    for piece in pieces {
        let piece = piece?;
        let (now, rest) = text.split_at_checked(piece.len).ok_or(Error::Spoiled)?;
        // SAFETY: the engine has checked that the piece lies in the mapping; it is memory for raw copies (M1, R2).
        unsafe { std::ptr::copy_nonoverlapping(now.as_ptr(), piece.ptr, now.len()) };
        text = rest;
    }
    Ok(())
}

/// Copies the first `len` bytes of a text out of a queue's region.
pub(crate) fn copy_out(
    pieces: impl Iterator<Item = Result<Piece, Error>>,
    len: usize,
) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    for piece in pieces {
        let piece = piece?;
        let wanted = piece.len.min(len - text.len());
        let at = text.len();
        text.resize(at + wanted, 0);
        if let Some(room) = text.get_mut(at..) {
            // SAFETY: as in copy_in; `room` has `wanted` bytes.
            unsafe { std::ptr::copy_nonoverlapping(piece.ptr.cast_const(), room.as_mut_ptr(), wanted) };
        }
    }
    Ok(text)
}

/// Another descriptor of the same file, for somebody else.
pub(crate) fn copy(fd: &impl AsFd) -> Result<Held, Errno> {
    fd.as_fd().try_clone_to_owned().map(Held::from).map_err(|_| Errno::EMFILE)
}

/// A descriptor by the number that the state has of it; `None`: there is none.
pub(crate) fn inherited(raw: RawFd) -> Option<OwnedFd> {
    if raw <= 2 {
        return None;
    }
    // SAFETY: the state names each descriptor once, and whoever had it before is gone.
    let fd = unsafe { OwnedFd::from_raw_fd(raw) };
    match rustix::io::fcntl_getfd(&fd) {
        Ok(_) => Some(fd),
        Err(_) => {
            std::mem::forget(fd);
            None
        }
    }
}

/// The descriptor of a number, if there is one, which somebody else keeps.
pub(crate) fn borrowed<'f>(raw: RawFd) -> Option<BorrowedFd<'f>> {
    if raw <= 2 {
        return None;
    }
    // SAFETY: whoever has it keeps it open for the length of a send: this process has one thread.
    let fd = unsafe { BorrowedFd::borrow_raw(raw) };
    rustix::io::fcntl_getfd(fd).ok().map(|_| fd)
}

/// The same descriptor, which is never closed.
pub(crate) fn same(fd: &OwnedFd) -> ManuallyDrop<OwnedFd> {
    // SAFETY: it is open as long as the process lives: nobody drops it.
    ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(fd.as_raw_fd()) })
}

/// Takes a descriptor out of a value that is being dropped.
pub(crate) fn last_use(fd: &mut ManuallyDrop<OwnedFd>) -> OwnedFd {
    // SAFETY: called once, by the value's drop.
    unsafe { ManuallyDrop::take(fd) }
}

/// The same descriptor for the standard library's functions.
pub(crate) fn owned(fd: Fd) -> OwnedFd {
    // SAFETY: the descriptor was this value's alone, which is given up.
    unsafe { OwnedFd::from_raw_fd(fd.into_raw()) }
}
