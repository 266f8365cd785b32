//! Which programs get the agent. Not those that cannot reach a door: they use libc alone, and none of its functions but omissible ones
//! (`omissible.rs`). exec starts them without the agent, and so like anywhere else: `true`, `echo`, `sleep`, `expr` and their like, of which
//! shell scripts are made. Nor those of 32 bits, whose dynamic linker could not load it and would say so in their standard error.
//!
//! A program that makes system calls by its own instructions reaches the kernel with the agent, too, and without it. One that takes
//! another's place between the look at it here and its execution is started as the other would have been.

mod entries;
pub mod environment;
mod omissible;

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use omissible::is_omissible;
use ring3_os::arch::elf::GLIBC_INTERPRETER;
use ring3_os::process::{self, TidWord};
use ring3_os::program::{self, Look, Version};
use ring3_os::seccomp;
use ring3_os::user::UserPtr;

/// The library that the list is about: glibc's.
const LIBRARY: &[u8] = b"libc.so.6";

/// How many programs a process remembers.
const REMEMBERED: usize = 64;

/// What a program has to do with the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    /// It needs the agent, or may.
    Needed,
    /// It cannot reach a door.
    Omissible,
    /// Its dynamic linker cannot load the agent.
    Impossible,
}

impl Agent {
    /// Bits of a number that one takes.
    const BITS: u64 = 3;

    /// The one that a number stands for.
    pub fn from_number(number: usize) -> Agent {
        match number {
            1 => Agent::Omissible,
            2 => Agent::Impossible,
            _ => Agent::Needed,
        }
    }

    /// A number for it.
    pub fn number(self) -> usize {
        match self {
            Agent::Needed => 0,
            Agent::Omissible => 1,
            Agent::Impossible => 2,
        }
    }
}

/// What was found of programs, each in the word that its version's hash leads to: the hash, and in the lowest bits what it has to do with us.
/// 0: nothing. It is true in any process, so a vfork child may write it to its parent's memory.
static FOUND: [AtomicU64; REMEMBERED] = [const { AtomicU64::new(0) }; REMEMBERED];

/// So that a word in use is not 0.
const SOMETHING: u64 = 4;

fn hash(version: &Version) -> u64 {
    // The finalizer of MurmurHash3 over each word.
    let mix = |hash: u64, word: &u64| {
        let mut hash = (hash ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ hash >> 33
    };
    version.identity.iter().fold(0x9e37_79b9_7f4a_7c15, mix) & !Agent::BITS | SOMETHING
}

/// What the program at a path has to do with the agent, as far as its file says: it needs the agent if the file cannot be read or understood.
///
/// `stays`: the caller's image does not end with this start (posix_spawn). `read` is
/// asked to read the file if it is not remembered: it makes room of [`program::ROOM`] bytes, and calls [`file_needs`].
pub fn needs(path: UserPtr<u8>, stays: bool, read: impl FnOnce() -> Agent) -> Agent {
    // A filter may forbid to look.
    if seccomp::is_filtered() {
        return Agent::Needed;
    }
    let Ok(version) = Version::of(path) else { return Agent::Needed };
    let hash = hash(&version);
    let Some(word) = FOUND.get((hash >> 3) as usize % REMEMBERED) else { return Agent::Needed };
    let found = word.load(Relaxed);
    if found & !Agent::BITS == hash {
        return Agent::from_number((found & Agent::BITS) as usize);
    }
    let needs = read();
    // In memory that ends with exec nobody would find it, and the kernel would copy the page for a forked child. A vfork child's stays.
    if (stays || process::tid_word() == TidWord::Absent) && version.is_settled() {
        word.store(hash | needs.number() as u64, Relaxed);
    }
    needs
}

/// Looks at the file for [`needs`].
pub fn file_needs(path: UserPtr<u8>, room: &mut [u8]) -> Agent {
    match program::look(path, room) {
        Look::Program(program)
            if program.interpreter() == Some(GLIBC_INTERPRETER)
                && program.needs_only(LIBRARY)
                && program.binds_only(is_omissible) =>
        {
            Agent::Omissible
        }
        Look::Narrow => Agent::Impossible,
        _ => Agent::Needed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring3_os::arch::elf::MACHINE;
    use std::ffi::CString;

    #[test]
    fn programs_that_can_do_nothing_are_told_from_those_that_can() {
        let looked = |path: &str| {
            let path = CString::new(path).unwrap();
            let (path, read) = (UserPtr::claim(path.as_ptr() as usize), core::cell::Cell::new(0));
            let look = || {
                needs(path, true, || {
                    read.set(read.get() + 1);
                    file_needs(path, &mut [0; program::ROOM])
                })
            };
            let found = look();
            assert_eq!((look(), read.get() <= 1), (found, true));
            found
        };
        for path in ["/bin/sh", "/bin/cat", "/usr/bin/env", "/bin/ls", "/usr/bin/ldd", "/etc/passwd", "/"] {
            assert_eq!(looked(path), Agent::Needed, "{path}");
        }
        // Elsewhere `true` may be another program: with another libc, a shell's, or for another machine than is emulated.
        let machine = std::fs::read("/bin/true").unwrap()[18..20] == MACHINE.to_le_bytes();
        if machine && cfg!(target_env = "gnu") && std::fs::read_link("/bin/true").is_err() {
            for path in ["/bin/true", "/bin/echo", "/bin/sleep"] {
                assert_eq!(looked(path), Agent::Omissible, "{path}");
            }
        }
    }
}
