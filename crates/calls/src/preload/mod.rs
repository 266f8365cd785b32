//! Programs that cannot reach a door: those that use libc alone, and none of its functions but omissible ones (`omissible.rs`). exec starts
//! them without the agent, and so like anywhere else: `true`, `echo`, `sleep`, `expr` and their like, of which shell scripts are made.
//!
//! A program that makes system calls by its own instructions reaches the kernel with the agent, too, and without it. One that takes
//! another's place between the look at it here and its execution is started as the other would have been.

pub mod environment;
mod omissible;

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use omissible::is_omissible;
use ring3_os::arch::elf::GLIBC_INTERPRETER;
use ring3_os::process;
use ring3_os::program::{self, Version};

/// The library that the list is about: glibc's.
const LIBRARY: &[u8] = b"libc.so.6";

/// How many programs a process remembers.
const REMEMBERED: usize = 64;

/// What was found of programs, each in the word that its version's hash leads to: the hash, and in the lowest bit whether it can reach us.
/// 0: nothing. It is true in any process, so a vfork child may write it to its parent's memory.
static FOUND: [AtomicU64; REMEMBERED] = [const { AtomicU64::new(0) }; REMEMBERED];

/// So that a word in use is not 0.
const SOMETHING: u64 = 2;

fn hash(version: &Version) -> u64 {
    // The finalizer of MurmurHash3 over each word.
    let mix = |hash: u64, word: &u64| {
        let mut hash = (hash ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ hash >> 33
    };
    version.identity.iter().fold(0x9e37_79b9_7f4a_7c15, mix) & !1 | SOMETHING
}

/// Whether the program at a path can reach a door, as far as its file says: so, too, if the file cannot be read or understood.
///
/// `path` is the caller's pointer, and may lead nowhere. `stays`: the caller's image does not end with this start (posix_spawn). `read` is
/// asked to read the file if it is not remembered: it makes room of [`program::ROOM`] bytes, and calls [`file_reaches_us`].
pub fn reaches_us(path: usize, stays: bool, read: impl FnOnce() -> bool) -> bool {
    let Ok(version) = Version::of(path) else { return true };
    let hash = hash(&version);
    let Some(word) = FOUND.get((hash >> 2) as usize % REMEMBERED) else { return true };
    let found = word.load(Relaxed);
    if found & !1 == hash {
        return found & 1 == 1;
    }
    let reaches = read();
    // In memory that ends with exec nobody would find it, and the kernel would copy the page for a forked child. A vfork child's stays.
    if (stays || process::has_tid_word() == Some(false)) && version.is_settled() {
        word.store(hash | u64::from(reaches), Relaxed);
    }
    reaches
}

/// Looks at the file for [`reaches_us`].
pub fn file_reaches_us(path: usize, room: &mut [u8]) -> bool {
    let omissible = program::read(path, room).is_some_and(|program| {
        program.interpreter() == Some(GLIBC_INTERPRETER)
            && program.needs_only(LIBRARY)
            && program.binds_only(is_omissible)
    });
    !omissible
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring3_os::arch::elf::MACHINE;
    use std::ffi::CString;

    #[test]
    fn programs_that_can_do_nothing_are_told_from_those_that_can() {
        let reaches = |path: &str| {
            let path = CString::new(path).unwrap();
            let (path, read) = (path.as_ptr() as usize, core::cell::Cell::new(0));
            let look = || {
                reaches_us(path, true, || {
                    read.set(read.get() + 1);
                    file_reaches_us(path, &mut [0; program::ROOM])
                })
            };
            let reaches = look();
            assert_eq!((look(), read.get() <= 1), (reaches, true));
            reaches
        };
        for path in ["/bin/sh", "/bin/cat", "/usr/bin/env", "/bin/ls", "/usr/bin/ldd", "/etc/passwd", "/"] {
            assert!(reaches(path), "{path}");
        }
        // Elsewhere `true` may be another program: with another libc, a shell's, or for another machine than is emulated.
        let machine = std::fs::read("/bin/true").unwrap()[18..20] == MACHINE.to_le_bytes();
        if machine && cfg!(target_env = "gnu") && std::fs::read_link("/bin/true").is_err() {
            for path in ["/bin/true", "/bin/echo", "/bin/sleep"] {
                assert!(!reaches(path), "{path}");
            }
        }
    }
}
