//! The mechanisms, as operations on regions of shared memory.
//!
//! A region is one object. Every link in it is an index, every field an atomic, and nothing that is read from it is
//! believed before it was checked against capacities that the broker told. There is no heap here, no libc, no system
//! call: an operation asks its [`Host`] for the time, to park, and to wake.
//!
//! # Lock order
//! There is one lock a region, and no operation holds two, except `move_to`, which locks the old region while
//! nobody can know the new one.
//!
//! # Death
//! A process may be killed between any two stores. What it changed under the lock is in the region's journal
//! (`journal.rs`) until one store commits it; `settle`, which takes the lock over, rolls the rest back. What follows from a
//! committed change (sleepers that can now go on) is done again by `settle`, which changes nothing when there is nothing
//! left to do.
#![no_std]
#![deny(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod atomic;
pub mod directory;
pub mod error;
pub mod host;
pub mod journal;
pub mod ledger;
pub mod life;
pub mod lock;
pub mod msg;
pub mod object;
pub mod perm;
pub mod region;
pub mod sem;
#[cfg(test)]
mod testing;
pub mod ticket;

pub use error::{Error, Result, Step};
pub use host::{Caller, Deadline, Host, Parked, WaitWord};
pub use region::{Region, Table};
pub use ticket::Ticket;
