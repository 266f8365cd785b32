//! Processes: how they become known, fork, replace their image, and end.

mod death;
mod fork;
mod hello;
mod image;
mod process;

pub(crate) use death::End;
pub(crate) use fork::{Holder, PendingFork};
pub(crate) use process::{ConnId, Process};
