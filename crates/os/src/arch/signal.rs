//! What the kernel's signal frames look like, and the way back from a handler.

#[cfg_attr(target_arch = "aarch64", path = "signal_aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "signal_x86_64.rs")]
mod machine;

use machine::{MASK, PC};

unsafe extern "C" {
    fn ring3_restorer();
}

/// Address for `sa_restorer`.
pub fn restorer() -> usize {
    ring3_restorer as *const () as usize
}

/// The frame of an interrupted thread, as the kernel passes it to handlers.
#[derive(Clone, Copy, Debug)]
pub struct Frame(*mut u8);

impl Frame {
    /// Takes a handler's third argument.
    ///
    /// # Safety
    /// `context` is that argument, and the handler has not returned.
    pub unsafe fn new(context: *mut u8) -> Frame {
        Frame(context)
    }

    /// Where the thread was.
    pub fn pc(self) -> usize {
        // SAFETY: the frame is a ucontext_t (see new()); the offset is the kernel's.
        unsafe { self.0.add(PC).cast::<usize>().read() }
    }

    /// Makes the thread go on elsewhere.
    pub fn set_pc(self, pc: usize) {
        // SAFETY: the same frame as in pc().
        unsafe { self.0.add(PC).cast::<usize>().write(pc) }
    }

    /// The signals that are blocked once the handler has returned.
    pub fn mask(self) -> u64 {
        // SAFETY: the same frame as in pc().
        unsafe { self.0.add(MASK).cast::<u64>().read() }
    }

    /// Changes them.
    pub fn set_mask(self, mask: u64) {
        // SAFETY: the same frame as in pc().
        unsafe { self.0.add(MASK).cast::<u64>().write(mask) }
    }
}
