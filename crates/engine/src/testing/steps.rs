//! For tests: a child that works on a shared region one instruction at a time, so that each moment of a call can be looked at.

use super::Heap;
use crate::region::Region;
use core::ptr::NonNull;

/// Memory that a child shares.
pub(crate) struct Shared(NonNull<u8>, usize);

impl Shared {
    pub(crate) fn new(len: usize) -> Shared {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping.
        let base = unsafe { libc::mmap(core::ptr::null_mut(), len, access, kind, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED);
        Shared(NonNull::new(base.cast()).unwrap(), len)
    }

    pub(crate) fn len(&self) -> usize {
        self.1
    }

    pub(crate) fn region(&self) -> Region<'_> {
        // SAFETY: R1, R2: mapped as long as self.
        unsafe { Region::new(self.0, self.1) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: mapped in new().
        unsafe { libc::munmap(self.0.as_ptr().cast(), self.1) };
    }
}

/// More instructions than any call has.
const STEPS: u32 = 1_000_000;

/// Does `act` in a child, and calls `at_change` after each instruction that changed the region, and at the end.
pub(crate) fn step_through(shared: &Shared, act: impl Fn(), mut at_change: impl FnMut()) {
    // SAFETY: the child does nothing but `act`, which neither allocates nor locks, and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: plain system calls.
        unsafe {
            libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
            libc::raise(libc::SIGSTOP);
            act();
            libc::_exit(0);
        }
    }
    assert!(child > 0);
    let mut seen = Heap::new(shared.1);
    let mut status = 0;
    for step in 0.. {
        // SAFETY: our own child.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        if copy_if_changed(shared, &mut seen) || !libc::WIFSTOPPED(status) {
            at_change();
        }
        if !libc::WIFSTOPPED(status) {
            break;
        }
        if step == STEPS {
            // SAFETY: our own child.
            unsafe { libc::kill(child, libc::SIGKILL) };
            panic!("the child does not end: it hangs, or panicked");
        }
        // SAFETY: it stands still and is traced by this thread.
        assert_eq!(unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, child, 0, 0) }, 0);
    }
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the child ended with {status:#x}");
}

fn copy_if_changed(shared: &Shared, seen: &mut Heap) -> bool {
    let here = seen.region().raw(0, shared.1).unwrap();
    // SAFETY: both have this length; the child stands still or is gone.
    let same = unsafe { libc::memcmp(shared.0.as_ptr().cast(), here.as_ptr().cast(), shared.1) } == 0;
    if !same {
        shared.region().copy_to(seen.region(), 0, 0, shared.1).unwrap();
    }
    !same
}
