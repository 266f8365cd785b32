//! What the kernel's signal frames look like on x86-64, and the way back from a handler.

use core::arch::global_asm;

global_asm!(
    ".text",
    ".balign 16",
    "nop",
    ".globl ring3_restorer",
    ".hidden ring3_restorer",
    ".type ring3_restorer,@function",
    "ring3_restorer:",
    // These very bytes, 48 c7 c0 0f 00 00 00 0f 05, tell unwinders and debuggers that a signal frame lies above.
    "mov rax, 15",
    "syscall",
    "ud2",
    ".size ring3_restorer, . - ring3_restorer",
);

unsafe extern "C" {
    fn ring3_restorer();
}

/// Address for `sa_restorer`.
pub fn restorer() -> usize {
    ring3_restorer as *const () as usize
}

/// Offset of the interrupted instruction's address in `ucontext_t` (`uc_mcontext.gregs[REG_RIP]`).
const PC: usize = 40 + 16 * 8;
/// Offset of `uc_sigmask`.
const MASK: usize = 296;

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
