//! Raw copies between a region and memory of one's own. What a peer writes meanwhile can only spoil the bytes.
#![allow(unsafe_code)]

use super::Region;
use crate::atomic::AtomicU64;
use crate::error::Result;

impl Region<'_> {
    /// Copies `from` into the region at `offset`.
    #[inline]
    pub fn write_bytes(self, offset: usize, from: &[u8]) -> Result<()> {
        let to = self.raw(offset, from.len())?;
        // SAFETY: `to` has room for from.len() bytes; no reference to these bytes exists (R2).
        unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), to.as_ptr(), from.len()) };
        Ok(())
    }

    /// Copies from the region at `offset` into `to`.
    #[inline]
    pub fn read_bytes(self, offset: usize, to: &mut [u8]) -> Result<()> {
        let from = self.raw(offset, to.len())?;
        // SAFETY: `from` has to.len() bytes; `to` is memory of our own.
        unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    /// Copies `len` bytes at `offset` of this region to the same offset of `other`.
    pub fn copy_to(self, other: Region<'_>, offset: usize, to_offset: usize, len: usize) -> Result<()> {
        let from = self.raw(offset, len)?;
        let to = other.raw(to_offset, len)?;
        // SAFETY: both ranges are in bounds; different mappings, or `copy` would still be right.
        unsafe { core::ptr::copy(from.as_ptr(), to.as_ptr(), len) };
        Ok(())
    }
}

/// Fills a field of a region, words of text. The length is the type's, so the copy is a few wide moves.
#[inline(always)]
pub fn write_all<const N: usize>(field: &[AtomicU64; N], from: &[u64; N]) {
    let to = core::ptr::from_ref(field).cast::<[u64; N]>().cast_mut();
    // SAFETY: the field is that long, and atomics may be written through a shared reference; raw bytes (R2).
    unsafe { core::ptr::copy_nonoverlapping(from, to, 1) };
}

/// Reads such a field.
#[inline(always)]
pub fn read_all<const N: usize>(field: &[AtomicU64; N], to: &mut [u64; N]) {
    let from = core::ptr::from_ref(field).cast::<[u64; N]>();
    // SAFETY: the field is that long; `to` is memory of our own, of which any bits are a value.
    unsafe { core::ptr::copy_nonoverlapping(from, to, 1) };
}
