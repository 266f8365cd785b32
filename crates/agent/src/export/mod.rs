//! The exported functions, by what they are about.

pub mod cancel;
pub mod credentials;
pub mod descriptors;
pub mod exec;
pub mod filter;
pub mod fork;
pub mod ipc;
pub mod memory;
pub mod names;
pub mod namespace;
pub mod procfs;
pub mod signal;
pub mod wait;
