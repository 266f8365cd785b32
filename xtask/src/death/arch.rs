//! What the stepper must know about the machine: where a stopped process is and what it does next.

use super::trace::set_pc;
use crate::ptrace::{peek, poke};

/// What the instruction at some address is, as far as the stepper cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Anything else.
    Plain,
    /// Enters the kernel.
    Syscall,
    /// Repeats itself; the next instruction is there.
    Repeat(u64),
}

#[cfg(target_arch = "x86_64")]
mod machine {
    use super::Kind;
    use std::mem::offset_of;

    /// Where the program counter is in the user area.
    pub(in crate::death) const PC: usize = offset_of!(libc::user_regs_struct, rip);
    /// Where the number of the next system call is.
    pub(in crate::death) const NUMBER: usize = offset_of!(libc::user_regs_struct, rax);
    /// A breakpoint instruction, and what it leaves the program counter behind.
    pub(super) const BREAK: (u64, u64, u64) = (0xcc, 0xff, 1);

    /// Reads an instruction.
    pub(in crate::death) fn kind(pc: u64, word: u64) -> Kind {
        let bytes = word.to_le_bytes();
        let string = |byte: u8| (0xa4..=0xa7).contains(&byte) || (0xaa..=0xaf).contains(&byte);
        match bytes {
            [0x0f, 0x05, ..] => Kind::Syscall,
            [0xf2 | 0xf3, op, ..] if string(op) => Kind::Repeat(pc + 2),
            [0xf2 | 0xf3, 0x40..=0x4f, op, ..] if string(op) => Kind::Repeat(pc + 3),
            _ => Kind::Plain,
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the death harness reads x86-64's registers; another machine needs its own lines here");

pub(super) use machine::{NUMBER, PC, kind};

/// A breakpoint in a stopped process's text, which is its own copy.
pub(super) struct Breakpoint {
    at: u64,
    word: u64,
}

impl Breakpoint {
    /// Puts one at an address.
    pub(super) fn plant(pid: libc::pid_t, at: u64) -> std::io::Result<Breakpoint> {
        let (code, mask, _) = machine::BREAK;
        let word = peek(pid, at)?;
        poke(pid, at, word & !mask | code)?;
        Ok(Breakpoint { at, word })
    }

    /// Takes it away; a process that has just hit it goes back to its address. Returns where the process is.
    pub(super) fn uproot(self, pid: libc::pid_t, pc: u64) -> std::io::Result<u64> {
        let (_, _, behind) = machine::BREAK;
        poke(pid, self.at, self.word)?;
        if pc != self.at + behind {
            return Ok(pc);
        }
        set_pc(pid, self.at)?;
        Ok(self.at)
    }
}
