//! The state word of a ticket: one word, and one method for every way in which it changes. Nobody else touches its bits.
//!
//! ```text
//!            take_to_wait            mark_parked             ask_to_look
//!     FREE ────────────────► WAITING ───────────► PARKED ─────────────────► ASKED
//!      │ ▲                    ▲ │  ▲                │                         │
//!      │ │ free (all)  wait   │ │  └── look_again ──┴─────────────────────────┤
//!      │ │                    │ └─────── serve ─────┬─────────────────────────┘
//!      │ └───── …             │                     ▼
//!      └── take_to_hold ──► HELD ◄───── hold ────── DONE
//! ```
//!
//! # Invariants
//! W1. Two transitions are made without the lock: the owner's from WAITING to PARKED, when it stops looking at the word, and anybody's from
//!     PARKED to ASKED, to make the owner look at something else than the word. Both are compare-and-swaps and change nothing that the lock
//!     protects: WAITING, PARKED and ASKED are one state, *waiting*, for everybody but the sleeper and the server that wakes it.
//! W2. Every other transition is made under the lock, inside a change, with two exceptions that need no journal: `look_again`, which the
//!     owner makes while it is awake, and `close`, in a region that its object has left.
//! W3. A ticket stands in a queue if and only if it is waiting.
//! W4. DONE is final only for a reader that holds the lock: the change that made it DONE may still be rolled back. The rollback leaves ASKED,
//!     whatever was there before: the owner may have parked after the journal noted the word, and may be asleep.
//! W5. The server that makes a ticket DONE wakes its word after the commit, unless it was WAITING: then the owner still looks, or fails to park.
//!
//! # Death
//! Of the owner: whoever meets the ticket in its queue takes it out (`owner.rs`), or `settle` does. Of the server, before the commit: W4, and the next server wakes the owner; after it: `settle`
//! wakes every ticket that is DONE. Of an asker, before the wake-up: `settle` wakes every ticket that is ASKED, and so does the next server, for
//! ASKED is not WAITING. Who is PARKED or WAITING then was neither served nor asked: it sleeps on.

use crate::atomic::{AcqRel, Acquire, AtomicU32, Relaxed};
use crate::error::Result;
use crate::host::WaitWord;
use crate::journal::Tx;
use crate::region::Plain;

/// Nobody has the ticket.
const FREE: u32 = 0;
/// The owner looks at the word, or is about to sleep.
const WAITING: u32 = 1;
/// The owner sleeps in the kernel, or is about to.
const PARKED: u32 = 2;
/// The owner was served: the ticket's `result` says how.
const DONE: u32 = 3;
/// The ticket stands in no queue and owns something for its thread.
const HELD: u32 = 4;
/// The owner had parked, and shall look.
const ASKED: u32 = 5;

/// What the word of an owner says that was served, for a host that wakes it.
pub(super) const SERVED: u32 = DONE;

/// The state word of a ticket.
#[repr(transparent)]
#[derive(Debug)]
pub struct StateWord(AtomicU32);
impl Plain for StateWord {}

/// A ticket's state at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State(u32);

impl State {
    /// Whether nobody has the ticket.
    #[inline]
    pub fn is_free(self) -> bool {
        self.0 == FREE
    }

    /// Whether the owner waits for its turn, looking or asleep.
    #[inline]
    pub fn waits(self) -> bool {
        matches!(self.0, WAITING | PARKED | ASKED)
    }

    /// Whether the owner was served.
    #[inline]
    pub fn is_done(self) -> bool {
        self.0 == DONE
    }

    /// Whether the owner may be asleep though it was served or asked: if whoever did that died before the wake-up.
    #[inline]
    pub fn is_owed_a_wake(self) -> bool {
        matches!(self.0, DONE | ASKED)
    }

    /// Whether the ticket owns something and stands in no queue.
    #[inline]
    pub fn is_held(self) -> bool {
        self.0 == HELD
    }

    /// Whether this is a state at all: a region may hold anything.
    pub fn is_known(self) -> bool {
        self.0 <= ASKED
    }
}

impl StateWord {
    /// The state. Under the lock it changes only among the waiting ones (W1).
    #[inline]
    pub fn load(&self) -> State {
        State(self.0.load(Relaxed))
    }

    /// The futex, to wake its sleepers.
    #[inline]
    pub fn futex(&self) -> &AtomicU32 {
        &self.0
    }

    /// What the owner parks on, with the cell for CPU numbers beside it.
    #[inline]
    pub fn wait_word<'r>(&'r self, cpu: &'r AtomicU32) -> WaitWord<'r> {
        WaitWord { word: &self.0, waiting: WAITING, parked: PARKED, cpu }
    }

    /// FREE or HELD → WAITING: the ticket joins a queue in the same change. Its owner is awake, so nobody needs to be woken.
    #[inline]
    pub(super) fn wait(&self, tx: &mut Tx<'_>) -> Result<()> {
        tx.set32(&self.0, WAITING)
    }

    /// FREE or DONE → HELD: the owner goes on to copy a text, which the ticket keeps for it.
    #[inline]
    pub(super) fn hold(&self, tx: &mut Tx<'_>) -> Result<()> {
        tx.set32(&self.0, HELD)
    }

    /// Waiting → DONE: the server has done for the owner what it waits for, in this change. Answers whether the owner must be woken (W5).
    #[inline]
    pub(super) fn serve(&self, tx: &mut Tx<'_>) -> Result<bool> {
        let restored = if self.load().waits() { ASKED } else { self.0.load(Relaxed) };
        Ok(tx.swap32(&self.0, restored, DONE)? != WAITING)
    }

    /// Any → FREE: the owner has its result, or is gone. The ticket stands in no queue any more.
    #[inline]
    pub(super) fn free(&self, tx: &mut Tx<'_>) -> Result<()> {
        tx.set32(&self.0, FREE)
    }

    /// Waiting → WAITING: the owner has come back for nothing and will look at the word again. The caller is the owner, holds the lock and has
    /// seen that the ticket waits. A wish to look that is overwritten here has been granted: the owner is awake.
    #[inline]
    pub(super) fn look_again(&self) {
        self.0.store(WAITING, Relaxed);
    }

    /// Any but FREE → DONE, in a region that its object has left for good: no owner parks on the word any more, and one that sleeps
    /// on it is woken by the `wake_all` that follows. The owner finds its ticket in the new region.
    pub(super) fn close(&self) {
        if !self.load().is_free() {
            // ORDERING: AcqRel: the owner's step to PARKED comes before, and then it is woken, or it fails.
            self.0.swap(DONE, AcqRel);
        }
    }

    /// PARKED → ASKED: makes the owner look, once the word is woken. Without the lock, by anybody. In every other state the owner is awake,
    /// or there is nobody to ask.
    #[inline]
    pub(super) fn ask_to_look(&self) {
        ask_to_look(&self.0);
    }
}

/// PARKED → ASKED by the futex alone: for a host that has noted where a thread of its own sleeps. The caller wakes the futex then.
#[inline]
pub fn ask_to_look(futex: &AtomicU32) {
    // ORDERING: AcqRel: after the asker's reason, and against the owner's own step to PARKED; Acquire on failure: the owner's.
    let _ = futex.compare_exchange(PARKED, ASKED, AcqRel, Acquire);
}
