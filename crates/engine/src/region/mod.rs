//! A region: one object's range of shared memory, and the only ways into it.
//!
//! # Conditions (cited by the SAFETY comments here)
//! R1. `base..base+len` is mapped for at least `'r`, page-aligned, and its file cannot shrink.
//! R2. Bytes in it are touched through atomics or through raw copies only; no reference to anything else is ever made.
//! R3. A mapping without write permission is only read from (the caller keeps to the read-only operations).
#![allow(unsafe_code)]

mod array;
pub mod bytes;
mod link;

pub use link::{Index, Link, LinkCell};

pub use array::Array;

use crate::error::{Error, Result};
use core::marker::PhantomData;
use core::ptr::NonNull;

/// A handle on a mapped region. Copies name the same memory.
#[derive(Clone, Copy, Debug)]
pub struct Region<'r> {
    base: NonNull<u8>,
    len: usize,
    life: PhantomData<&'r ()>,
}

// SAFETY: R2 makes every access atomic or a raw copy whose races can only spoil bytes, so threads may share the handle.
unsafe impl Send for Region<'_> {}
// SAFETY: for the same reason as Send.
unsafe impl Sync for Region<'_> {}

/// A structure that may stand in a region: `repr(C)`, only atomic integers, any bits valid.
///
/// # Safety
/// The type consists of `AtomicU32` and `AtomicU64` (and arrays of them) alone, is `repr(C)`, needs no drop, and
/// has an alignment of at most 64.
pub unsafe trait Layout: Sync + 'static {}

// SAFETY: the types themselves.
unsafe impl Layout for crate::atomic::AtomicU32 {}
// SAFETY: the types themselves.
unsafe impl Layout for crate::atomic::AtomicU64 {}

// SAFETY: an array of them has their alignment and any bits are valid.
unsafe impl<T: Layout, const N: usize> Layout for [T; N] {}

/// Declares structures of atomics as layouts, and that they have the size that the format document says.
#[macro_export]
macro_rules! layout {
    ($($(#[$doc:meta])* $name:ident[$size:literal] { $($(#[$fdoc:meta])* $field:ident: $ty:ty,)* })*) => {$(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Debug)]
        pub struct $name { $($(#[$fdoc])* pub $field: $ty,)* }
        const _: () = assert!(size_of::<$name>() == $size);
        const _: () = { const fn plain<T: $crate::region::Plain>() {} $(plain::<$ty>();)* };
        // SAFETY: every field is `Plain`, checked in the line above; repr(C) stands there.
        #[allow(unsafe_code)]
        unsafe impl $crate::region::Layout for $name {}
    )*};
}

/// A field type of a layout: an atomic integer or an array of them.
pub trait Plain {}
impl Plain for crate::atomic::AtomicU32 {}
impl Plain for crate::atomic::AtomicU64 {}
impl<T: Plain, const N: usize> Plain for [T; N] {}

impl<'r> Region<'r> {
    /// Makes a handle.
    ///
    /// # Safety
    /// Conditions R1 to R3 hold.
    pub unsafe fn new(base: NonNull<u8>, len: usize) -> Region<'r> {
        Region { base, len, life: PhantomData }
    }

    /// Length, bytes.
    pub fn len(self) -> usize {
        self.len
    }

    /// Whether there is nothing in it.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The structure at `offset`, if it lies in the region and is aligned.
    #[inline]
    pub fn at<T: Layout>(self, offset: usize) -> Result<&'r T> {
        let end = offset.checked_add(size_of::<T>()).ok_or(Error::Spoiled)?;
        if end > self.len || !offset.is_multiple_of(align_of::<T>()) {
            return Err(Error::Spoiled);
        }
        // SAFETY: in bounds and aligned (base is page-aligned, R1); T is atomics alone (Layout), so a shared reference is
        // sound whatever other processes store (R2).
        Ok(unsafe { self.base.add(offset).cast::<T>().as_ref() })
    }

    /// The offset of a field that lies in this region.
    #[inline]
    pub fn offset_of<T: Layout>(self, field: &T) -> Result<usize> {
        let at = self.place_of(field);
        if at < self.len { Ok(at) } else { Err(Error::Spoiled) }
    }

    /// The same without a look: of a field that lies elsewhere it is an offset where [`Region::at`] finds nothing.
    #[inline(always)]
    pub fn place_of<T: Layout>(self, field: &T) -> usize {
        (core::ptr::from_ref(field) as usize).wrapping_sub(self.base.as_ptr() as usize)
    }

    /// A raw pointer to `len` bytes at `offset`, if they lie in the region. For raw copies only (R2).
    #[inline]
    pub fn raw(self, offset: usize, len: usize) -> Result<NonNull<u8>> {
        let end = offset.checked_add(len).ok_or(Error::Spoiled)?;
        if end > self.len {
            return Err(Error::Spoiled);
        }
        // SAFETY: the check above keeps it in bounds.
        Ok(unsafe { self.base.add(offset) })
    }
}

/// An array of `T` in a region: where it starts and how many there are, from the trusted geometry.
#[derive(Debug)]
pub struct Table<T> {
    /// Offset of the first element.
    pub offset: usize,
    /// How many elements.
    pub cap: u32,
    element: PhantomData<fn() -> T>,
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Table<T> {}

impl<T: Layout> Table<T> {
    /// The array of `cap` elements at `offset`.
    pub const fn new(offset: usize, cap: u32) -> Table<T> {
        Table { offset, cap, element: PhantomData }
    }

    /// The offset just behind the array.
    pub const fn end(self) -> usize {
        self.offset + self.cap as usize * size_of::<T>()
    }

    /// Element `index`. An index beyond the capacity is a claim that does not hold: `Spoiled`.
    #[inline]
    pub fn get<'r>(self, region: Region<'r>, index: u32) -> Result<&'r T> {
        if index >= self.cap {
            return Err(Error::Spoiled);
        }
        region.at(self.offset + index as usize * size_of::<T>())
    }
}
