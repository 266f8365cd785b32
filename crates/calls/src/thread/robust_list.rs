//! An entry of ours in this thread's robust list. get_robust_list(2); kernel: exit_robust_list(), fetch_robust_entry().
//!
//! The kernel walks the list of a thread that ends, or whose program is replaced, and marks each entry's word that holds the thread's number.
//!
//! # Invariants
//! G1. The list is libc's and keeps libc's form, which glibc and musl share: the head leads to the newest entry, each entry to the next older one, the last
//!     one to the head; the word before an entry or the head leads back.
//! G2. Only the list's own thread changes it, in a section, and not while `pending` says that libc is in the middle of a change, which a handler
//!     may have interrupted.
//! G3. An entry of ours stays in the list until its thread ends.
//!
//! # Death
//! Before the last store, to the head, the list is as it was.
#![allow(unsafe_code)]

use crate::thread::section::Section;
use core::sync::atomic::{
    AtomicUsize,
    Ordering::{Relaxed, SeqCst},
    compiler_fence,
};
use ring3_os::user::UserPtr;
use ring3_os::{process as os, seccomp};

/// kernel: struct robust_list_head.
#[repr(C)]
#[derive(Clone, Copy, Debug, zerocopy::FromBytes)]
struct Head {
    list: usize,
    distance: isize,
    pending: usize,
}

/// Room for a head of our own, for a thread without a list.
pub(crate) const HEAD_LEN: usize = size_of::<Head>();

/// How many entries the kernel follows. kernel: ROBUST_LIST_LIMIT.
const LONGEST: usize = 2048;
/// Marks a link to a mutex that inherits priority.
const PI: usize = 1;
/// The distance from entries to words in a list of our own: glibc's.
const DISTANCE: isize = -32;

/// `void f(void)`: makes libc register a list for the calling thread; 0 where libc has done so when the thread began.
pub static REGISTER: AtomicUsize = AtomicUsize::new(0);

/// An entry's place: the link to the next entry, with the link back in the word before it; and room for a head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The entry.
    pub(crate) entry: usize,
    /// [`HEAD_LEN`] bytes.
    pub(crate) head: usize,
}

/// Puts an entry into this thread's list, if it is not there, and answers how far from an entry its word is. `None` if the list cannot be changed
/// now, or if `fits` does not like the distance.
///
/// # Safety
/// The place is memory of our own that nobody unmaps, and the entry is in no other living thread's list.
pub(crate) unsafe fn join(place: Place, fits: impl Fn(isize) -> bool, _section: &Section) -> Option<isize> {
    // SAFETY: by the caller's promise.
    let head = os::robust_list().or_else(|| unsafe { found(place) })?;
    let Head { list, distance, pending } = UserPtr::claim(head).read().ok()?;
    if pending != 0 || !fits(distance) {
        return None;
    }
    if !leads_to(list, head, place.entry)? {
        // SAFETY: the list is this thread's and at rest (G2); the place is ours.
        unsafe { insert(head, list, place.entry) };
    }
    Some(distance)
}

/// Gives a thread without a list one: libc's, or one of our own where there is no libc that would.
///
/// # Safety
/// As [`join`].
#[cold]
unsafe fn found(place: Place) -> Option<usize> {
    match REGISTER.load(Relaxed) {
        0 => {
            let head = Head { list: place.head, distance: DISTANCE, pending: 0 };
            // SAFETY: the place is ours and has room.
            unsafe { (place.head as *mut Head).write_volatile(head) };
            // SAFETY: the head was written in the line above, and stays (by the caller's promise).
            unsafe { os::set_robust_list(place.head) }.ok()?;
        }
        // A filter may forbid what libc does for it.
        _ if seccomp::is_filtered() => return None,
        address => {
            // SAFETY: the agent's function of this form.
            let register: extern "C" fn() = unsafe { core::mem::transmute(address) };
            register();
        }
    }
    os::robust_list()
}

/// Gives this thread the list that its libc would give it later, by a call that a filter may forbid then.
pub(crate) fn prepare() {
    let address = REGISTER.load(Relaxed);
    if address != 0 && os::robust_list().is_none() && !seccomp::is_filtered() {
        // SAFETY: the agent's function of this form.
        let register: extern "C" fn() = unsafe { core::mem::transmute(address) };
        register();
    }
}

/// Whether an entry is in the list. `None` if the list does not end.
fn leads_to(first: usize, head: usize, entry: usize) -> Option<bool> {
    let mut at = first & !PI;
    for _ in 0..LONGEST {
        if at == head || at == entry {
            return Some(at == entry);
        }
        at = UserPtr::<usize>::claim(at).read().ok()? & !PI;
    }
    None
}

/// Makes an entry the newest.
///
/// # Safety
/// The head is this thread's and at rest; the entry is ours.
unsafe fn insert(head: usize, first: usize, entry: usize) {
    let link = |at: usize, to: usize| {
        // SAFETY: each place is a link of the list, or of ours; the thread that may change it is here (G2).
        unsafe { (at as *mut usize).write_volatile(to) };
    };
    const BACK: usize = size_of::<usize>();
    link(entry, first);
    link(entry.wrapping_sub(BACK), head);
    if first & !PI != head {
        link((first & !PI).wrapping_sub(BACK), entry);
    }
    // ORDERING: of the compiler alone: the kernel reads the list on this thread.
    // DEATH: the kernel may walk the list after any instruction; the compiler keeps the head last.
    compiler_fence(SeqCst);
    link(head, entry);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thread::section;
    use std::boxed::Box;

    fn word(at: usize) -> usize {
        UserPtr::claim(at).read().unwrap()
    }

    /// A list of so many entries: the memory that it lies in, and the place of one more.
    fn list(entries: usize) -> (Box<[usize]>, usize, Place) {
        let mut memory = std::vec![0usize; 16 + 4 * entries].into_boxed_slice();
        let base = memory.as_mut_ptr() as usize;
        let (head, place) = (base + 8, Place { entry: base + 80, head: base + 96 });
        // SAFETY: the memory has room.
        unsafe { (head as *mut Head).write(Head { list: head, distance: DISTANCE, pending: 0 }) };
        for n in 0..entries {
            let first = word(head);
            // SAFETY: a list of the test's own.
            unsafe { insert(head, first, base + (17 + 4 * n) * 8) };
        }
        (memory, head, place)
    }

    /// The entries from the newest to the oldest, and whether the links back agree.
    fn walk(head: usize) -> std::vec::Vec<usize> {
        let (mut at, mut back, mut found) = (word(head), head, std::vec::Vec::new());
        while at & !PI != head {
            at &= !PI;
            assert_eq!(word(at - 8), back);
            found.push(at);
            (back, at) = (at, word(at));
        }
        found
    }

    #[test]
    fn an_entry_becomes_the_newest_once() {
        for entries in [0, 1, 3] {
            let (_memory, head, place) = list(entries);
            let before = walk(head);
            let first = word(head);
            assert_eq!(leads_to(first, head, place.entry), Some(false));
            // SAFETY: a list of the test's own.
            unsafe { insert(head, first, place.entry) };
            let after = walk(head);
            assert_eq!((after[0], &after[1..]), (place.entry, before.as_slice()));
            assert_eq!(leads_to(place.entry, head, place.entry), Some(true));
        }
        let (_memory, head, place) = list(LONGEST + 1);
        assert_eq!(leads_to(word(head), head, place.entry), None);
    }

    #[test]
    fn the_kernel_marks_the_word_of_a_thread_that_ends() {
        let mut memory = Box::new([0u64; 16]);
        let base = memory.as_mut_ptr() as usize;
        std::thread::spawn(move || {
            let place = Place { entry: base + 64, head: base + 88 };
            // SAFETY: the memory outlives the thread.
            let distance =
                unsafe { join(place, |distance| (-48..=-16).contains(&distance), &section::enter()) };
            let word = (place.entry as isize + distance.unwrap()) as *mut u32;
            // SAFETY: it lies in the memory above.
            unsafe { word.write_volatile(os::tid()) };
        })
        .join()
        .unwrap();
        let words: std::vec::Vec<u32> =
            memory[..8].iter().flat_map(|w| [*w as u32, (*w >> 32) as u32]).collect();
        // The thread has been joined, so its word is marked: it is the only one that is not zero, but for links.
        assert!(words.contains(&0x4000_0000), "{words:x?}");
    }
}
