//! This process's own life: a word by which others learn that it has ended, before they can learn it otherwise. `engine/src/life.rs` says what it is.
//!
//! A process gets a life with its first operation that leaves an adjustment. One of its threads holds it: its number stands in the word, and an entry
//! for the word in its robust list. When that thread ends, the word is not held; the next thread that leaves an adjustment takes it, and
//! until then others ask the broker, which finds that the process lives.
//!
//! # Invariants
//! F1. The entry is in one list at most: a thread takes it that has it already, or when the thread that had it is gone.
//! F2. The word's number is that of the thread whose list has the entry, and is stored after the entry is there.
//! F3. A forked child has its parent's two pages, with the parent's word in the one and a copy of the entry in the other. It maps its own page in the
//!     word's place when it gets a life; the entry may be in its list already (musl's child keeps the list), which `robust_list::join` finds.
//! F4. A program that is about to be replaced by exec gives its word back first: the kernel marks it only if the thread that holds it
//!     executes the new program under the number that it had.
//! F5. The counts of notes in the shared page are this process's if it has a life; it changes them under `Identity::rpc`.
//! F6. The shared page's file belongs to one user ([`OF`]). A process that has given that user up lets the page go (`object/narrow.rs`) and has no life until it
//!     needs one, which is of its own user's then: the kernel lets a mapping grow, and so reach the pages of that user's other processes. Until then
//!     others ask the broker, as its word says nothing.
#![allow(unsafe_code)]

use crate::process::connection;
use crate::process::deputy;
use crate::process::identity::{self, Home, Identity};
use crate::thread::memory::is_ours;
use crate::thread::robust_list::{self, HEAD_LEN, Place};
use crate::thread::section::{self, Section};
use core::ptr::NonNull;
use core::sync::atomic::{
    AtomicU32, AtomicUsize,
    Ordering::{Relaxed, Release},
};
use ring3_abi::{Errno, Pid};
use ring3_engine::Region;
use ring3_engine::ledger::Ledger;
use ring3_engine::life::{self, ENTRY, Life, Notes, PAGE};
use ring3_os::{cred, map, process as os};
use ring3_wire::Op;

/// Where the two pages are, the shared one first; 0 before there are any. Kept by a forked child (F3).
static PAGES: AtomicUsize = AtomicUsize::new(0);
/// Whose file the shared one is of (F6).
static OF: AtomicU32 = AtomicU32::new(0);

/// Where in the private page a head of our own is.
const HEAD: usize = 64;
const _: () = assert!(ENTRY + size_of::<usize>() <= HEAD && HEAD + HEAD_LEN <= PAGE);

/// This process's life if it is held.
#[inline(always)]
pub(crate) fn held(page: &Identity) -> Option<Life> {
    page.life.word().filter(|word| life::is_held(word)).map(|_| page.life.number())
}

/// Holds this process's life, which it gets if it has none, and answers its number. A life that cannot be held now makes others ask the
/// broker; 0, that there can be none, too.
#[inline]
pub(crate) fn hold(page: &Identity) -> Life {
    held(page).unwrap_or_else(|| hold_slowly(page))
}

#[cold]
fn hold_slowly(page: &Identity) -> Life {
    if page.pid() != 0 && is_ours() {
        let section = section::enter();
        let _held = page.life.lock.hold(&section);
        // Without it others ask: there is nothing to do about an error.
        let _ = take(page, &section);
    }
    page.life.number()
}

fn take(page: &Identity, section: &Section) -> Result<(), Errno> {
    let (thread, me, image) = (section::thread(), identity::tid(), identity::home()?.image());
    let mine = thread.holds.load(Relaxed) == image;
    let holder = page.life.holder.load(Relaxed);
    // A thread with the holder's number that does not know of it is another one: the holder is gone.
    if !mine && holder != 0 && holder != me && os::has_thread(holder) {
        return Ok(());
    }
    if page.life.number() == 0 {
        page.life.number.store(deputy::provided(open)?, Relaxed);
    }
    let shared = PAGES.load(Relaxed);
    let private = shared + PAGE;
    let place = Place { entry: private + ENTRY, head: private + HEAD };
    // SAFETY: the two pages stay mapped (F3); F1 was seen to above.
    let joined = unsafe { robust_list::join(place, |distance| life::word_at(distance).is_some(), section) };
    let at = joined.and_then(life::word_at).ok_or(Errno::EAGAIN)?;
    hold_by(page, me, word(shared, at)?);
    thread.holds.store(image, Relaxed);
    Ok(())
}

/// The word, by its place in the shared page.
fn word(shared: usize, at: usize) -> Result<&'static AtomicU32, Errno> {
    let base = NonNull::new(shared as *mut u8).ok_or(Errno::ENOMEM)?;
    // SAFETY: R1 to R3: open() mapped the page for reading and writing, for as long as this process has this identity; its file cannot shrink.
    let region = unsafe { Region::new(base, PAGE) };
    life::own_word(region, at).map_err(|_| Errno::EINVAL)
}

fn hold_by(page: &Identity, me: Pid, word: &'static AtomicU32) {
    page.life.holder.store(me, Relaxed);
    // ORDERING: Release keeps the entry before the number (F2); the kernel reads both on this thread.
    word.store(me, Release);
    page.life.set_word(word);
}

/// The counts of this process's notes; `None` if it has no life, so that nobody looks at them.
pub(crate) fn notes(page: &Identity) -> Option<&'static Notes> {
    life::own_notes(shared(page)?).ok()
}

/// This process's ledger; `None` if it has no life. It writes there under `Home::attach`.
pub(crate) fn ledger(page: &Identity) -> Option<Ledger<'static>> {
    life::own_ledger(shared(page)?).ok()
}

/// The shared page, if this process has a life.
fn shared(page: &Identity) -> Option<Region<'static>> {
    if page.life.number() == 0 {
        return None;
    }
    let base = NonNull::new(PAGES.load(Relaxed) as *mut u8)?;
    // SAFETY: R1 to R3: as in word().
    Some(unsafe { Region::new(base, PAGE) })
}

/// Asks for a life and maps its page right before a page of our own.
fn open() -> Result<Life, Errno> {
    let mut buf: connection::Small = [0; 256];
    let answer = connection::fetch(Op::Life, &[], &[], &mut buf)?;
    let number = Life::try_from(answer.value).map_err(|_| Errno::EPROTO)?;
    let (_, index) = life::place(number).ok_or(Errno::EPROTO)?;
    let file = answer.descriptor()?;
    let shared = match PAGES.load(Relaxed) {
        0 => map::anonymous(2 * PAGE)?.as_ptr() as usize,
        shared => shared,
    };
    let offset = u64::from(index) * PAGE as u64;
    // SAFETY: the page is ours: nothing, or a parent's word that this process does not use (F3).
    unsafe { map::shared_over(shared, file.raw(), offset)? };
    OF.store(cred::euid(), Relaxed);
    PAGES.store(shared, Relaxed);
    if let Some(base) = NonNull::new(shared as *mut u8) {
        // SAFETY: R1 to R3: as in word().
        let region = unsafe { Region::new(base, PAGE) };
        // An earlier image's are over: this one has announced nothing that is counted, and done nothing.
        life::own_notes(region).map_err(|_| Errno::EINVAL)?.forget();
        life::own_ledger(region).map_err(|_| Errno::EINVAL)?.forget();
    }
    Ok(number)
}

/// Whether there are pages, be they a parent's.
pub(crate) fn has_pages() -> bool {
    PAGES.load(Relaxed) != 0
}

/// Lets the shared page go if it is of a user that this process cannot be any more (F6). Nothing of the process is inside a call.
///
/// DEATH: before the word is clear the kernel marks it, and afterwards others ask; what the ledger says is read before the end either way.
pub(crate) fn leave(home: &Home, section: &Section) {
    let shared = PAGES.load(Relaxed);
    if shared == 0 || cred::users().contains(&OF.load(Relaxed)) {
        return;
    }
    let page = home.owner();
    let _attach = home.attach.hold(section);
    let _held = page.life.lock.hold(section);
    // A forked child has its parent's page, and no life.
    if page.life.number.swap(0, Relaxed) != 0 {
        give_word_back(page);
    }
    page.life.clear_word();
    // SAFETY: the pages stay mapped (F3); the word, which the kernel may look for, is clear in the new one.
    let _ = unsafe { map::blank(shared, PAGE) };
}

/// Takes its pages out of what mlockall has locked.
pub(crate) fn unlock() {
    map::unlock(PAGES.load(Relaxed), 2 * PAGE);
}

/// Takes over the life that an earlier image of this process had.
pub(super) fn resume(page: &Identity) {
    if page.life.inherited.swap(0, Relaxed) != 0 {
        hold(page);
    }
}

/// Gives the word back before exec (F4).
pub(crate) fn before_exec(page: &Identity) {
    give_word_back(page);
}

/// Nobody holds the word any more.
fn give_word_back(page: &Identity) {
    if let Some(word) = page.life.word() {
        word.store(0, Relaxed);
    }
}

/// Takes it again if exec has failed. A thread that did not have it leaves that to the one that had.
pub(crate) fn exec_failed(page: &Identity) {
    if page.life.word().is_some() {
        hold(page);
    }
}
