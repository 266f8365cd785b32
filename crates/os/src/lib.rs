//! The only crate that enters the kernel.
//!
//! Typed calls by topic, each a line or two over [`arch::syscall`]; every instruction of a machine's own stands in
//! `arch/`. Nothing here allocates, panics or needs a libc: the agent runs it inside programs that are not ours.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod arch;
pub mod auxv;
pub mod cred;
pub mod elf;
pub mod fd;
pub mod file;
pub mod futex;
pub mod ipc_namespace;
pub mod loaded;
pub mod map;
pub mod namespace;
pub mod packet;
pub mod poll;
pub mod process;
pub mod program;
pub mod seccomp;
pub mod socket;
pub mod task;
pub mod time;
pub mod tracing;
pub mod user;
pub mod vdso;
