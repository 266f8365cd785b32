//! Lives: a word for each process that has adjustments, which the kernel marks before anybody can know that the process has ended.
//! get_robust_list(2); kernel: exit_robust_list(), handle_futex_death(), called by exit_mm() and by exec, before files are closed.
//!
//! A file of lives has [`PAGES`] pages of one process each. The process maps its page for writing, right before a page of its own memory; everybody else
//! maps the file for reading only. The robust list's entry lies in the private page and its word in the shared one, because the kernel finds the
//! word at a distance from the entry that the thread's libc has chosen: 32 bytes before it (glibc) or 28 (musl). So a page has two places for
//! the word, its last eight bytes, of which a process uses one. Before them are two counts, by which others know whether the broker has heard what
//! the process has announced; at the page's beginning is what it has done without asking (`ledger.rs`).
//!
//! ```text
//!            page in the file            |  private page
//!        0: ledger                       |
//!     4080: notes sent, 4084: notes done
//!     4088: word, if the distance is 32  |  0 …  16: prev, 24: next = the entry
//!     4092: word, if the distance is 28  |
//! ```
//!
//! # Invariants
//! E1. The word holds the number of a thread, as that thread knows itself, from the moment when the entry is in that thread's list.
//! E2. Held or not is what one load of both places says. Not held means *ask the broker*, never *dead*: a thread may end without its process, and a
//!     program may be replaced by another.
//! E3. A life belongs to one process until everything that the process left is settled; then its words are cleared, and it may be another's.
//! E4. The entry's links lie in private memory: whoever may write the word can make others ask in vain, or learn of this death later, no more.
//! E5. *Notes sent* is stored before a note is sent, with the number that the note carries; *notes done* when the broker has done what it says, with
//!     that number. Both the same: what the process has announced is done. A number that is lost with its sender is made up by the next.
//!
//! # Death
//! Between the entry's insertion and the store of the word: the word is clear, and others ask. Afterwards the kernel takes the number out of
//! the word, and others ask. The list's owner may be killed in the middle of the insertion: the head leads to the entry by the last store, and the
//! entry leads on to what the head led to before.

use crate::atomic::{Acquire, AtomicU32, AtomicU64, Relaxed, Release};
use crate::error::{Error, Result};
use crate::ledger::Ledger;
use crate::region::Region;

/// Pages in a file of lives.
pub const PAGES: u32 = 64;
/// Length of a page.
pub const PAGE: usize = 4096;
/// Length of a file of lives.
pub const LEN: usize = PAGES as usize * PAGE;
/// Where in a page the two places for the word are.
pub const WORDS: usize = PAGE - 8;
/// Where in the private page, which follows, the entry is.
pub const ENTRY: usize = 24;

/// Where the counts of notes are.
pub(crate) const NOTES: usize = PAGE - 16;

/// The bits of a word that hold a thread's number. kernel: FUTEX_TID_MASK.
const HOLDER: u32 = 0x3fff_ffff;

/// A life's number; 0 is none.
pub type Life = u32;

/// The number of a page of a file of lives.
pub fn number(file: u32, page: u32) -> Life {
    file * PAGES + page + 1
}

/// The file and the page of a life; `None` for no life.
#[inline]
pub fn place(life: Life) -> Option<(u32, u32)> {
    let page = life.checked_sub(1)?;
    Some((page / PAGES, page % PAGES))
}

/// Which place the word takes, as an offset in the page, if the list's entries are at this distance from their words.
pub fn word_at(distance: isize) -> Option<usize> {
    let at = (PAGE + ENTRY).checked_add_signed(distance)?;
    (at == WORDS || at == WORDS + 4).then_some(at)
}

/// A file of lives.
#[derive(Clone, Copy, Debug)]
pub struct Lives<'r> {
    region: Region<'r>,
}

impl<'r> Lives<'r> {
    /// A handle. # Errors: `Spoiled` if the region is too short.
    pub fn new(region: Region<'r>) -> Result<Lives<'r>> {
        if region.len() < LEN { Err(Error::Spoiled) } else { Ok(Lives { region }) }
    }

    /// Whether a living thread holds the page's word (E2).
    #[inline]
    pub fn is_held(self, page: u32) -> bool {
        const EITHER: u64 = (HOLDER as u64) << 32 | HOLDER as u64;
        // ORDERING: Acquire: who sees that the holder is gone sees what the kernel let it do before.
        self.words(page).is_ok_and(|words| words.load(Acquire) & EITHER != 0)
    }

    /// Takes the word from whoever had it. The broker only (E3).
    pub fn clear(self, page: u32) {
        if let Ok(words) = self.words(page) {
            words.store(0, Relaxed);
        }
    }

    /// A process's counts of notes. # Errors: `Spoiled` if there is no such page.
    pub fn notes(self, page: u32) -> Result<&'r Notes> {
        if page >= PAGES {
            return Err(Error::Spoiled);
        }
        self.region.at(page as usize * PAGE + NOTES)
    }

    /// A process's ledger. # Errors: `Spoiled` if there is no such page.
    pub fn ledger(self, page: u32) -> Result<Ledger<'r>> {
        if page >= PAGES {
            return Err(Error::Spoiled);
        }
        Ledger::at(self.region, page as usize * PAGE)
    }

    #[inline]
    fn words(self, page: u32) -> Result<&'r AtomicU64> {
        if page >= PAGES {
            return Err(Error::Spoiled);
        }
        self.region.at(page as usize * PAGE + WORDS)
    }
}

crate::layout! {
    /// How many notes a process has sent, and which of them was done last (E5).
    Notes[8] {
        /// Number of the last one that was sent.
        sent: AtomicU32,
        /// Number of the last one that was done.
        done: AtomicU32,
    }
}

impl Notes {
    /// The number of the next note, which is about to be sent. The process itself, one thread at a time.
    pub fn announce(&self) -> u32 {
        // 0 is a note that is not counted.
        let next = self.sent.load(Relaxed).wrapping_add(1).max(1);
        // ORDERING: Release pairs with are_done(): who learns of what comes after the note learns that there is one.
        self.sent.store(next, Release);
        next
    }

    /// A note was done. The broker only.
    pub fn note_done(&self, number: u32) {
        // ORDERING: Release pairs with are_done(): what the note says stands in the directory.
        self.done.store(number, Release);
    }

    /// Takes back what was announced by whoever had the page before. The process itself.
    pub fn forget(&self) {
        self.sent.store(self.done.load(Relaxed), Relaxed);
    }

    /// Whether all that was announced is done.
    pub fn are_done(&self) -> bool {
        // ORDERING: Acquire pairs with announce() and note_done().
        self.sent.load(Acquire) == self.done.load(Acquire)
    }
}

/// The counts in a process's own page. # Errors: `Spoiled` if the region is no page.
pub fn own_notes(page: Region<'_>) -> Result<&Notes> {
    page.at(NOTES)
}

/// The ledger in a process's own page. # Errors: `Spoiled` if the region is no page.
pub fn own_ledger(page: Region<'_>) -> Result<Ledger<'_>> {
    Ledger::at(page, 0)
}

/// The word of a process's own page, by its place ([`word_at`]). # Errors: `Spoiled` if the region is no page.
pub fn own_word(page: Region<'_>, at: usize) -> Result<&AtomicU32> {
    page.at(at)
}

/// Whether a thread holds this word.
#[inline]
pub fn is_held(word: &AtomicU32) -> bool {
    word.load(Relaxed) & HOLDER != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Heap;

    #[test]
    fn a_word_is_held_by_the_number_in_either_place() {
        let heap = Heap::new(LEN);
        let lives = Lives::new(heap.region()).unwrap();
        for (distance, at) in [(-32, 4088), (-28, 4092)] {
            assert_eq!(word_at(distance), Some(at));
            let word: &AtomicU32 = heap.region().at(5 * PAGE + at).unwrap();
            word.store(4711, Relaxed);
            assert_eq!((lives.is_held(5), lives.is_held(4), lives.is_held(6)), (true, false, false));
            // The kernel's mark, with and without somebody who waits on the word.
            for marked in [0x4000_0000, 0xc000_0000] {
                word.store(marked, Relaxed);
                assert!(!lives.is_held(5) && !is_held(word));
            }
            word.store(4711, Relaxed);
            lives.clear(5);
            assert!(!lives.is_held(5));
        }
        assert_eq!([-33, -24, 0, 32].map(word_at), [None; 4]);
    }

    #[test]
    fn notes_are_done_when_the_last_one_is() {
        let heap = Heap::new(LEN);
        let lives = Lives::new(heap.region()).unwrap();
        let notes = lives.notes(5).unwrap();
        assert!(notes.are_done());
        let (first, second) = (notes.announce(), notes.announce());
        assert!(!notes.are_done());
        notes.note_done(first);
        assert!(!notes.are_done());
        notes.note_done(second);
        assert!(notes.are_done());
        // One that is lost is made up by the next one, or by whoever has the page next.
        notes.announce();
        notes.note_done(notes.announce());
        assert!(notes.are_done());
        notes.announce();
        notes.forget();
        assert!(notes.are_done() && lives.notes(4).unwrap().are_done());
        assert!(lives.notes(PAGES).is_err());
        // It leaves the words alone.
        assert!(!lives.is_held(5));
    }

    #[test]
    fn numbers_name_places() {
        for (file, page) in [(0, 0), (0, PAGES - 1), (7, 3)] {
            assert_eq!(place(number(file, page)), Some((file, page)));
        }
        assert_eq!(place(0), None);
        let heap = Heap::new(LEN);
        assert!(!Lives::new(heap.region()).unwrap().is_held(PAGES));
    }
}
