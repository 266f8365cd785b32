//! The Linux contract that ring3 keeps: error numbers, flags, structures, limits.
//!
//! Nothing here runs; it is the vocabulary every other crate speaks. Values and layouts are those of the
//! kernel's 64-bit user interface (`<linux/ipc.h>`, `<linux/msg.h>`, `<linux/sem.h>`, `<linux/shm.h>`),
//! the same on x86-64 and aarch64, and are compared with libc's in `tests/layout.rs`.
#![no_std]
#![forbid(unsafe_code)]

pub mod errno;
pub mod id;
pub mod ipc;
pub mod limits;
pub mod msg;
pub mod sem;
pub mod shm;

pub use errno::Errno;
pub use id::{Gid, Pid, Uid};
pub use ipc::{IpcId, Key, Kind};
