//! Atomics that let another thread run before each access, while a model test runs; else they are core's.

use core::cell::Cell;
use core::sync::atomic;
pub use core::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst};

std::thread_local! {
    /// Whether accesses switch on this thread. The scheduler runs all threads of a model on one.
    static SWITCHING: Cell<bool> = const { Cell::new(false) };
}

/// Accesses switch until this is dropped.
pub(super) struct Switching(());

/// From now on accesses switch.
pub(super) fn switching() -> Switching {
    SWITCHING.set(true);
    Switching(())
}

impl Drop for Switching {
    fn drop(&mut self) {
        SWITCHING.set(false);
    }
}

shuttle::lazy_static! {
    /// To touch it is to let the scheduler choose.
    static ref POINT: shuttle::sync::atomic::AtomicBool = shuttle::sync::atomic::AtomicBool::new(false);
}

fn point() {
    if SWITCHING.get() {
        POINT.load(Relaxed);
    }
}

/// fence(): a thread may be late in front of it.
pub fn fence(order: Ordering) {
    point();
    atomic::fence(order);
}

/// compiler_fence().
pub fn compiler_fence(order: Ordering) {
    atomic::compiler_fence(order);
}

macro_rules! switching {
    ($($name:ident: $of:ident $word:ty;)*) => {$(
        /// core's, with a switch before each access.
        #[repr(transparent)]
        #[derive(Debug, Default)]
        pub struct $name(atomic::$of);

        #[allow(missing_docs, reason = "they are core's")]
        impl $name {
            pub const fn new(value: $word) -> Self {
                Self(atomic::$of::new(value))
            }

            pub fn load(&self, order: Ordering) -> $word {
                point();
                self.0.load(order)
            }

            pub fn store(&self, value: $word, order: Ordering) {
                point();
                self.0.store(value, order);
            }

            pub fn swap(&self, value: $word, order: Ordering) -> $word {
                point();
                self.0.swap(value, order)
            }

            pub fn fetch_and(&self, value: $word, order: Ordering) -> $word {
                point();
                self.0.fetch_and(value, order)
            }

            pub fn fetch_or(&self, value: $word, order: Ordering) -> $word {
                point();
                self.0.fetch_or(value, order)
            }

            pub fn compare_exchange(
                &self,
                old: $word,
                new: $word,
                good: Ordering,
                bad: Ordering,
            ) -> Result<$word, $word> {
                point();
                self.0.compare_exchange(old, new, good, bad)
            }

            pub fn compare_exchange_weak(
                &self,
                old: $word,
                new: $word,
                good: Ordering,
                bad: Ordering,
            ) -> Result<$word, $word> {
                self.compare_exchange(old, new, good, bad)
            }

            pub fn as_ptr(&self) -> *mut $word {
                self.0.as_ptr()
            }
        }
    )*};
}

switching! {
    AtomicU32: AtomicU32 u32;
    AtomicU64: AtomicU64 u64;
}
