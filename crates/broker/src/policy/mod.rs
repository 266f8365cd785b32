//! What may be done: credentials and permission, the limits, and the quotas of users.

pub(crate) mod creds;
pub(crate) mod kernel_limits;
pub(crate) mod limits;
pub(crate) mod quota;
