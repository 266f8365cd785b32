//! The sys layer: one function a system call, with the kernel's arguments and the kernel's results.
//!
//! Every front door calls these functions: the agent's exported symbols now, trap doors by number later (`dispatch.rs`).
//! Nothing here allocates, panics, or calls a libc.
//!
//! | question | file |
//! | --- | --- |
//! | which errno, in which order | `msg.rs`, `msgctl.rs`, `sem.rs`, `semctl.rs`, `shm.rs` |
//! | which memory does an identifier name | `objects.rs` |
//! | when may a process leave it | `stays.rs`, `graves.rs` |
//! | who are we, to the broker | `identity.rs`, `broker.rs` |
//! | may we | `creds.rs` |
//! | which programs need no agent | `reach.rs`, `harmless.rs` |
//! | how does a call sleep | `wait.rs`, `host.rs` |
//! | when do handlers run | `section.rs`, `signal.rs` |
//! | what does `RING3_LOG=debug` write | `trace.rs` |
//!
//! # Lock order
//! Four locks of one process, all in the identity page: `attach` → `objects` → `rpc`; nothing is taken while `creds_lock` is held. All are
//! taken in a section only.
#![no_std]

#[cfg(test)]
extern crate std;

mod attach;
pub mod broker;
pub mod creds;
pub mod dispatch;
pub mod env;
mod get;
mod graves;
mod harmless;
pub mod host;
pub mod identity;
pub mod life;
mod lock;
mod maps;
pub mod msg;
pub mod msgctl;
pub mod objects;
mod patience;
pub mod pieces;
pub mod process;
pub mod procfs;
pub mod proxy;
pub mod reach;
mod recover;
pub mod section;
pub mod sem;
pub mod semctl;
pub mod shm;
pub mod signal;
mod stays;
pub mod trace;
mod wait;
