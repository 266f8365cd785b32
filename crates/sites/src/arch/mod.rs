//! What depends on the machine whose code is looked at: how its instructions are read.

pub(crate) mod aarch64;
pub(crate) mod x86_64;
