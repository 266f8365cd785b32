//! The exported functions, by what they are about.

pub mod exec;
pub mod ipc;
pub mod life;
pub mod procfs;
pub mod signal;
