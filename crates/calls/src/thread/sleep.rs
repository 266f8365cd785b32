//! The engine's host in a program: the clock, sleeping, waking.
//!
//! A call that must wait first tries to get by without the kernel's wake-up (`adaptive_spin.rs`), then parks.

use crate::thread::adaptive_spin;
use crate::thread::cancel::{self, CancelSlot};
use crate::thread::robust_list;
use crate::thread::section::Waiting;
use core::sync::atomic::{
    AtomicU32,
    Ordering::{Relaxed, SeqCst},
    fence,
};
use ring3_abi::Errno;
use ring3_engine::{Deadline, Host, Parked, WaitWord};
use ring3_os::arch;
use ring3_os::futex::{self, Reach};
use ring3_os::{time, vdso};

/// The host of calls in a section: what it waits for there is a lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Agent;

/// A short wait, nanoseconds ([`Deadline::SHORT`]).
const SHORT: u64 = 5_000_000;
impl Host for Agent {
    #[inline]
    fn now(&self) -> i64 {
        time::coarse_seconds()
    }

    fn park(&self, word: WaitWord<'_>, until: Deadline) -> Parked {
        if !word.mark_parked() {
            return Parked::Woken;
        }
        let ns = if until == Deadline::SHORT { SHORT } else { until.0.saturating_sub(time::monotonic()) };
        word.cpu().store(vdso::cpu() + 1, Relaxed);
        match futex::wait(word.futex(), word.parked(), ns.min(SHORT), Reach::Shared) {
            Err(Errno::ETIMEDOUT) => Parked::TimedOut,
            _ => Parked::Woken,
        }
    }

    fn watch(&self, word: &AtomicU32) {
        robust_list::name(word);
    }

    fn watch_no_more(&self) {
        robust_list::name_no_more();
    }

    // Few who give a lock back have somebody to wake.
    #[inline(never)]
    fn wake(&self, word: &AtomicU32, count: u32, cpu: &AtomicU32) {
        cpu.store(vdso::cpu() + 1, Relaxed);
        futex::wake(word.as_ptr(), count, Reach::Shared);
    }

    #[inline(never)]
    fn wake_together<'w>(
        &self,
        words: impl Iterator<Item = &'w AtomicU32>,
        served: u32,
        gathering: &AtomicU32,
        cpu: &AtomicU32,
    ) {
        cpu.store(vdso::cpu() + 1, Relaxed);
        for word in words {
            match futex::move_sleepers(word, served, gathering) {
                // An owner that has come back by itself needs no wake-up.
                Ok(()) | Err(Errno::EAGAIN) => {}
                Err(_) => futex::wake(word.as_ptr(), 1, Reach::Shared),
            }
        }
        futex::wake(gathering.as_ptr(), u32::MAX >> 1, Reach::Shared);
    }
}

/// Sleeps outside of any section until the word changes, the deadline passes, or a handler has concluded the call.
pub(crate) fn sleep(
    word: WaitWord<'_>,
    until: Deadline,
    waiting: *mut Waiting,
    slot: Option<&CancelSlot>,
) -> Parked {
    // SAFETY: the caller's record lives until it disarms it.
    let concluded = unsafe { &(*waiting).concluded };
    if adaptive_spin::wait(&word, concluded) || concluded.load(Relaxed) != 0 {
        return Parked::Woken;
    }
    if let Some(slot) = slot {
        slot.take(&word);
    }
    let parked = word.mark_parked();
    if slot.is_some() {
        // ORDERING: SeqCst pairs with cancel::wake_all(): either that sees the slot and the parked word, or we see the cancellation.
        fence(SeqCst);
        cancel::test_cancel(waiting);
    }
    if !parked {
        return Parked::Woken;
    }
    // SAFETY: both words live through the call.
    let raw = unsafe { arch::park(word.futex().as_ptr(), word.parked(), until.0, concluded.as_ptr()) };
    match Errno::decode(raw) {
        Err(Errno::ETIMEDOUT) => Parked::TimedOut,
        Err(Errno::EINTR) => Parked::Interrupted,
        _ => Parked::Woken,
    }
}
