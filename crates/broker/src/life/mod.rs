//! Processes: how they become known, fork, replace their image, and end.

mod death;
mod ending;
mod escort;
mod fork;
mod hello;
mod image;
pub(crate) mod lives;
mod mover;
mod process;
mod section;
mod share;
mod suspects;

pub(crate) use death::End;
pub(crate) use fork::{Holder, PendingFork};
pub(crate) use image::maps_directory;
pub(crate) use mover::Movers;
pub(crate) use process::{ConnId, Process};
pub(crate) use suspects::Which;
