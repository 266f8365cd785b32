//! What a process has done without asking, to its attachments and with the identifiers that it was leased: a ring in the page of its life (`life.rs`), which the broker reads before anybody can be told
//! of what it changes.
//!
//! The process alone writes it, one thread at a time; the broker alone says how far it has read. Everybody else looks only whether all is read.
//!
//! ```text
//!        0: how many were written, how many were read
//!       64: the entries, in turn
//!     3904: (free, up to the counts of notes)
//! ```
//!
//! # Invariants
//! L1. An entry is written before it is counted, and not written over before it is read. So what is counted is whole.
//! L2. The stamp is taken before the entry is counted. So an entry that somebody can know of who was heard at a moment has a stamp before that moment.
//! L3. The broker believes neither count: it keeps its own of what it has read, and an entry says nothing that the process could not have asked for.
//!
//! # Death
//! Before the count: nothing was done. After it: it is done, and the broker hears it before it hears of the death.

use crate::atomic::{Acquire, AtomicU32, AtomicU64, Relaxed, Release, SeqCst, fence};
use crate::error::Result;
use crate::region::{Region, Table};
use ring3_abi::{IpcId, Key, Kind};

crate::layout! {
    /// The counts.
    Head[64] {
        /// Entries that were written.
        written: AtomicU64,
        /// Entries that were read.
        read: AtomicU64,
        /// Unused.
        spare: [AtomicU64; 6],
    }
    /// An entry.
    Line[32] {
        /// CLOCK_MONOTONIC, nanoseconds (L2).
        stamp: AtomicU64,
        /// CLOCK_REALTIME, seconds.
        time: AtomicU64,
        /// The attachment; of something new its size, and in bits 32 to 63 its key.
        token: AtomicU64,
        /// The object.
        id: AtomicU32,
        /// A [`Deed`]'s number in bits 0 to 7, the object's kind in bits 8 to 15, the mode of something new in bits 16 to 31.
        deed: AtomicU32,
    }
}

/// Between what one side has written and what it reads of the other: the process between its entry and its look at the directory, the broker between its
/// change of the directory and its look at ledgers. One of the two finds what the other has written.
pub fn cross() {
    // ORDERING: SeqCst on both sides, each between a store and a load: not both loads can miss.
    fence(SeqCst);
}

/// How many entries there is room for.
pub const ROOM: u64 = 120;

/// Length of a ledger, bytes.
pub const LEN: usize = size_of::<Head>() + ROOM as usize * size_of::<Line>();

/// The bit that tells the tokens that processes give from the broker's.
pub const OWN_TOKEN: u64 = 1 << 63;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// shmat.
    Attach = 1,
    /// shmdt.
    Detach = 2,
    /// An attach turned out not to be one: nothing was mapped.
    Undo = 3,
    /// msgget, semget, shmget of something new, with a leased identifier.
    Make = 4,
    /// IPC_RMID of such an object.
    Remove = 5,
    /// Making one turned out to be too late: the lease was over.
    Unmake = 6,
}

/// What an entry about something new has in the place of a token; `None`: its size is too large for that.
pub fn new_token(size: u64, key: Key) -> Option<u64> {
    u32::try_from(size).ok().map(|size| u64::from(size) | u64::from(key as u32) << 32)
}

/// The size and the key in it.
pub fn new_of(token: u64) -> (u64, Key) {
    (token & 0xffff_ffff, (token >> 32) as Key)
}

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub stamp: u64,
    /// Seconds since 1970.
    pub time: i64,
    /// The attachment's token; of something new [`new_token`]'s.
    pub token: u64,
    /// The object.
    pub id: IpcId,
    /// Its kind.
    pub kind: Kind,
    /// What was done.
    pub deed: Deed,
    /// The mode of something new.
    pub mode: u16,
}

/// A ledger.
#[derive(Clone, Copy, Debug)]
pub struct Ledger<'r> {
    head: &'r Head,
    lines: Table<Line>,
    region: Region<'r>,
}

impl<'r> Ledger<'r> {
    /// The ledger at an offset. # Errors: `Spoiled` if the region does not have it.
    pub fn at(region: Region<'r>, offset: usize) -> Result<Ledger<'r>> {
        let head = region.at(offset)?;
        Ok(Ledger { head, lines: Table::new(offset + size_of::<Head>(), ROOM as u32), region })
    }

    fn line(self, number: u64) -> Result<&'r Line> {
        self.lines.get(self.region, (number % ROOM) as u32)
    }

    /// How many entries are not read yet.
    pub fn unread(self) -> u64 {
        // ORDERING: Acquire pairs with set_read(): whoever finds all read finds what the broker made of it.
        let read = self.head.read.load(Acquire);
        self.head.written.load(Relaxed).wrapping_sub(read)
    }

    /// Whether there is room for so many entries. The process itself.
    pub fn has_room(self, entries: u64) -> bool {
        self.unread() <= ROOM - entries
    }

    /// Writes an entry, for which there is room (L1). The process itself, one thread at a time.
    ///
    /// # Errors
    /// `Spoiled` cannot be: the page has all lines.
    pub fn write(self, event: &Event) -> Result<()> {
        let number = self.head.written.load(Relaxed);
        let line = self.line(number)?;
        line.stamp.store(event.stamp, Relaxed);
        line.time.store(event.time as u64, Relaxed);
        line.token.store(event.token, Relaxed);
        line.id.store(event.id as u32, Relaxed);
        let deed = event.deed as u32 | (event.kind as u32) << 8 | u32::from(event.mode) << 16;
        line.deed.store(deed, Relaxed);
        // ORDERING: Release pairs with events(): who sees the count sees the entry.
        self.head.written.store(number.wrapping_add(1), Release);
        Ok(())
    }

    /// Takes back what was written by whoever had the page before. The process itself.
    pub fn forget(self) {
        self.head.written.store(self.head.read.load(Relaxed), Relaxed);
    }

    /// How many entries were written, as the page says.
    pub fn written(self) -> u64 {
        // ORDERING: Acquire pairs with write().
        self.head.written.load(Acquire)
    }

    /// The entries from a number on, with the number behind each. One that makes no sense is left out. The broker.
    pub fn events(self, from: u64) -> impl Iterator<Item = (u64, Option<Event>)> + use<'r> {
        let count = self.written().wrapping_sub(from).min(ROOM);
        (0..count).map(move |n| {
            let number = from.wrapping_add(n);
            (number.wrapping_add(1), self.line(number).ok().and_then(read))
        })
    }

    /// Says how far the ledger is read. The broker.
    pub fn set_read(self, number: u64) {
        // ORDERING: Release pairs with unread().
        self.head.read.store(number, Release);
    }
}

fn read(line: &Line) -> Option<Event> {
    let word = line.deed.load(Relaxed);
    let deed = match word & 0xff {
        1 => Deed::Attach,
        2 => Deed::Detach,
        3 => Deed::Undo,
        4 => Deed::Make,
        5 => Deed::Remove,
        6 => Deed::Unmake,
        _ => return None,
    };
    let kind = *Kind::ALL.get((word >> 8 & 0xff) as usize)?;
    Some(Event {
        stamp: line.stamp.load(Relaxed),
        time: line.time.load(Relaxed) as i64,
        token: line.token.load(Relaxed),
        id: line.id.load(Relaxed) as IpcId,
        kind,
        deed,
        mode: (word >> 16) as u16,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::PAGE;
    use crate::testing::Heap;

    fn event(stamp: u64, deed: Deed) -> Event {
        Event { stamp, time: 7, token: OWN_TOKEN | stamp, id: 3, kind: Kind::Shm, deed, mode: 0o644 }
    }

    #[test]
    fn what_is_written_is_read_in_turn() {
        let heap = Heap::new(PAGE);
        let ledger = Ledger::at(heap.region(), 0).unwrap();
        let (mut written, mut read) = (0, 0);
        for round in 0..5 {
            while ledger.has_room(1) {
                ledger.write(&event(written, Deed::Attach)).unwrap();
                written += 1;
            }
            assert_eq!(ledger.unread(), ROOM);
            let take = ROOM as usize - round;
            for (after, found) in ledger.events(read).take(take) {
                assert_eq!(found, Some(event(read, Deed::Attach)));
                read += 1;
                assert_eq!(after, read);
            }
            ledger.set_read(read);
            assert_eq!(ledger.unread(), written - read);
        }
    }

    #[test]
    fn size_and_key_are_told_apart() {
        for (size, key) in [(0, 0), (1, -1), (u64::from(u32::MAX), i32::MIN), (7, i32::MAX)] {
            assert_eq!(new_token(size, key).map(new_of), Some((size, key)));
        }
        assert_eq!(new_token(1 << 32, 0), None);
    }

    #[test]
    fn nonsense_is_left_out_and_bounded() {
        let heap = Heap::new(PAGE);
        let ledger = Ledger::at(heap.region(), 0).unwrap();
        ledger.head.written.store(u64::MAX / 2, Relaxed);
        assert_eq!(ledger.events(0).count() as u64, ROOM);
        assert!(ledger.events(0).all(|(_, event)| event.is_none()));
        assert!(!ledger.has_room(1));
        ledger.forget();
        assert!(ledger.has_room(ROOM) && ledger.events(0).next().is_none());
    }

    #[test]
    fn the_counts_of_notes_lie_behind() {
        const { assert!(LEN <= crate::life::NOTES) };
        assert!(Ledger::at(Heap::new(64).region(), 0).is_ok_and(|ledger| ledger.line(0).is_err()));
        assert!(Ledger::at(Heap::new(64).region(), 64).is_err());
    }
}
