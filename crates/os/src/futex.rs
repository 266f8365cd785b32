//! Futexes, as a lock needs them; a call that sleeps for its caller parks by [`crate::arch::park`]. futex(2).

use crate::arch::{nr, own_syscall};
use core::sync::atomic::AtomicU32;
use ring3_abi::Errno;

/// Whether the word lies in memory that other processes map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Threads of this process only.
    Process,
    /// Everybody who maps the page.
    Shared,
}

const FUTEX_WAIT: usize = 0;
const FUTEX_WAKE: usize = 1;
const FUTEX_CMP_REQUEUE: usize = 4;
const FUTEX_PRIVATE: usize = 128;

impl Reach {
    fn flag(self) -> usize {
        if self == Reach::Process { FUTEX_PRIVATE } else { 0 }
    }
}

/// Sleeps while `*word == expect`, at most `ns` nanoseconds from now. Every error is a reason to look again.
pub fn wait(word: &AtomicU32, expect: u32, ns: u64, reach: Reach) -> Result<(), Errno> {
    let timeout = [(ns / 1_000_000_000) as i64, (ns % 1_000_000_000) as i64];
    let arguments =
        [word.as_ptr() as usize, FUTEX_WAIT | reach.flag(), expect as usize, timeout.as_ptr() as usize, 0, 0];
    // SAFETY: the word and the timeout live through the call.
    Errno::decode(unsafe { own_syscall(nr::FUTEX, arguments) }).map(|_| ())
}

/// Wakes up to `count` sleepers; a word that is mapped nowhere wakes none.
pub fn wake(word: *const u32, count: u32, reach: Reach) {
    // SAFETY: FUTEX_WAKE uses the address as a name, and answers EFAULT if nothing is mapped there.
    unsafe { own_syscall(nr::FUTEX, [word as usize, FUTEX_WAKE | reach.flag(), count as usize, 0, 0, 0]) };
}

/// Moves the sleepers of a shared word that says `expect` to another, without waking them.
///
/// # Errors
/// `EAGAIN` if it says something else; others if they were not moved.
pub fn move_sleepers(word: &AtomicU32, expect: u32, to: &AtomicU32) -> Result<(), Errno> {
    let most = i32::MAX as usize;
    let arguments =
        [word.as_ptr() as usize, FUTEX_CMP_REQUEUE, 0, most, to.as_ptr() as usize, expect as usize];
    // SAFETY: both words live through the call, which writes neither.
    Errno::decode(unsafe { own_syscall(nr::FUTEX, arguments) }).map(|_| ())
}

/// Has the kernel read the word that an address lies in: one that compares it before it moves no sleeper at all elsewhere.
///
/// # Errors
/// `EFAULT` if there is nothing that can be read.
pub fn read_by_kernel(addr: usize) -> Result<(), Errno> {
    let (word, command) = (addr & !3, FUTEX_CMP_REQUEUE | FUTEX_PRIVATE);
    // SAFETY: nobody is woken or moved, and nothing is written.
    match Errno::decode(unsafe { own_syscall(nr::FUTEX, [word, command, 0, 0, word, 0]) }) {
        Err(Errno::EFAULT) => Err(Errno::EFAULT),
        _ => Ok(()),
    }
}
