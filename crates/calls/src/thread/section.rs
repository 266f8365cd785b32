//! Sections: stretches in which no handler of the program runs. And what else a thread keeps for the agent.
//!
//! # Invariants
//! N1. While `depth` is not 0, a handler that the kernel starts on this thread does nothing but send its signal again, blocked, and
//!     block all others: `deferred` says so. The section's end unblocks them, and the kernel delivers by its own rules.
//! N2. The state is this thread's own memory; only the thread and its handlers touch it, so ordering is the compiler's alone. A process that runs
//!     in another's memory may have that one's thread-local memory too: while there is any that does not keep its parent's thread waiting, each
//!     thread asks the kernel for its number, and such a process has a state of its own in `BESIDE`.

use crate::thread::kept;
use core::marker::PhantomData;
use core::mem::offset_of;
use core::sync::atomic::{
    AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed, compiler_fence,
};
use ring3_os::arch::{
    SECTION_DEFERRED, SECTION_DEPTH, SECTION_MASK, THREAD_BLOCK_LEN, nr, own_syscall, thread_block,
};
use ring3_os::process;

/// A sleeping call. It lives on the stack of the call's wait loop, first in the call's own record.
#[repr(C)]
#[derive(Debug)]
pub struct Waiting {
    /// 1 once the call is over.
    pub concluded: AtomicU32,
    /// Ends the call before a handler runs: withdraws the sleeper and keeps the outcome in the record.
    pub conclude: unsafe fn(*mut Waiting),
}

impl Waiting {
    /// A new one.
    pub fn new(conclude: unsafe fn(*mut Waiting)) -> Waiting {
        Waiting { concluded: AtomicU32::new(0), conclude }
    }
}

/// What a thread keeps. Zero in a new thread.
#[repr(C)]
#[derive(Debug)]
pub struct ThreadState {
    depth: AtomicU32,
    deferred: AtomicU32,
    saved_mask: AtomicU64,
    /// Signals that the kernel cannot keep (`kept.rs`).
    pub(super) kept: kept::Kept,
    /// The call that sleeps, or null.
    pub waiting: AtomicPtr<Waiting>,
    /// What this thread knows of its peer's CPU (`adaptive_spin.rs`).
    pub(crate) credit: AtomicU32,
    /// And of giving way to it (`turns.rs`).
    pub(crate) turns: AtomicU64,
    /// What it knows of looking before it has a place among the sleepers (`early.rs`).
    pub(crate) early_credit: AtomicU32,
    /// When it may give way again.
    pub(crate) no_turns_until: AtomicU64,
    /// What it has given back last that somebody waited for, for the room above; 0 nothing.
    pub(crate) gave_back: AtomicU64,
    /// And of giving way to the broker, for the room above (`process/packet.rs`).
    pub(crate) brokers_turns: AtomicU64,
    /// How many handlers of the program have begun on this thread.
    handlers: AtomicU32,
    /// 1 in a call that may sleep ([`Entry`]).
    may_sleep: AtomicU32,
    /// vforks of this thread that are under way and counted (`process/identity.rs`).
    pub(crate) vforks: AtomicU32,
    /// This thread's number, for the room above (`process/identity.rs`).
    pub(crate) tid: AtomicU32,
    /// The epoch it was asked in.
    pub(crate) tid_epoch: AtomicU32,
    /// The image whose life this thread holds, for the room above (`process/own_life.rs`).
    pub(crate) holds: AtomicU64,
    /// Where this thread's robust list has its head, 0 if it has none (`robust_list.rs`).
    pub(crate) list: AtomicUsize,
    /// The link by which the list names a word of ours; 0 none.
    pub(crate) named: AtomicUsize,
    /// A head for a thread that has no list.
    pub(crate) own_list: [AtomicUsize; 3],
    /// The epoch in which `list` was asked for.
    pub(crate) list_epoch: AtomicU32,
    /// While a task stands in for this thread: the thread's number (`process/deputy.rs`).
    pub(crate) stood_in_for: AtomicU32,
    /// That task's connection, its number + 1.
    pub(crate) deputys_line: AtomicI32,
    /// This thread's credentials, for the room above (`process/credentials.rs`).
    pub(crate) creds: Kept,
}

/// The credentials that a thread keeps.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Kept {
    /// The epoch they were asked in; 0 in none.
    pub(crate) epoch: AtomicU32,
    /// Effective user.
    pub(crate) euid: AtomicU32,
    /// Effective group.
    pub(crate) egid: AtomicU32,
    /// 1: CAP_IPC_OWNER is effective.
    pub(crate) owner: AtomicU32,
}
const _: () = assert!(size_of::<ThreadState>() <= THREAD_BLOCK_LEN);
// The broker's helper that leads a stopped thread out of its section finds them there, and does what a handler that is put off does (N1).
const _: () = assert!(
    offset_of!(ThreadState, depth) == SECTION_DEPTH
        && offset_of!(ThreadState, deferred) == SECTION_DEFERRED
        && offset_of!(ThreadState, saved_mask) == SECTION_MASK
);

impl ThreadState {
    const fn new() -> ThreadState {
        ThreadState {
            depth: AtomicU32::new(0),
            deferred: AtomicU32::new(0),
            saved_mask: AtomicU64::new(0),
            kept: kept::Kept::new(),
            waiting: AtomicPtr::new(core::ptr::null_mut()),
            credit: AtomicU32::new(0),
            turns: AtomicU64::new(0),
            early_credit: AtomicU32::new(0),
            no_turns_until: AtomicU64::new(0),
            gave_back: AtomicU64::new(0),
            brokers_turns: AtomicU64::new(0),
            handlers: AtomicU32::new(0),
            may_sleep: AtomicU32::new(0),
            vforks: AtomicU32::new(0),
            tid: AtomicU32::new(0),
            tid_epoch: AtomicU32::new(0),
            holds: AtomicU64::new(0),
            list: AtomicUsize::new(0),
            named: AtomicUsize::new(0),
            own_list: [const { AtomicUsize::new(0) }; 3],
            list_epoch: AtomicU32::new(0),
            stood_in_for: AtomicU32::new(0),
            deputys_line: AtomicI32::new(0),
            creds: Kept {
                epoch: AtomicU32::new(0),
                euid: AtomicU32::new(0),
                egid: AtomicU32::new(0),
                owner: AtomicU32::new(0),
            },
        }
    }

    /// Back to a new thread's, whatever a process that was killed has left in it.
    fn mend(&self) {
        self.depth.store(0, Relaxed);
        self.deferred.store(0, Relaxed);
        self.may_sleep.store(0, Relaxed);
        self.stood_in_for.store(0, Relaxed);
        self.deputys_line.store(0, Relaxed);
        self.waiting.store(core::ptr::null_mut(), Relaxed);
        self.named.store(0, Relaxed);
        self.list_epoch.store(0, Relaxed);
    }

    /// A number that no other thread has.
    fn name(&self) -> usize {
        core::ptr::from_ref(self) as usize
    }
}

/// The most processes that can run beside the owner of this memory.
pub(crate) const MOST_BESIDE: usize = 15;

/// The states of processes beside the owner, by the number of their thread; 0 nobody's.
static BESIDE: [(AtomicU32, ThreadState); MOST_BESIDE] =
    [const { (AtomicU32::new(0), ThreadState::new()) }; MOST_BESIDE];
/// Whether there is any.
static ANY_BESIDE: AtomicU32 = AtomicU32::new(0);

/// Gives the calling process, which begins in another's memory, state `n`.
pub(crate) fn begin_beside(n: usize) {
    if let Some((tid, state)) = BESIDE.get(n) {
        state.mend();
        tid.store(process::tid(), Relaxed);
    }
}

/// Takes state `n` back, whose process has ended or not begun. Answers its name.
pub(crate) fn end_beside(n: usize) -> usize {
    let Some((tid, state)) = BESIDE.get(n) else { return 0 };
    tid.store(0, Relaxed);
    state.name()
}

/// Gives the state that is found by one thread's number, if there is such a one, to another: to a task that stands in for the thread, and back.
pub(crate) fn hand_over(from: u32, to: u32) {
    for (tid, _) in &BESIDE {
        if tid.load(Relaxed) == from {
            tid.store(to, Relaxed);
        }
    }
}

/// Says whether a process may run beside the owner.
pub(crate) fn set_any_beside(any: bool) {
    ANY_BESIDE.store(u32::from(any), Relaxed);
}

#[cold]
fn state_beside() -> Option<&'static ThreadState> {
    let me = process::tid();
    BESIDE.iter().find(|(tid, _)| tid.load(Relaxed) == me).map(|(_, state)| state)
}

/// This thread's state.
#[inline]
pub fn thread() -> &'static ThreadState {
    if ANY_BESIDE.load(Relaxed) != 0
        && let Some(state) = state_beside()
    {
        return state;
    }
    // SAFETY: the block is this thread's, zeroed, aligned, and as long as the thread; all fields are atomics for which zero is
    // a value. The reference is not handed to other threads.
    unsafe { &*thread_block().cast::<ThreadState>() }
}

/// A call's beginning: afterwards a handler that has run ends the call with EINTR wherever it would sleep, as in the kernel, where a
/// pending signal keeps a call from sleeping (kernel: signal_pending() after set_current_state(), ipc/sem.c, ipc/msg.c).
///
/// Until it is dropped the thread does not sleep for an answer of the broker either, as long as that is to be expected soon: a program that
/// sees the thread in state S takes the call for asleep on its object, and sends its signal or counts its sleepers then.
#[derive(Debug)]
pub(crate) struct Entry {
    thread: &'static ThreadState,
    handlers: u32,
}

/// Begins a call that may sleep.
#[inline]
pub(crate) fn begin() -> Entry {
    let thread = thread();
    thread.may_sleep.store(1, Relaxed);
    Entry { thread, handlers: thread.handlers.load(Relaxed) }
}

impl Entry {
    /// The thread's state.
    #[inline(always)]
    pub(crate) fn thread(&self) -> &'static ThreadState {
        self.thread
    }

    /// [`enter`] of the same thread.
    #[inline(always)]
    pub(crate) fn section(&self) -> Section {
        enter_of(self.thread)
    }

    /// Whether a handler has run since.
    pub(crate) fn interrupted(&self) -> bool {
        self.thread.handlers.load(Relaxed) != self.handlers
    }
}

impl Drop for Entry {
    #[inline]
    fn drop(&mut self) {
        self.thread.may_sleep.store(0, Relaxed);
    }
}

/// A section. The program's handlers run again when the outermost one is dropped.
#[derive(Debug)]
pub struct Section {
    thread: &'static ThreadState,
    /// Not for other threads.
    here: PhantomData<*const ()>,
}

/// Enters a section.
#[inline(always)]
pub fn enter() -> Section {
    enter_of(thread())
}

#[inline(always)]
fn enter_of(thread: &'static ThreadState) -> Section {
    thread.depth.store(thread.depth.load(Relaxed).wrapping_add(1), Relaxed);
    // ORDERING: of the compiler alone (N2): handlers run on this thread. What the section protects stays behind this.
    compiler_fence(core::sync::atomic::Ordering::SeqCst);
    Section { thread, here: PhantomData }
}

impl Section {
    /// A number that no other thread has.
    pub(crate) fn name(&self) -> usize {
        self.thread.name()
    }

    /// The thread's state.
    #[inline(always)]
    pub(crate) fn thread(&self) -> &'static ThreadState {
        self.thread
    }
}

/// After vfork: no section of this thread is open, whatever a child that was killed in one has left. Answers the thread's name.
pub(crate) fn mend() -> usize {
    let thread = thread();
    thread.mend();
    thread.name()
}

impl Drop for Section {
    #[inline(always)]
    fn drop(&mut self) {
        // ORDERING: of the compiler alone (N2): what the section protects stays in front of this; a handler that comes after
        // the store below runs at once, and one that came before it is seen.
        compiler_fence(core::sync::atomic::Ordering::SeqCst);
        self.thread.depth.store(self.thread.depth.load(Relaxed).wrapping_sub(1), Relaxed);
        compiler_fence(core::sync::atomic::Ordering::SeqCst);
        if self.thread.deferred.load(Relaxed) != 0 {
            deliver(self.thread);
        }
    }
}

/// Lets the deferred signals come if that was the outermost section: they are pending in the kernel, and only the mask keeps them.
#[cold]
#[inline(never)]
fn deliver(thread: &ThreadState) {
    if thread.busy() {
        return;
    }
    if thread.kept.any() {
        set_mask(u64::MAX);
        thread.kept.send();
    }
    thread.deferred.store(0, Relaxed);
    // ORDERING: of the compiler alone: a handler that comes now may defer anew.
    compiler_fence(core::sync::atomic::Ordering::SeqCst);
    set_mask(thread.saved_mask.load(Relaxed));
}

/// rt_sigprocmask(SIG_SETMASK).
fn set_mask(mask: u64) {
    // SAFETY: the mask is ours.
    unsafe { own_syscall(nr::RT_SIGPROCMASK, [2, (&raw const mask) as usize, 0, 8, 0, 0]) };
}

impl ThreadState {
    /// Whether the thread is in a section.
    pub(crate) fn busy(&self) -> bool {
        self.depth.load(Relaxed) != 0
    }

    /// Whether a signal that comes now is put off: in a section, and while an earlier one is kept.
    pub(crate) fn puts_off(&self) -> bool {
        self.busy() || self.kept.any()
    }

    /// Whether the thread is in a call that may sleep.
    pub(crate) fn may_sleep(&self) -> bool {
        self.may_sleep.load(Relaxed) != 0
    }

    /// Notes that a handler of the program begins.
    pub(crate) fn handler_begins(&self) {
        self.handlers.store(self.handlers.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Notes that signals wait for the section's end, and which mask it restores. The outermost frame's word counts: it comes last.
    pub(crate) fn defer(&self, mask: u64) {
        self.saved_mask.store(mask, Relaxed);
        self.deferred.store(1, Relaxed);
    }
}

/// From now on a handler concludes the call first.
///
/// # Safety
/// `waiting` stays valid until [`disarm`], or until `conclude` was called and the thread never comes back.
pub unsafe fn arm(section: &Section, waiting: *mut Waiting) {
    section.thread.waiting.store(waiting, Relaxed);
}

/// No call sleeps any more.
pub fn disarm(section: &Section) {
    section.thread.waiting.store(core::ptr::null_mut(), Relaxed);
}

/// Ends the sleeping call of this thread, if there is one, before a handler runs.
pub(crate) fn conclude(thread: &ThreadState) {
    let waiting = thread.waiting.load(Relaxed);
    if waiting.is_null() {
        return;
    }
    // SAFETY: armed, so the record lives (arm()); this is its own thread.
    let concluded = unsafe { (*waiting).concluded.load(Relaxed) };
    if concluded == 0 {
        // SAFETY: as above; conclude is the function that belongs to this record.
        unsafe { ((*waiting).conclude)(waiting) };
    }
    // A handler that jumps away takes the record's stack with it.
    thread.waiting.store(core::ptr::null_mut(), Relaxed);
}
