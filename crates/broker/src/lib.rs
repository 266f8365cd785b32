//! The broker of a namespace: names, permission, lifetime, deaths.
//!
//! One thread, one loop over closed enums of events and requests (`serve/mod.rs`); it never waits for a client. It is on no hot
//! path: whoever has opened an object uses it without asking.
//!
//! | question | file |
//! | --- | --- |
//! | which identifier does a new object get | `names.rs` |
//! | who may do what | `creds.rs` |
//! | get, stat, set, remove, attach, … | `handle/*.rs`, one file a family |
//! | what does a death leave behind | `death.rs` |
//! | where does an object's memory come from | `arena.rs`, `segment.rs`; `regions.rs` maps it |
//! | what do the files of /proc say | `procfs.rs`, and `limits.rs` for their writing |
//!
//! # Invariants
//! B1. Everything that a client says is a claim, except what the kernel vouches for: its process, user and group.
//! B2. No answer is given before all deaths that its asker can know of are settled (`serve/endings.rs`).
//! B3. A region is given to nobody whom the object's permission at that moment refuses it; a range of memory is used again only
//!     when no process can still reach it (`arena.rs`).
//! B4. The broker takes a region's lock with patience that ends; what does not succeed is tried again by timer.
#![deny(unsafe_code)]

mod arena;
mod client;
mod config;
mod creds;
mod death;
mod failure;
mod handle;
mod host;
mod limits;
mod names;
mod namespace;
mod object;
mod process;
mod procfs;
mod regions;
mod segment;
mod serve;
mod sleepers;

pub use config::{Config, Keeper, Left, Report, Word};
pub use failure::Failure;
pub use serve::serve;
