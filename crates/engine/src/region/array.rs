//! A table of a region that was checked against the region once, when its handle was made: an access compares the index with the capacity, and
//! that is all.
#![allow(unsafe_code)]

use super::{Index, Layout, Link, Region, Table};
use crate::error::{Error, Result};
use core::marker::PhantomData;
use core::ptr::NonNull;

/// An array of `T` that lies in a region of life `'r`, all of it, and is aligned.
#[derive(Debug)]
pub struct Array<'r, T> {
    base: NonNull<T>,
    cap: u32,
    life: PhantomData<&'r T>,
}

// SAFETY: it gives out shared references to a `Layout` alone, which is `Sync`.
unsafe impl<T: Layout> Send for Array<'_, T> {}
// SAFETY: for the same reason as Send.
unsafe impl<T: Layout> Sync for Array<'_, T> {}

impl<T> Clone for Array<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Array<'_, T> {}

impl<T: Layout> Table<T> {
    /// The table in a region. # Errors: `Spoiled` if the region does not have all of it.
    pub fn lies_in(self, region: Region<'_>) -> Result<Array<'_, T>> {
        let len = (self.cap as usize).checked_mul(size_of::<T>()).ok_or(Error::Spoiled)?;
        let base = region.raw(self.offset, len)?.cast::<T>();
        if base.is_aligned() {
            Ok(Array { base, cap: self.cap, life: PhantomData })
        } else {
            Err(Error::Spoiled)
        }
    }
}

impl<'r, T: Layout> Array<'r, T> {
    /// Elements that lie in a region for certain, as many as the compiler knows.
    #[inline(always)]
    pub fn of<const N: usize>(elements: &'r [T; N]) -> Array<'r, T> {
        Array { base: NonNull::from(elements).cast(), cap: N as u32, life: PhantomData }
    }

    /// How many elements.
    #[inline]
    pub fn cap(self) -> u32 {
        self.cap
    }

    /// Element `index`. An index beyond the capacity is a claim that does not hold: `Spoiled`.
    #[inline]
    pub fn get(self, index: u32) -> Result<&'r T> {
        if index >= self.cap {
            return Err(Error::Spoiled);
        }
        // SAFETY: lies_in() has seen that the region has `cap` elements here, and aligned; it is mapped for 'r (R1), and T is atomics alone
        // (Layout), so a shared reference is sound whatever other processes store (R2).
        Ok(unsafe { self.base.add(index as usize).as_ref() })
    }
}

impl<'r, T: Layout> Array<'r, T> {
    /// An element. An index of a larger table is `Spoiled`.
    #[inline]
    pub fn element(self, index: Index<T>) -> Result<&'r T> {
        self.get(index.number())
    }

    /// The element that a link means. # Errors: `Spoiled`: none, or one that is not there.
    #[inline]
    pub fn linked(self, link: Link<T>) -> Result<&'r T> {
        self.get(link.word().wrapping_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic::{AtomicU64, Relaxed};
    use crate::testing::Heap;

    #[test]
    fn has_its_elements_and_no_more() {
        let heap = Heap::new(4096);
        let array = Table::<AtomicU64>::new(4096 - 3 * 8, 3).lies_in(heap.region()).unwrap();
        for n in 0..3 {
            array.get(n).unwrap().store(u64::from(n) + 7, Relaxed);
            assert_eq!(
                heap.region().at::<AtomicU64>(4096 - 24 + n as usize * 8).unwrap().load(Relaxed),
                u64::from(n) + 7
            );
        }
        for beyond in [3, 4, u32::MAX] {
            assert_eq!(array.get(beyond).unwrap_err(), Error::Spoiled);
        }
    }

    #[test]
    fn lies_in_the_region_whole_and_aligned_or_not_at_all() {
        let heap = Heap::new(4096);
        let lies = |offset, cap| {
            Table::<AtomicU64>::new(offset, cap).lies_in(heap.region()).map(|array| array.cap())
        };
        assert_eq!(lies(0, 512), Ok(512));
        assert_eq!(lies(4096, 0), Ok(0));
        for (offset, cap) in
            [(0, 513), (8, 512), (4096, 1), (4, 1), (usize::MAX, 1), (usize::MAX - 7, 1), (0, u32::MAX)]
        {
            assert_eq!(lies(offset, cap), Err(Error::Spoiled), "{cap} at {offset}");
        }
    }
}
