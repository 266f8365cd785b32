//! Signals that the agent keeps until a section ends, where the kernel cannot: valgrind gives the interrupted code its old mask back, whatever a
//! handler leaves in its context, so a signal that was sent again would come again at once, for ever. rt_tgsigqueueinfo(2).
//!
//! # Invariants
//! K1. Only the thread and its handlers touch what it keeps, and only with all signals blocked.
//! K2. While a thread keeps a signal, each further one is kept behind it: they come in their order.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use ring3_os::arch::{nr, own_syscall};
use ring3_os::{map, process};

/// Length of a siginfo_t.
const INFO: usize = 128;
/// Length of the memory for them, of which pages that are not used cost nothing.
const LEN: usize = 1 << 20;

/// What a thread keeps. Zero: nothing.
#[derive(Debug)]
pub(super) struct Kept {
    /// Address of the memory; 0 none.
    memory: AtomicUsize,
    count: AtomicUsize,
}

impl Kept {
    pub(super) const fn new() -> Kept {
        Kept { memory: AtomicUsize::new(0), count: AtomicUsize::new(0) }
    }

    /// Whether there is any.
    pub(super) fn any(&self) -> bool {
        self.count.load(Relaxed) != 0
    }

    /// Keeps a signal; answers false if there is no room.
    ///
    /// # Safety
    /// `info` is a siginfo_t.
    unsafe fn add(&self, info: *const u8) -> bool {
        let count = self.count.load(Relaxed);
        if self.memory.load(Relaxed) == 0 {
            let Ok(memory) = map::anonymous(LEN) else { return false };
            self.memory.store(memory.as_ptr() as usize, Relaxed);
        }
        if count >= LEN / INFO {
            return false;
        }
        // SAFETY: the memory is this thread's (K1), and the place within its length; the other by the caller's promise.
        unsafe {
            core::ptr::copy_nonoverlapping(info, (self.memory.load(Relaxed) + count * INFO) as *mut u8, INFO);
        }
        self.count.store(count + 1, Relaxed);
        true
    }

    /// Keeps a signal, or sends it again where there is no room. All signals are blocked (K1).
    ///
    /// # Safety
    /// `info` is the signal's siginfo_t.
    pub(super) unsafe fn keep(&self, sig: i32, info: *const u8) {
        // SAFETY: by the caller's promise.
        unsafe {
            if !self.add(info) {
                again(sig, info);
            }
        }
    }

    /// Sends all of them to this thread. All signals are blocked (K1).
    pub(super) fn send(&self) {
        let memory = self.memory.swap(0, Relaxed);
        for n in 0..self.count.swap(0, Relaxed) {
            let info = (memory + n * INFO) as *const u8;
            // SAFETY: a siginfo_t that add() has copied, whose first word is the signal's number.
            unsafe { again(info.cast::<i32>().read(), info) };
        }
        if memory != 0 {
            // SAFETY: mapped by add(), and forgotten above.
            let _ = unsafe { map::unmap(memory, LEN) };
        }
    }
}

/// Sends a signal to this thread as it came.
///
/// # Safety
/// `info` is a siginfo_t.
pub(super) unsafe fn again(sig: i32, info: *const u8) {
    let (pid, tid) = (process::pid() as usize, process::tid() as usize);
    // SAFETY: the kernel copies the siginfo_t.
    unsafe { own_syscall(nr::RT_TGSIGQUEUEINFO, [pid, tid, sig as usize, info as usize, 0, 0]) };
}
