//! pthread_cancel and the calls that sleep here. pthreads(7), pthread_testcancel(3).
//!
//! libc ends a thread that sleeps in the kernel by a signal of its own, which is not wrapped. A sleeping call notes its wait word in a slot,
//! so that pthread_cancel can wake it, and it looks whether it was cancelled.

use crate::thread::section::{self, Waiting};
use core::ptr::null_mut;
use core::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    fence,
};
use ring3_engine::WaitWord;
use ring3_engine::ticket;
use ring3_os::futex::{self, Reach};

/// libc's functions for cancellation, told by the agent; 0 where the libc has none.
#[derive(Debug)]
pub struct Cancellation {
    /// `void pthread_testcancel(void)`.
    pub test: AtomicUsize,
    /// `void _pthread_cleanup_push(buffer *, void (*)(void *), void *)`.
    pub push: AtomicUsize,
    /// `void _pthread_cleanup_pop(buffer *, int)`.
    pub pop: AtomicUsize,
}

/// What the agent found.
pub static CANCELLATION: Cancellation =
    Cancellation { test: AtomicUsize::new(0), push: AtomicUsize::new(0), pop: AtomicUsize::new(0) };

/// libc's `struct _pthread_cleanup_buffer`, with room to spare.
#[repr(C, align(16))]
struct Cleanup([usize; 8]);

/// Acts on a cancellation of this thread, if there is one: does not return then. In a section it waits for another occasion.
#[inline]
pub fn cancellation_point() {
    let address = CANCELLATION.test.load(Relaxed);
    if address != 0 {
        // SAFETY: the address of pthread_testcancel, void f(void).
        let function: extern "C-unwind" fn() = unsafe { core::mem::transmute(address) };
        function();
    }
}

/// [`cancellation_point`] for a call that sleeps: if the thread is cancelled, the call is concluded before its handlers run.
pub(crate) fn test_cancel(waiting: *mut Waiting) {
    let (push, pop) = (CANCELLATION.push.load(Relaxed), CANCELLATION.pop.load(Relaxed));
    // ORDERING: Acquire pairs with cancelled(): a thread that sees the count sees the cancellation in libc.
    if CANCELS.load(Acquire) == 0 || push == 0 || pop == 0 {
        return;
    }
    let mut buffer = Cleanup([0; 8]);
    // SAFETY: libc's functions of these forms (Cancellation).
    let push: extern "C" fn(*mut Cleanup, extern "C" fn(*mut Waiting), *mut Waiting) =
        unsafe { core::mem::transmute(push) };
    // SAFETY: for the same reason as the block above.
    let pop: extern "C" fn(*mut Cleanup, i32) = unsafe { core::mem::transmute(pop) };
    push(&raw mut buffer, unwound, waiting);
    cancellation_point();
    pop(&raw mut buffer, 0);
}

/// Runs when the thread ends inside [`test_cancel`].
extern "C" fn unwound(_waiting: *mut Waiting) {
    section::conclude(section::thread());
}

/// How many pthread_cancel calls this process has made.
static CANCELS: AtomicU32 = AtomicU32::new(0);

/// pthread_cancel was called.
pub fn cancelled() {
    // ORDERING: Release, with wake_all()'s fence: a sleeper that parks after the poke sees the count.
    CANCELS.fetch_add(1, Release);
    wake_all();
}

/// How many sleeping calls pthread_cancel finds at one time. Others notice their cancellation when they wake.
const SLOTS: usize = 256;
static SLEEPING: [AtomicPtr<u32>; SLOTS] = [const { AtomicPtr::new(null_mut()) }; SLOTS];

/// A place in the table of sleeping calls; in the call's record, so that whoever concludes the call gives it back.
#[derive(Debug)]
pub(crate) struct CancelSlot(AtomicPtr<AtomicPtr<u32>>);

impl CancelSlot {
    /// No place yet.
    pub(crate) const fn new() -> CancelSlot {
        CancelSlot(AtomicPtr::new(null_mut()))
    }

    pub(crate) fn take(&self, word: &WaitWord<'_>) {
        let word = word.futex().as_ptr();
        // ORDERING: AcqRel pairs with leave(), which freed the slot, and with wake_all(), which reads the word's address
        // from it.
        let free = |p: &&AtomicPtr<u32>| p.compare_exchange(null_mut(), word, AcqRel, Relaxed).is_ok();
        if let Some(place) = SLEEPING.iter().find(free) {
            self.0.store(core::ptr::from_ref(place).cast_mut(), Relaxed);
        }
    }

    /// Gives the place back, if there is one.
    pub(crate) fn leave(&self) {
        // SAFETY: null, or a place of the static table.
        if let Some(place) = unsafe { self.0.swap(null_mut(), Relaxed).as_ref() } {
            // ORDERING: Release pairs with take() of the slot's next owner.
            place.store(null_mut(), Release);
        }
    }
}

/// Makes every call that sleeps at a cancellation point look whether it was cancelled.
fn wake_all() {
    // ORDERING: SeqCst: `sleep` stores its parked word and looks for a cancellation after its own fence.
    fence(SeqCst);
    for place in &SLEEPING {
        let word = place.load(Acquire);
        if word.is_null() {
            continue;
        }
        // SAFETY: a slot names a word of a region, and regions stay mapped (object/open.rs, O3).
        let atomic = unsafe { AtomicU32::from_ptr(word) };
        ticket::ask_to_look(atomic);
        futex::wake(word, u32::MAX >> 1, Reach::Shared);
    }
}
