//! A process's life: whose memory this is, fork, exec, and a child's end. What libc does, libc does; this tells the broker.
//!
//! # Invariants
//! P1. A vfork child runs in its parent's memory under another number. It must change nothing of ours: [`is_ours`] is how one knows.
//! P2. A process with attachments announces a fork before it happens and confirms it after; the child says who it is. The broker counts
//!     the child's attachments once, whichever message comes first.
//! P3. Whoever has reaped a child returns only after the broker has settled that death.

use crate::section::Waiting;
use crate::{broker, process, section, shm, signal};
use core::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use ring3_abi::Pid;
use ring3_os::{map, process as os};
use ring3_wire::Op;
use ring3_wire::request::{Fork, Forked};

/// A page that fork wipes: the number of the process whose memory this is. 0 in a forked child that has not looked yet. Made where the
/// kernel cannot be asked: a forked child would pay for it with a page, and a shell's children are many.
static HOME: AtomicPtr<AtomicU32> = AtomicPtr::new(core::ptr::null_mut());

/// Whether this memory is the calling process's own: not so in a vfork child (P1).
pub fn is_ours() -> bool {
    if os::has_tid_word() == Some(true) {
        return true;
    }
    let me = os::pid();
    // SAFETY: null, or the page that settle_down() mapped for ever.
    let Some(cell) = (unsafe { HOME.load(Acquire).as_ref() }) else { return settle_down(me) };
    match cell.load(Relaxed) {
        // Wiped: a forked child, on its own copy.
        0 => {
            cell.store(me, Relaxed);
            true
        }
        owner => owner == me,
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

/// A fork that was announced, or need not be.
#[derive(Debug)]
pub struct Forking(Option<u64>);

/// Before fork.
pub fn before_fork() -> Forking {
    // A forked child may hold its parent's attachments without being known yet: its own child holds them too.
    if !shm::attached() || !is_ours() || process::ready().is_err() {
        return Forking(None);
    }
    let token = os::random() | 1;
    broker::notify(Op::Fork, &Fork { token });
    Forking(Some(token))
}

impl Forking {
    /// After fork, with what it returned in this process.
    pub fn after(self, returned: i32) {
        let Some(token) = self.0 else { return };
        if returned == 0 {
            broker::notify_inherited(Op::Born, &Fork { token });
        } else {
            broker::notify(Op::Forked, &Forked { token, pid: returned.max(0) as Pid, pad: 0 });
        }
    }
}

/// Before exec: the broker learns that this image ends, unless exec fails.
pub fn before_exec() -> bool {
    signal::before_exec(true);
    // A forked child may hold its parent's attachments without being known yet; exec drops these too. Whoever has nothing to do with the
    // broker, as most shells, asks nobody anything.
    let concerned = process::registered() || shm::attached();
    let ours = concerned && is_ours() && process::ready().is_ok();
    if ours {
        broker::notify(Op::Exec, &());
    }
    ours
}

/// After an exec that failed.
pub fn exec_failed(announced: bool) {
    signal::before_exec(false);
    if announced {
        broker::notify(Op::ExecFailed, &());
    }
}

/// After a wait function has reported `pid` (P3).
pub fn reaped(pid: i32) {
    if pid > 0 && process::registered() && is_ours() {
        broker::settle(pid as Pid);
    }
}

/// After a libc function that reaps children without telling whom.
pub fn reaped_somebody() {
    if process::registered() && is_ours() {
        // Any answer will do: the broker settles deaths before it answers.
        let _ = broker::ask(Op::Limits, &());
    }
}

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
    // ORDERING: Release, with poke()'s fence: a sleeper that parks after the poke sees the count.
    CANCELS.fetch_add(1, Release);
    crate::host::poke();
}
