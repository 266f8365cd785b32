//! The calling process: its numbers, limits, randomness. getpid(2), gettid(2), kcmp(2), getrandom(2), prlimit(2).

use crate::arch::{nr, own_syscall};
use crate::seccomp;
use ring3_abi::{Errno, Pid};

/// getpid, from the kernel.
pub fn pid() -> Pid {
    // SAFETY: no arguments.
    unsafe { own_syscall(nr::GETPID, [0; 6]) as Pid }
}

/// gettid, from the kernel.
pub fn tid() -> Pid {
    // SAFETY: no arguments.
    unsafe { own_syscall(nr::GETTID, [0; 6]) as Pid }
}

/// The word that libc registers for a thread with the kernel (set_tid_address(2)): at a program's start, in every new thread and in fork's
/// child. A vfork child has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TidWord {
    /// This thread has one.
    Registered,
    /// It has none.
    Absent,
    /// The kernel does not say (CONFIG_CHECKPOINT_RESTORE).
    Unknown,
}

/// Whether this thread has its word.
pub fn tid_word() -> TidWord {
    const PR_GET_TID_ADDRESS: usize = 40;
    let mut address = 0usize;
    // SAFETY: the kernel writes one word of ours.
    let raw =
        unsafe { own_syscall(nr::PRCTL, [PR_GET_TID_ADDRESS, (&raw mut address) as usize, 0, 0, 0, 0]) };
    match (raw, address) {
        (0, 0) => TidWord::Absent,
        (0, _) => TidWord::Registered,
        _ => TidWord::Unknown,
    }
}

/// Whether there is a process of this number, dead and not waited for included.
pub fn exists(pid: Pid) -> bool {
    // SAFETY: numbers only; signal 0 is none.
    let raw = unsafe { own_syscall(nr::TGKILL, [pid as usize, pid as usize, 0, 0, 0, 0]) };
    Errno::decode(raw) != Err(Errno::ESRCH)
}

/// What two processes' memory is to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// They run in the same.
    Common,
    /// Each has its own.
    Apart,
    /// The kernel does not say.
    Unknown,
}

/// Whether two processes run in the same memory (kcmp(2)).
pub fn compare_memory(a: Pid, b: Pid) -> Memory {
    const KCMP_VM: usize = 1;
    // SAFETY: numbers only.
    let order = unsafe { own_syscall(nr::KCMP, [a as usize, b as usize, KCMP_VM, 0, 0, 0]) };
    match order {
        0 => Memory::Common,
        1.. => Memory::Apart,
        _ => Memory::Unknown,
    }
}

/// Whether this process runs in its parent's memory, as a child of vfork's does until it execs.
pub fn borrows_memory() -> bool {
    let word = tid_word();
    // A thread is never the child itself.
    if word == TidWord::Registered || pid() != tid() {
        return false;
    }
    // A child made by a bare system call has no word either, but it has its own memory.
    // Where the kernel can be asked neither question, a process with the word, or without one, is taken for what most such processes are.
    match memory_and_parents() {
        Memory::Common => true,
        Memory::Apart => false,
        Memory::Unknown => word != TidWord::Unknown,
    }
}

/// What this process's memory is to its parent's. A parent in another PID or user namespace cannot be asked about.
pub fn memory_and_parents() -> Memory {
    // SAFETY: no arguments.
    let parent = unsafe { own_syscall(nr::GETPPID, [0; 6]) };
    compare_memory(parent as Pid, pid())
}

/// Where this thread's robust list has its head (struct robust_list_head); `None` if it has no list, or the kernel does not say.
pub fn robust_list() -> Option<usize> {
    let (mut head, mut len) = (0usize, 0usize);
    // SAFETY: the kernel writes two words of ours.
    let raw = unsafe {
        own_syscall(nr::GET_ROBUST_LIST, [0, (&raw mut head) as usize, (&raw mut len) as usize, 0, 0, 0])
    };
    (raw == 0 && head != 0).then_some(head)
}

/// Gives this thread a robust list. # Errors: `ENOSYS` on kernels without.
///
/// # Safety
/// A struct robust_list_head is there for as long as the thread lives.
pub unsafe fn set_robust_list(head: usize) -> Result<(), Errno> {
    const LEN: usize = 24;
    // SAFETY: by the caller's promise.
    Errno::decode(unsafe { own_syscall(nr::SET_ROBUST_LIST, [head, LEN, 0, 0, 0, 0]) }).map(|_| ())
}

/// Whether this process has a thread of this number; so, too, while that thread is ending.
pub fn has_thread(tid: Pid) -> bool {
    // SAFETY: numbers only; signal 0 is none.
    let raw = unsafe { own_syscall(nr::TGKILL, [pid() as usize, tid as usize, 0, 0, 0, 0]) };
    Errno::decode(raw) != Err(Errno::ESRCH)
}

/// A random number. Without getrandom, the clock and the stack's address must do.
pub fn random() -> u64 {
    let mut word = 0u64;
    // SAFETY: eight bytes of our own. GRND_NONBLOCK (1), GRND_INSECURE (4) exists since 5.6.
    let raw = unsafe { own_syscall(nr::GETRANDOM, [(&raw mut word) as usize, 8, 1, 0, 0, 0]) };
    if raw == 8 { word } else { crate::time::monotonic() ^ (&raw const word) as u64 ^ u64::from(pid()) << 40 }
}

/// The soft limit of open descriptors (RLIMIT_NOFILE); where a filter may forbid to ask, what it usually is.
pub fn descriptor_limit() -> u64 {
    const RLIMIT_NOFILE: usize = 7;
    soft_limit(RLIMIT_NOFILE, 1024)
}

/// The soft limit of the stack (RLIMIT_STACK), bytes; where a filter may forbid to ask, what it usually is.
pub fn stack_limit() -> usize {
    const RLIMIT_STACK: usize = 3;
    soft_limit(RLIMIT_STACK, 8 << 20) as usize
}

fn soft_limit(resource: usize, usual: u64) -> u64 {
    let mut limit = [usual; 2];
    if seccomp::is_filtered() {
        return usual;
    }
    // SAFETY: `limit` is a struct rlimit64 of ours.
    unsafe { own_syscall(nr::PRLIMIT64, [0, resource, 0, limit.as_mut_ptr() as usize, 0, 0]) };
    limit[0]
}

/// Raises this process's soft limit of open descriptors to what it may be, a few at least: for a process that ends soon.
pub fn raise_descriptor_limit() {
    const RLIMIT_NOFILE: usize = 7;
    const SOME: u64 = 256;
    let mut limit = [0u64; 2];
    // SAFETY: `limit` is a struct rlimit64 of ours.
    unsafe { own_syscall(nr::PRLIMIT64, [0, RLIMIT_NOFILE, 0, limit.as_mut_ptr() as usize, 0, 0]) };
    let [_, hard] = limit;
    // More than the hard limit is for the privileged; refused, it stays.
    for hard in [hard, hard.max(SOME)] {
        limit = [hard.min(SOME), hard];
        // SAFETY: `limit` is a struct rlimit64 of ours, which the kernel reads.
        unsafe { own_syscall(nr::PRLIMIT64, [0, RLIMIT_NOFILE, limit.as_ptr() as usize, 0, 0, 0]) };
    }
}

/// Gives the CPU to whoever else wants it (sched_yield).
pub fn give_way() {
    // SAFETY: no arguments.
    unsafe { own_syscall(nr::SCHED_YIELD, [0; 6]) };
}

/// Sleeps for about as long as another process needs for a few steps: while the broker is between two stores.
pub fn nap() {
    let word = core::sync::atomic::AtomicU32::new(0);
    let _ = crate::futex::wait(&word, 0, 50_000, crate::futex::Reach::Process);
}

/// Whether the process is known to have exactly one thread: not where a filter may forbid to ask.
pub fn is_single_threaded() -> bool {
    if seccomp::is_filtered() {
        return false;
    }
    // A task directory has 2 links and one a thread (kernel: proc_task_getattr()).
    const AT_FDCWD: isize = -100;
    const STATX_NLINK: usize = 4;
    let mut statx = [0u32; 64];
    let path = c"/proc/self/task";
    // SAFETY: the path ends in NUL; struct statx has 256 bytes.
    let raw = unsafe {
        own_syscall(
            nr::STATX,
            [AT_FDCWD as usize, path.as_ptr() as usize, 0, STATX_NLINK, statx.as_mut_ptr() as usize, 0],
        )
    };
    Errno::decode(raw).is_ok() && statx.get(4) == Some(&3)
}
