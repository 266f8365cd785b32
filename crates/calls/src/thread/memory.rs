//! Whose memory this is. vfork(2); kernel: copy_mm().
//!
//! A vfork child runs in its parent's memory under another process number. It must change nothing of the parent's, and [`is_ours`] is how
//! the agent knows.

use core::sync::atomic::{
    AtomicPtr, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use ring3_abi::Pid;
use ring3_os::process::{Memory, TidWord};
use ring3_os::{map, process as os};

/// A page that fork wipes: the number of the process whose memory this is. 0 in a forked child that has not looked yet. Made where the
/// kernel cannot be asked: a forked child would pay for it with a page, and a shell's children are many.
static HOME: AtomicPtr<AtomicU32> = AtomicPtr::new(core::ptr::null_mut());

/// Whether this memory is the calling process's own: not so in a vfork child.
pub fn is_ours() -> bool {
    if os::tid_word() == TidWord::Registered {
        return true;
    }
    let me = os::pid();
    // ORDERING: Acquire pairs with settle_down(): the page is mapped.
    // SAFETY: null, or the page that settle_down() mapped for ever.
    let Some(cell) = (unsafe { HOME.load(Acquire).as_ref() }) else { return settle_down(me) };
    match cell.load(Relaxed) {
        // Wiped: a forked child, on its own copy; or a vfork child of one.
        0 if os::memory_and_parents() == Memory::Common => false,
        0 => {
            cell.store(me, Relaxed);
            true
        }
        owner => owner == me,
    }
}

/// This memory is the calling process's own, as the broker's knowing the process shows. It is noted in a page that fork wipes, which such a process
/// has anyway. Later the kernel may have no answer: not across user namespaces, and not for the first process of a PID namespace.
pub(crate) fn settle(word: &'static AtomicU32) {
    // ORDERING: Release publishes the page.
    let _ =
        HOME.compare_exchange(core::ptr::null_mut(), core::ptr::from_ref(word).cast_mut(), Release, Relaxed);
    // SAFETY: not null since the line above; a word that lies in a page mapped for ever.
    if let Some(cell) = unsafe { HOME.load(Acquire).as_ref() } {
        cell.store(os::pid(), Relaxed);
    }
}

#[cold]
fn settle_down(me: Pid) -> bool {
    if os::borrows_memory() {
        return false;
    }
    if let Ok(page) = map::wiped_on_fork(map::PAGE) {
        let cell = page.cast::<AtomicU32>();
        // SAFETY: a fresh page of our own, zero, aligned.
        unsafe { cell.as_ref() }.store(me, Relaxed);
        // ORDERING: Release publishes the mapping. Whoever loses a race leaves a page behind, which harms nobody.
        let _ = HOME.compare_exchange(core::ptr::null_mut(), cell.as_ptr(), Release, Relaxed);
    }
    true
}
