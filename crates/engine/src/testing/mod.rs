//! For tests: a region on the heap, and a host that never sleeps.
#![allow(unsafe_code)]

#[cfg(feature = "model")]
pub(crate) mod model;
pub(crate) mod mortal;
pub(crate) mod steps;

use crate::atomic::{AtomicU32, AtomicU64, Relaxed};
use crate::host::{Deadline, Host, Parked, WaitWord};
use crate::region::Region;
use core::ptr::NonNull;
use std::alloc::{Layout, alloc_zeroed, dealloc};

/// Zeroed memory at a page's start.
pub(crate) struct Heap(NonNull<u8>, Layout);

impl Heap {
    pub(crate) fn new(len: usize) -> Heap {
        let layout = Layout::from_size_align(len, 4096).unwrap();
        // SAFETY: the size is not zero.
        Heap(NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap(), layout)
    }

    pub(crate) fn region(&self) -> Region<'_> {
        // SAFETY: R1, R2: the memory lives as long as self, is page-aligned, and only regions touch it.
        unsafe { Region::new(self.0, self.1.size()) }
    }

    /// Fills random words with random bits, the state word excepted.
    pub(crate) fn scribble(&self, seed: u64) {
        let mut x = seed | 1;
        let words = (self.1.size() / 8) as u64;
        for _ in 0..400 {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let at = if x >> 60 < 8 { (x >> 20) % 40 } else { (x >> 20) % words };
            if at > 0 {
                let small = if x & 1 == 0 { x >> 32 & 0xf } else { x };
                self.region().at::<AtomicU64>(at as usize * 8).unwrap().store(small, Relaxed);
            }
        }
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: allocated in new() with this layout.
        unsafe { dealloc(self.0.as_ptr(), self.1) }
    }
}

/// A host at one moment of time that lets every park end at once, so that what would block shows as `Stuck`.
pub(crate) struct Still(pub(crate) i64);

impl Host for Still {
    fn now(&self) -> i64 {
        self.0
    }

    fn park(&self, _: WaitWord<'_>, _: Deadline) -> Parked {
        Parked::TimedOut
    }

    fn wake(&self, _: &AtomicU32, _: u32, _: &AtomicU32) {}
}
