//! Identities: processes, users, groups.

/// A process (thread group) or thread number; 0 is nobody. At most 2^22 (`PID_MAX_LIMIT`).
pub type Pid = u32;

/// A user number.
pub type Uid = u32;

/// A group number.
pub type Gid = u32;
