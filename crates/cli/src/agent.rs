//! The agent, as it is carried inside this binary.

/// The library `libring3.so`, built along with this command.
pub(crate) const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libring3.so"));
