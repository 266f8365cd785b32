//! The broker of a namespace: names, permission, lifetime, deaths.
//!
//! One thread, one loop over closed enums of events and requests (`serve/mod.rs`); it never waits for a client. It is on no hot
//! path: whoever has opened an object uses it without asking.
//!
//! | question | file |
//! | --- | --- |
//! | which function does a request | `serve/route.rs`: the table of all requests |
//! | who may do what | `policy/creds.rs` |
//! | how much may one user have | `policy/quota.rs` |
//! | which identifier does a new object get | `object/names.rs` |
//! | get, open, stat, set, remove, for every mechanism | `object/*.rs`, one file a family |
//! | what is a mechanism's own | `msg/`, `sem/`, `shm/`; `mechanism.rs` is their table and what is asked of each |
//! | what does a death leave behind | `life/death.rs` |
//! | where does an object's memory come from | `object/arena.rs`, `shm/segment.rs`; `regions.rs` maps it |
//! | which namespace is a process in | `spaces.rs` |
//! | what is different for processes in other namespaces of the kernel's | `abroad/` |
//! | what becomes of an engine's error | `attempt.rs` |
//! | how does another broker go on where this one was killed | `state/`, `serve/again.rs` |
//! | what do the files of /proc say | `procfs.rs`; `policy/kernel_limits.rs` and `policy/limits.rs` for their writing |
//!
//! # Invariants
//! B1. Everything that a client says is a claim, except what the kernel vouches for: its process, user and group.
//! B2. No answer is given before all deaths that its asker can know of are settled (`serve/endings.rs`).
//! B3. A region is given to nobody whom the object's permission at that moment refuses it; a range of memory is used again only
//!     when no process can still reach it (`object/arena.rs`).
//! B4. The broker takes a region's lock with patience that ends; what does not succeed is tried again by timer.
//! B6. Whatever the broker has answered, the next one knows (`state/mod.rs`).
//! B5. A mechanism is known by name only in its own folder, in the table of `mechanism.rs` and in the table of requests.
#![deny(unsafe_code)]

mod abroad;
mod attempt;
mod config;
mod failure;
mod host;
mod ledgers;
mod life;
mod mechanism;
mod msg;
mod namespace;
mod object;
mod policy;
mod procfs;
mod regions;
mod sem;
mod serve;
mod shm;
mod spaces;
mod state;

pub use config::{Config, Keeper, Left, Lookout, Report, Word};
pub use failure::Failure;
pub use policy::quota::Share;
pub use serve::{Broker, serve, unpack};
pub use state::{Keeping, Memory, Store, Unpacked};
