//! What only this machine's own instructions can do.
//!
//! Each machine has the same files under its own name; nothing outside this directory knows which one it runs on.

#[cfg(target_arch = "x86_64")]
#[path = "copy_x86_64.rs"]
pub mod copy;
#[cfg(target_arch = "x86_64")]
#[path = "nr_x86_64.rs"]
pub mod nr;
#[cfg(target_arch = "x86_64")]
#[path = "park_x86_64.rs"]
mod parking;
#[cfg(target_arch = "x86_64")]
#[path = "signal_x86_64.rs"]
pub mod signal;
#[cfg(target_arch = "x86_64")]
#[path = "stack_x86_64.rs"]
mod stack;
#[cfg(target_arch = "x86_64")]
#[path = "syscall_x86_64.rs"]
mod syscalls;
#[cfg(target_arch = "x86_64")]
#[path = "tls_x86_64.rs"]
mod tls;

pub use parking::{park, unpark};
pub use stack::with_stack;
pub use syscalls::syscall;
pub use tls::{THREAD_BLOCK_LEN, thread_block};
