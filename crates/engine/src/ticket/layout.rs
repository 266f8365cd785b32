//! What a ticket is in a region. The page `docs/region-format.md` is this file in prose.

use super::owner::OwnerWord;
use super::state::StateWord;
use crate::atomic::{AtomicU32, AtomicU64};
use crate::layout;
use crate::region::{Layout, Plain};

layout! {
    /// The half of a ticket that is the same in every mechanism.
    Common[32] {
        /// The state word, and the futex.
        state: StateWord,
        /// The owner's process.
        pid: AtomicU32,
        /// The owner's thread, or the kernel's mark that it has ended.
        owner: OwnerWord,
        /// Error number of a ticket that is done, or what one that waits gets instead of its turn; 0 success.
        result: AtomicU32,
        /// Next in the queue, or in the free list, + 1.
        next: AtomicU32,
        /// Previous in the queue, + 1.
        prev: AtomicU32,
        /// Since when, seconds.
        since: AtomicU64,
    }
    /// A ticket: one cache line.
    Place[64] {
        /// The half that is the same in every mechanism.
        common: Common,
        /// The mechanism's half: each declares its own layout of these 32 bytes ([`Half`]).
        own: [AtomicU64; 4],
    }
    /// Both ends of a queue of tickets.
    Queue[8] {
        /// First ticket + 1.
        head: AtomicU32,
        /// Last ticket + 1.
        tail: AtomicU32,
    }
}
impl Plain for Common {}
impl Plain for Queue {}

/// Offset of a mechanism's half in a ticket.
pub const OWN: usize = size_of::<Common>();

/// A mechanism's half of a ticket.
pub trait Half: Layout + Sized {
    /// Fails to compile where the half is not one.
    const FITS: () = assert!(size_of::<Self>() == size_of::<Place>() - OWN && align_of::<Self>() <= 8);
}
