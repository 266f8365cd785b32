//! A lock between the threads of this process. It stands in memory that fork wipes, so a child finds it free.
//!
//! # Invariants
//! 0 free, 1 held, 2 held and somebody may sleep. Taken in a section only: a handler that wanted it would wait for itself.

use crate::thread::section::Section;
use core::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use ring3_os::futex::{self, Reach};

/// Longest sleep before another look, nanoseconds: a wake-up cannot be lost, this is for those that fork leaves behind.
const LOOK: u64 = 1_000_000_000;

/// The lock's word.
#[derive(Debug)]
pub(crate) struct Lock(AtomicU32);

/// The lock, held until dropped.
#[derive(Debug)]
pub(crate) struct Held<'a>(&'a Lock);

impl Lock {
    /// A free lock.
    pub(crate) const fn new() -> Lock {
        Lock(AtomicU32::new(0))
    }

    /// Takes it.
    pub(crate) fn hold<'a>(&'a self, _section: &'a Section) -> Held<'a> {
        // ORDERING: Acquire pairs with the Release of drop().
        if self.0.compare_exchange(0, 1, Acquire, Relaxed).is_err() {
            self.contend();
        }
        Held(self)
    }

    #[cold]
    fn contend(&self) {
        // ORDERING: Acquire as in hold(). Whoever slept leaves 2: others may sleep still.
        while self.0.swap(2, Acquire) != 0 {
            let _ = futex::wait(&self.0, 2, LOOK, Reach::Process);
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // ORDERING: Release publishes what was done under the lock.
        if self.0.0.swap(0, Release) == 2 {
            futex::wake(self.0.0.as_ptr(), 1, Reach::Process);
        }
    }
}
