//! What may be done: credentials and permission, and the limits.

pub(crate) mod creds;
pub(crate) mod kernel_limits;
pub(crate) mod limits;
