//! The word of a ticket that holds its owner's thread number, which the kernel marks when the thread ends: before anybody can know of the end.
//! get_robust_list(2); kernel: exit_robust_list(), handle_futex_death(), called by exit_mm(), before files are closed.
//!
//! A robust list has room for one word beside its entries: that of the lock which the thread is about to take or to give back
//! (`list_op_pending`). A thread that sleeps is about to do neither, so its host names the ticket's word there, by one store.
//!
//! # Invariants
//! O1. The word holds the owner's number, as the thread knows itself, from before the ticket joins a queue until the ticket is free.
//! O2. Both are done under the region's lock: the word is named before the change that puts the ticket into a queue is committed, and named no
//!     more before the change that frees it. In between the owner sleeps, and nothing else is named.
//! O3. A marked word means that the thread will never run again. A ticket with one is taken out of its queue by whoever meets it there, before it is
//!     served or counted; the sleepers in front of it and behind it keep their places.
//! O4. A word that is not marked says nothing. Some deaths are left to `settle`, which finds the tickets by their process: of a thread without a robust
//!     list, of one that sleeps in the broker, of one whose object has just moved and which has not adopted its ticket yet.
//! O5. The kernel marks a word only if it holds the number of the thread that ends. So a name that outlives its ticket marks nobody else's.
//!
//! # Death
//! With the lock, so at any store of O2: nobody looks at a queue before `settle` has the lock, and that ends every ticket of the process. The word of
//! a ticket that was rolled back may be marked: it is free, and its next owner stores its own number.
//! With the lock free: the ticket is in no queue, or its word is marked.
//! Of whoever takes a marked ticket out: that is a change of the journal; the next one does it again.

use crate::atomic::{Acquire, AtomicU32, Relaxed};
use crate::host::Host;
use crate::region::Plain;
use ring3_abi::Pid;

/// The kernel's mark. kernel: FUTEX_OWNER_DIED.
const ENDED: u32 = 0x4000_0000;

/// The word.
#[repr(transparent)]
#[derive(Debug)]
pub struct OwnerWord(AtomicU32);
impl Plain for OwnerWord {}

impl OwnerWord {
    /// The owner's thread; no thread's number once it is marked.
    #[inline]
    pub(super) fn thread(&self) -> Pid {
        self.0.load(Relaxed)
    }

    /// The ticket, which is free still, gets this owner (O1).
    #[inline]
    pub(super) fn set(&self, thread: Pid) {
        self.0.store(thread, Relaxed);
    }

    /// The calling thread is the owner, and will sleep (O2).
    #[inline]
    pub(super) fn watch<H: Host>(&self, host: &H) {
        host.watch(&self.0);
    }

    /// Whether the owner has ended (O3).
    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        // ORDERING: Acquire: who sees the mark sees what the thread did before its end.
        self.0.load(Acquire) & ENDED != 0
    }
}
