//! Links: what a place in a region says of another place. A peer may have written anything, so a link is a claim.
//!
//! # Conditions
//! L1. A link knows which table it is of: one of a message cannot be followed among the tickets.
//! L2. It has no arithmetic, and it indexes nothing. Comparing it with a table's capacity, which the broker told, is the only way to a place
//!     ([`Table::linked`], [`Table::checked`]); what is not below the capacity is `Spoiled`.
//! L3. What has been checked, or was counted up to the capacity, is an [`Index`], and is not checked again.
//!
//! In memory a link is index + 1, and 0 is none.

use super::{Layout, Plain, Region, Table};
use crate::atomic::{Acquire, AtomicU32, Relaxed};
use crate::error::{Error, Result};
use core::fmt;
use core::marker::PhantomData;

/// Which element of the table of `T` somebody says is meant, or none.
#[repr(transparent)]
pub struct Link<T> {
    word: u32,
    to: PhantomData<fn() -> T>,
}

impl<T> Link<T> {
    /// None.
    pub const NONE: Link<T> = Link::claim(0);

    /// Takes a word of a region for what it says it is.
    #[inline]
    pub const fn claim(word: u32) -> Link<T> {
        Link { word, to: PhantomData }
    }

    /// As it stands in memory.
    #[inline]
    pub const fn word(self) -> u32 {
        self.word
    }

    /// Whether it means nothing.
    #[inline]
    pub const fn is_none(self) -> bool {
        self.word == 0
    }

    /// Whether it means the element behind that of another link.
    #[inline]
    pub const fn follows(self, other: Link<T>) -> bool {
        self.word == other.word.wrapping_add(1)
    }
}

impl<T> Clone for Link<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Link<T> {}

impl<T> PartialEq for Link<T> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.word == other.word
    }
}

impl<T> Eq for Link<T> {}

impl<T> fmt::Debug for Link<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.word.checked_sub(1) {
            Some(index) => write!(f, "→{index}"),
            None => f.write_str("→"),
        }
    }
}

/// An element's number in the table of `T`, below the table's capacity (L3).
#[repr(transparent)]
pub struct Index<T> {
    number: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Index<T> {
    /// The number.
    #[inline]
    pub const fn number(self) -> u32 {
        self.number
    }

    /// The link that means this element.
    #[inline]
    pub const fn link(self) -> Link<T> {
        Link::claim(self.number.wrapping_add(1))
    }
}

impl<T> Clone for Index<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Index<T> {}

impl<T> fmt::Debug for Index<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number)
    }
}

/// A field of a region that has a link in it.
#[repr(transparent)]
pub struct LinkCell<T> {
    word: AtomicU32,
    to: PhantomData<fn() -> T>,
}

impl<T> Plain for LinkCell<T> {}

impl<T> LinkCell<T> {
    /// What it says.
    #[inline]
    pub fn load(&self) -> Link<T> {
        Link::claim(self.word.load(Relaxed))
    }

    /// What it says, for a reader without the lock.
    #[inline]
    pub fn load_acquire(&self) -> Link<T> {
        // ORDERING: Acquire pairs with the journal's Release of the link: what it leads to was written before.
        Link::claim(self.word.load(Acquire))
    }

    /// Says something else, where that needs no journal.
    #[inline]
    pub fn store(&self, link: Link<T>) {
        self.word.store(link.word, Relaxed);
    }

    /// The word, for the journal.
    #[inline]
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.word
    }
}

impl<T> fmt::Debug for LinkCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load().fmt(f)
    }
}

impl<T: Layout> Table<T> {
    /// The element of this number, if the table has so many.
    #[inline]
    pub fn index(self, number: u32) -> Option<Index<T>> {
        (number < self.cap).then_some(Index { number, of: PhantomData })
    }

    /// Its first elements, so many or as many as there are.
    #[inline]
    pub fn first(self, count: u32) -> impl Iterator<Item = Index<T>> {
        (0..count.min(self.cap)).map(|number| Index { number, of: PhantomData })
    }

    /// Which element a link means. # Errors: `Spoiled`: none, or one that is not there (L2).
    #[inline]
    pub fn checked(self, link: Link<T>) -> Result<Index<T>> {
        self.index(link.word.wrapping_sub(1)).ok_or(Error::Spoiled)
    }

    /// An element.
    #[inline]
    pub fn element<'r>(self, region: Region<'r>, index: Index<T>) -> Result<&'r T> {
        region.at(self.offset + index.number as usize * size_of::<T>())
    }

    /// The element that a link means. # Errors: as [`Table::checked`].
    #[inline]
    pub fn linked<'r>(self, region: Region<'r>, link: Link<T>) -> Result<&'r T> {
        self.element(region, self.checked(link)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic::AtomicU64;
    use crate::testing::Heap;

    #[test]
    fn only_what_is_below_the_capacity_is_a_place() {
        let heap = Heap::new(4096);
        // The region goes on behind the table.
        let table = Table::<AtomicU64>::new(64, 3);
        for n in 0..3 {
            let link = table.index(n).unwrap().link();
            assert_eq!((table.checked(link).unwrap().number(), link.word()), (n, n + 1));
            assert!(table.linked(heap.region(), link).is_ok());
        }
        for word in [0, 4, 5, u32::MAX] {
            assert_eq!(table.checked(Link::claim(word)).unwrap_err(), Error::Spoiled, "{word}");
            assert_eq!(table.linked(heap.region(), Link::claim(word)).unwrap_err(), Error::Spoiled);
        }
        assert!(table.index(3).is_none() && table.first(9).count() == 3);
    }
}
