//! The tests of the whole: what no single crate can test of itself.
//!
//! - [`oracle`]: the same calls on the kernel and on ring3, compared line by line.
//! - [`permissions`]: who may do what to an object of which mode, on the kernel and on ring3.
//! - [`support`]: where the binaries are, what this machine allows.

pub mod oracle;
pub mod permissions;
pub mod support;
