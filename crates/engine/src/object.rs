//! The header that every region starts with: the object's identity, its state, its lock, its journal's length.

use crate::atomic::{Acquire, AtomicU32, AtomicU64, Relaxed, fence};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::journal::Tx;
use crate::layout;
use crate::region::Region;

layout! {
    /// The first 128 bytes of a region.
    Header[128] {
        /// [`MAGIC`] and format version.
        magic: AtomicU32,
        /// [`LIVE`], [`REMOVED`] or [`MOVED`].
        state: AtomicU32,
        /// The object's identifier, for people who look at memory.
        id: AtomicU32,
        /// The object's kind, likewise.
        kind: AtomicU32,
        /// Time of creation or last change, seconds.
        ctime: AtomicU64,
        /// CPU + 1 of the last process that waited for the lock.
        lock_cpu: AtomicU32,
        /// CPU + 1 of the last process that slept or was woken here.
        peer_cpu: AtomicU32,
        /// The last call that the broker did here on somebody's behalf ([`Receipt`]); 0 none.
        receipt: AtomicU64,
        /// Unused.
        spare: [AtomicU32; 6],
        /// The lock (`lock.rs`). Starts the second cache line.
        lock: AtomicU32,
        /// The thread that holds it, as it said after taking it.
        holder: AtomicU32,
        /// Entries in use in the journal (`journal.rs`).
        journal_len: AtomicU32,
        /// First free ticket + 1; 0 none (`ticket/mod.rs`).
        ticket_free: AtomicU32,
        /// Tickets never used so far start here.
        ticket_fresh: AtomicU32,
        /// Where sleepers are gathered to be woken together (`ticket/served.rs`). Nobody goes to sleep on it, and its value means nothing.
        gathering: AtomicU32,
        /// Unused.
        spare2: [AtomicU32; 10],
    }
}

impl Header {
    /// Whether the object is here, living or ended. # Errors: `Moved`; `Spoiled`, also where the region itself has been left.
    pub(crate) fn is_home(&self) -> Result<()> {
        // ORDERING: Acquire: what was read before does not count if the object moved meanwhile.
        fence(Acquire);
        match self.state.load(Relaxed) {
            LIVE | REMOVED => Ok(()),
            MOVED => Err(Error::Moved),
            _ => Err(Error::Spoiled),
        }
    }
}

/// What a region says of the last call that was done in it on somebody's behalf: which one, and what came of it. It is written in the very change that
/// does the call, so it is there if and only if the call was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The call's number, by whoever did it.
    pub number: u64,
    /// The error number that the call gave, or 0.
    pub result: u16,
}

impl Receipt {
    const RESULT: u32 = u16::BITS;

    /// The one in a region. # Errors: `Spoiled` if the region is too short for one.
    pub fn in_region(region: Region<'_>) -> Result<Receipt> {
        let word = region.at::<Header>(0)?.receipt.load(Relaxed);
        Ok(Receipt { number: word >> Self::RESULT, result: word as u16 })
    }

    /// Leaves one in a change, if the host wants it.
    #[inline]
    pub(crate) fn leave<H: Host>(host: &H, tx: &mut Tx<'_>, header: &Header, result: u16) -> Result<()> {
        match host.receipt() {
            0 => Ok(()),
            number => tx.set64(&header.receipt, number << Self::RESULT | u64::from(result)),
        }
    }
}

/// Whether a region's object has left it for another.
pub fn is_moved(region: Region<'_>) -> bool {
    region.at::<Header>(0).is_ok_and(|header| header.state.load(Relaxed) == MOVED)
}

impl Header {
    /// Copies what says which object this is to the region that the object moves to. Its state and its lock stay here.
    pub(crate) fn copy_identity(&self, new: &Header) {
        for (from, to) in [(&self.magic, &new.magic), (&self.id, &new.id), (&self.kind, &new.kind)] {
            to.store(from.load(Relaxed), Relaxed);
        }
        new.ctime.store(self.ctime.load(Relaxed), Relaxed);
    }
}

/// First word of a region: "R3" and the format's version.
pub const MAGIC: u32 = 0x5233_0007;
/// State of a region that is used.
pub const LIVE: u32 = 1;
/// State of a region whose object was removed.
pub const REMOVED: u32 = 2;
/// State of a region whose object has another region now.
pub const MOVED: u32 = 3;
