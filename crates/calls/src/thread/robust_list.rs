//! An entry of ours in this thread's robust list, and a word that the list names. get_robust_list(2); kernel: exit_robust_list(), fetch_robust_entry().
//!
//! The kernel walks the list of a thread that ends, or whose program is replaced, and marks each entry's word that holds the thread's number; and in the end
//! the one word beside the entries that a libc names while it takes or gives back a lock (`pending`). While a call sleeps, that place is ours.
//!
//! # Invariants
//! G1. The list is libc's and keeps libc's form, which glibc and musl share: the head leads to the newest entry, each entry to the next older one, the last
//!     one to the head; the word before an entry or the head leads back.
//! G2. Only the list's own thread changes it, in a section, and not while `pending` says that libc is in the middle of a change, which a handler
//!     may have interrupted.
//! G3. An entry of ours stays in the list until its thread ends.
//! G4. A word of ours is named only where `pending` names none: then no libc's function is at work on the list, unless it has been interrupted by a handler
//!     that has made the call, and then the word stays unnamed. It is named no more before a handler of the program runs: section.rs concludes the call first.
//! G5. Where the head is, a thread asks once an epoch of its process (I2): a forked child may have another list, or none.
//!
//! # Death
//! Before the last store, to the head, the list is as it was. A word is named by one store.
#![allow(unsafe_code)]

use crate::thread::memory;
use crate::thread::section::{self, Section, ThreadState};
use core::mem::offset_of;
use core::sync::atomic::{
    AtomicU32, AtomicUsize,
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
    let head = os::robust_list().or_else(|| unsafe { found(place.head) })?;
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

/// Gives a thread without a list one: libc's, or one of our own at `at` where there is no libc that would. A process in another's memory finds that one's
/// thread in its libc, which has its list already.
///
/// # Safety
/// [`HEAD_LEN`] bytes at `at` are ours for as long as the thread lives.
#[cold]
unsafe fn found(at: usize) -> Option<usize> {
    // A filter may forbid it, to us or to libc.
    if seccomp::is_filtered() {
        return None;
    }
    match REGISTER.load(Relaxed) {
        address if address == 0 || !memory::is_ours() => {
            let head = Head { list: at, distance: DISTANCE, pending: 0 };
            // SAFETY: the place is ours and has room.
            unsafe { (at as *mut Head).write_volatile(head) };
            // SAFETY: the head was written in the line above, and stays (by the caller's promise).
            unsafe { os::set_robust_list(at) }.ok()?;
        }
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

/// Names a word of ours in this thread's list, if it can have one: the kernel marks it when the thread ends, if it holds the thread's number then (G4).
pub(crate) fn name(word: &AtomicU32) {
    let thread = section::thread();
    let Some(head) = head_of(thread) else { return };
    let Ok(Head { distance, pending, .. }) = UserPtr::<Head>::claim(head).read() else { return };
    if pending == 0 || pending == thread.named.load(Relaxed) {
        let link = (word.as_ptr() as usize).wrapping_sub_signed(distance);
        thread.named.store(link, Relaxed);
        // ORDERING: of the compiler alone: the kernel reads the word and its name on this thread.
        compiler_fence(SeqCst);
        set_pending(head, link);
    }
}

/// The word that [`name`] has named is named no more.
pub(crate) fn name_no_more() {
    let thread = section::thread();
    let named = thread.named.swap(0, Relaxed);
    if named != 0
        && let Some(head) = head_of(thread)
        && UserPtr::<Head>::claim(head).read().is_ok_and(|head| head.pending == named)
    {
        set_pending(head, 0);
    }
}

fn set_pending(head: usize, link: usize) {
    // SAFETY: the head of this thread's list, which is at rest but for us (G4).
    unsafe { ((head + offset_of!(Head, pending)) as *mut usize).write_volatile(link) };
}

/// Where the head of this thread's list is (G5); `None` if it has none.
#[inline]
fn head_of(thread: &ThreadState) -> Option<usize> {
    let epoch = thread.tid_epoch.load(Relaxed);
    let head = if epoch != 0 && thread.list_epoch.load(Relaxed) == epoch {
        thread.list.load(Relaxed)
    } else {
        ask_head(thread, epoch)
    };
    (head != 0).then_some(head)
}

#[cold]
fn ask_head(thread: &ThreadState, epoch: u32) -> usize {
    // SAFETY: the thread's state has room for a head, and lasts as long as the thread; that of a process in another's memory is there until the
    // process has ended or executed another program.
    let head = os::robust_list().or_else(|| unsafe { found(thread.own_list.as_ptr() as usize) }).unwrap_or(0);
    thread.list.store(head, Relaxed);
    thread.list_epoch.store(epoch, Relaxed);
    head
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

    /// What is left in a word by a thread that stored its number there, did this, and ended.
    fn left_by(act: impl FnOnce(&AtomicU32) + Send) -> (u32, u32) {
        let word = AtomicU32::new(0);
        let thread = std::thread::scope(|scope| {
            let run = || {
                word.store(os::tid(), Relaxed);
                act(&word);
                os::tid()
            };
            // Joined by libc: the kernel has looked at the list.
            scope.spawn(run).join().unwrap()
        });
        (word.load(Relaxed), thread)
    }

    #[test]
    fn the_kernel_marks_a_word_that_is_named() {
        const MARK: u32 = 0x4000_0000;
        let is_left = |(left, thread)| left == thread;
        assert_eq!(left_by(name).0, MARK);
        assert!(is_left(left_by(|_| ())));
        assert!(is_left(left_by(|word| {
            name(word);
            name_no_more();
        })));
        // One word at a time.
        let other = AtomicU32::new(0);
        let moves = |word: &AtomicU32| {
            other.store(os::tid(), Relaxed);
            name(&other);
            name(word);
        };
        assert_eq!(left_by(moves).0, MARK);
        assert_ne!(other.load(Relaxed), MARK);
        // It holds another thread's number.
        assert_eq!(
            left_by(|word| {
                name(word);
                word.store(1, Relaxed);
            })
            .0,
            1
        );
        // A libc is at work on the list.
        assert!(is_left(left_by(|word| {
            let head = head_of(section::thread()).unwrap();
            let pending = || UserPtr::<Head>::claim(head).read().unwrap().pending;
            set_pending(head, 4096);
            name(word);
            assert_eq!(pending(), 4096);
            name_no_more();
            assert_eq!(pending(), 4096);
            set_pending(head, 0);
        })));
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
