//! A task that does something in a thread's place while the thread waits. clone(2), set_tid_address(2); kernel: copy_process(), mm_release().
//!
//! # Invariants
//! T1. What the task is given, its stack and its word live until the kernel has taken the task out of the process: the thread waits for that.
//! T2. No handler runs in the task, or in the thread that waits for it: both have all signals blocked.
//!
//! # Death
//! Of the process, by whatever signal or exec: task and thread end together. Neither can end alone: nobody knows the task's number.

use crate::arch::{nr, own_syscall, start_task};
use crate::futex::{self, Reach};
use crate::{map, poll, process, time};
use core::sync::atomic::{AtomicU32, Ordering::Acquire};
use ring3_abi::{Errno, Pid};

const CLONE_VM: usize = 0x100;
const CLONE_FS: usize = 0x200;
const CLONE_FILES: usize = 0x400;
const CLONE_SIGHAND: usize = 0x800;
const CLONE_THREAD: usize = 0x1_0000;
const CLONE_SYSVSEM: usize = 0x4_0000;
const CLONE_CHILD_CLEARTID: usize = 0x20_0000;

/// What a task has together with the thread that it stands in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is a thread of the same process, with a copy of the table of descriptors.
    OwnDescriptors,
    /// It is a process of its own, with copies of the limits, and has the table of descriptors in common with the thread.
    OwnLimits,
}

impl Kind {
    fn flags(self) -> usize {
        let both = CLONE_VM | CLONE_FS | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID;
        both | match self {
            Kind::OwnDescriptors => CLONE_SIGHAND | CLONE_THREAD,
            // No signal at its end: the program's wait functions do not see it.
            Kind::OwnLimits => CLONE_FILES,
        }
    }
}

/// Stack of a task, bytes; what lies below it cannot be touched.
const STACK: usize = 64 * 1024;

/// A task's stack.
struct Stack {
    at: usize,
}

impl Stack {
    fn new() -> Result<Stack, Errno> {
        let stack = Stack { at: map::anonymous(map::PAGE + STACK)?.as_ptr() as usize };
        // SAFETY: the first page of our own mapping, which nobody uses.
        unsafe { own_syscall(nr::MPROTECT, [stack.at, map::PAGE, 0, 0, 0, 0]) };
        Ok(stack)
    }

    fn end(&self) -> usize {
        self.at + map::PAGE + STACK
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: mapped by new(); its task has ended (T1).
        let _ = unsafe { map::unmap(self.at, map::PAGE + STACK) };
    }
}

/// What the new task calls.
unsafe extern "C" fn begin(context: *mut u8) {
    // SAFETY: stand_in()'s reference, which lives until the task has ended (T1), and which nobody else uses meanwhile.
    let work = unsafe { &mut *context.cast::<&mut dyn FnMut()>() };
    work();
}

/// Has `work` done by a task of a kind, and waits for the task's end: for so many nanoseconds without sleeping.
///
/// # Errors
/// `ENOMEM`; `EAGAIN` at a limit of processes; `EINVAL` for a thread in a process that has changed the PID namespace of its children.
pub fn stand_in(kind: Kind, awake: u64, mut work: &mut dyn FnMut()) -> Result<(), Errno> {
    const RUNNING: u32 = 1;
    let stack = Stack::new()?;
    let word = AtomicU32::new(RUNNING);
    let mask = poll::set_mask(poll::Mask::MAX);
    // SAFETY: T1: the stack is as long as it says and its end is a page's; the word and `work` live until the task has ended, which is
    // waited for below.
    let raw =
        unsafe { start_task(kind.flags(), stack.end(), word.as_ptr(), begin, (&raw mut work).cast::<u8>()) };
    let made = Errno::decode(raw).map(|tid| wait_for(tid as Pid, kind, &word, awake));
    poll::set_mask(mask);
    made
}

fn wait_for(tid: Pid, kind: Kind, word: &AtomicU32, awake: u64) {
    const LOOK: u64 = 1_000_000_000;
    let until = time::monotonic().saturating_add(awake);
    loop {
        // ORDERING: Acquire pairs with the kernel's store, which comes after all that the task did.
        let now = word.load(Acquire);
        if now == 0 {
            break;
        }
        if awake != 0 && time::monotonic() < until {
            process::give_way();
        } else {
            // The kernel wakes for everybody who maps the page.
            let _ = futex::wait(word, now, LOOK, Reach::Shared);
        }
    }
    match kind {
        // The word is cleared before the kernel takes the task out of the process (unshare(2) counts threads).
        Kind::OwnDescriptors => {
            while process::has_thread(tid) {
                process::give_way();
            }
        }
        Kind::OwnLimits => reap(tid),
    }
}

fn reap(pid: Pid) {
    const WCLONE: usize = 0x8000_0000;
    // SAFETY: numbers only. Nothing but EINTR keeps it from waiting, and no handler runs (T2).
    while unsafe { own_syscall(nr::WAIT4, [pid as usize, 0, WCLONE, 0, 0, 0]) } == Errno::encode(Errno::EINTR)
    {
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fd;

    #[test]
    fn a_task_has_descriptors_of_its_own() {
        let file = fd::open_read(c"/").unwrap();
        let mut seen = None;
        stand_in(Kind::OwnDescriptors, 0, &mut || {
            fd::close(file.raw());
            seen = Some((process::pid(), process::tid(), fd::identify(file.raw())));
        })
        .unwrap();
        let (pid, tid, there) = seen.unwrap();
        assert_eq!((pid, there), (process::pid(), Err(Errno::EBADF)));
        assert!(tid != process::tid() && !process::has_thread(tid));
        assert!(fd::identify(file.raw()).is_ok());
    }

    #[test]
    fn a_process_that_stands_in_opens_for_the_thread() {
        let (mut pid, mut opened) = (0, None);
        stand_in(Kind::OwnLimits, 1_000_000, &mut || {
            pid = process::pid();
            opened = fd::open_read(c"/").ok();
        })
        .unwrap();
        assert!(pid != process::pid() && !process::exists(pid));
        assert!(fd::identify(opened.unwrap().raw()).is_ok());
    }
}
