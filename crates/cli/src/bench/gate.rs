//! Where children and parent wait for each other.

use super::measure::Work;
use super::sysv;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lets children and parent begin together.
pub(super) struct Gate(pub(super) &'static [AtomicU64; 8]);

impl Gate {
    /// A closed one.
    pub(super) fn new() -> Work<Gate> {
        sysv::shared_words().map(Gate)
    }

    /// A child is there.
    pub(super) fn arrive(&self) {
        // ORDERING: AcqRel pairs with wait(): what a child did before it arrived is seen.
        self.0[0].fetch_add(1, Ordering::AcqRel);
    }

    /// Waits until a word has come so far.
    pub(super) fn wait(&self, word: usize, count: u64) {
        // ORDERING: Acquire pairs with arrive() and with the stores that open the gate.
        while self.0[word].load(Ordering::Acquire) < count {
            // The other may need this very CPU.
            std::thread::yield_now();
        }
    }

    /// Forgets the last run.
    pub(super) fn close(&self) {
        for word in self.0 {
            // ORDERING: Release keeps the last run's reads in front.
            word.store(0, Ordering::Release);
        }
    }
}
