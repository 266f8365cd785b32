//! The calls: one function a system call. `table.rs` leads to all of them by number.
//!
//! | question | file |
//! | --- | --- |
//! | which errno, in which order | `msg/`, `sem/`, `shm/`, a file a call; `get.rs` for what they share |
//! | which calls does the broker do, and how | `proxy.rs` |
//! | fork, exec, wait | `life.rs`, `exec.rs` |
//! | mmap, munmap, mremap; mprotect, madvise, mlock | `memory.rs`; `usage.rs` |
//! | seccomp, prctl(PR_SET_SECCOMP) | `filter.rs` |
//! | setuid and its sisters, capset | `credentials.rs` |
//! | close, dup2, chroot | `descriptors.rs` |
//! | unshare, setns | `namespace.rs` |
//! | files of /proc | `files.rs`; `proc_path.rs` for which a path or a descriptor is of |

pub mod credentials;
pub mod descriptors;
pub mod exec;
pub mod files;
pub mod filter;
mod get;
pub mod life;
pub mod memory;
pub mod msg;
pub mod namespace;
mod proc_path;
mod proxy;
pub mod sem;
pub mod shm;
mod table;
pub mod usage;

pub use table::{Call, dispatch};
