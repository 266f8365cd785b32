//! A lock between the threads of this process. It stands in memory that fork wipes, so a child finds it free.
//!
//! # Invariants
//! 0 free, 1 held, 2 held and somebody may sleep. Taken in a section only: a handler that wanted it would wait for itself.
//!
//! # Death
//! With a thread, the whole process dies. A process that runs in another's memory holds it by its state's name, by which it is freed when the
//! process's end is known. What it guards is whole at every store: a forked child, too, finds it as it was at any moment.

use crate::thread::section::Section;
use core::sync::atomic::{
    AtomicU32, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use ring3_os::futex::{self, Reach};

/// Longest sleep before another look, nanoseconds: a wake-up cannot be lost, this is for those that fork leaves behind.
const LOOK: u64 = 1_000_000_000;

/// The lock's word.
#[derive(Debug)]
pub(crate) struct Lock {
    word: AtomicU32,
    /// The state of the thread that holds it, by address.
    holder: AtomicUsize,
}

/// The lock, held until dropped.
#[derive(Debug)]
pub(crate) struct Held<'a>(&'a Lock);

impl Lock {
    /// A free lock.
    pub(crate) const fn new() -> Lock {
        Lock { word: AtomicU32::new(0), holder: AtomicUsize::new(0) }
    }

    /// Takes it.
    pub(crate) fn hold<'a>(&'a self, section: &'a Section) -> Held<'a> {
        // ORDERING: Acquire pairs with the Release of drop().
        if self.word.compare_exchange(0, 1, Acquire, Relaxed).is_err() {
            self.contend();
        }
        self.holder.store(section.name(), Relaxed);
        Held(self)
    }

    /// Frees it if it is held by a name whose process has ended.
    pub(crate) fn release_of(&self, name: usize) {
        if self.word.load(Relaxed) != 0 && self.holder.load(Relaxed) == name {
            drop(Held(self));
        }
    }

    #[cold]
    fn contend(&self) {
        // ORDERING: Acquire as in hold(). Whoever slept leaves 2: others may sleep still.
        while self.word.swap(2, Acquire) != 0 {
            let _ = futex::wait(&self.word, 2, LOOK, Reach::Process);
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.holder.store(0, Relaxed);
        // ORDERING: Release publishes what was done under the lock.
        if self.0.word.swap(0, Release) == 2 {
            futex::wake(self.0.word.as_ptr(), 1, Reach::Process);
        }
    }
}
