//! The only door to atomics.
//!
//! Orderings: whatever a lock protects is Relaxed, because the lock's own word orders it; the exceptions are written
//! where they stand, with the partner they pair with.

#[cfg(not(all(test, feature = "model")))]
pub use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
#[cfg(not(all(test, feature = "model")))]
pub use core::sync::atomic::{AtomicU32, AtomicU64, compiler_fence, fence};

#[cfg(all(test, feature = "model"))]
pub use crate::testing::model::atomic::*;
