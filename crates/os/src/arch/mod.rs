//! What only this machine's own instructions can do.
//!
//! A file has what all machines share; beside it each machine has its instructions and layouts, in a file of the same name and its
//! own. Nothing outside this directory knows which one it runs on.

pub mod copy;
#[cfg_attr(target_arch = "aarch64", path = "elf_aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "elf_x86_64.rs")]
pub mod elf;
mod emulator;
mod freestanding;
mod hidden;
pub mod late;
#[cfg_attr(target_arch = "aarch64", path = "nr_aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "nr_x86_64.rs")]
pub mod nr;
mod own;
mod park;
pub mod signal;
mod stack;
#[cfg_attr(target_arch = "aarch64", path = "stat_aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "stat_x86_64.rs")]
mod stat;
#[cfg_attr(target_arch = "aarch64", path = "syscall_aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "syscall_x86_64.rs")]
mod syscalls;
mod task;
mod tls;

pub use emulator::is_emulated;
pub use freestanding::REGISTER_ARGUMENTS;
pub use own::{OWN_PLACES, own_places, own_syscall};
pub use park::{park, unpark};
pub use stack::with_stack;
pub use stat::{STAT_LEN, stat_mode_and_links, stat_of};
pub use syscalls::syscall;
pub(crate) use task::start_task;
pub use tls::{SECTION_DEFERRED, SECTION_DEPTH, SECTION_MASK, THREAD_BLOCK_LEN, thread_block};

#[cfg(test)]
mod tests;
