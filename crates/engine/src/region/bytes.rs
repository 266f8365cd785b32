//! Raw copies between a region and memory of one's own. What a peer writes meanwhile can only spoil the bytes.
#![allow(unsafe_code)]

use super::Region;
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
