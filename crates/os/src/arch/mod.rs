//! What only this machine's own instructions can do.
//!
//! Each machine has the same files under its own name; nothing outside this directory knows which one it runs on.

#[cfg_attr(target_arch = "aarch64", path = "copy_aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "copy_x86_64.rs")]
pub mod copy;
#[cfg_attr(target_arch = "aarch64", path = "freestanding_aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "freestanding_x86_64.rs")]
mod freestanding;
#[cfg_attr(target_arch = "aarch64", path = "nr_aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "nr_x86_64.rs")]
pub mod nr;
#[cfg_attr(target_arch = "aarch64", path = "park_aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "park_x86_64.rs")]
mod parking;
#[cfg_attr(target_arch = "aarch64", path = "signal_aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "signal_x86_64.rs")]
pub mod signal;
#[cfg_attr(target_arch = "aarch64", path = "stack_aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "stack_x86_64.rs")]
mod stack;
#[cfg_attr(target_arch = "aarch64", path = "stat_aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "stat_x86_64.rs")]
mod stat;
#[cfg_attr(target_arch = "aarch64", path = "syscall_aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "syscall_x86_64.rs")]
mod syscalls;
#[cfg_attr(target_arch = "aarch64", path = "tls_aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "tls_x86_64.rs")]
mod tls;
mod weak;

pub use freestanding::REGISTER_ARGUMENTS;
pub use parking::{park, unpark};
pub use stack::with_stack;
pub use stat::{STAT_LEN, stat_of};
pub use syscalls::syscall;
pub use tls::{THREAD_BLOCK_LEN, thread_block};
