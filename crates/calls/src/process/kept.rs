//! The credentials that a process keeps in its identity page.

use core::sync::atomic::AtomicU32;

/// What the kernel said in one epoch. Stands in the identity page, so that fork wipes it. Written under `Identity::creds_lock`.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The epoch it is good for; 0 while it is written.
    pub(super) epoch: AtomicU32,
    /// Effective user.
    pub(super) euid: AtomicU32,
    /// Effective group.
    pub(super) egid: AtomicU32,
    /// 1: CAP_IPC_OWNER.
    pub(super) owner: AtomicU32,
}

impl Kept {
    /// Nothing yet.
    pub(crate) const fn new() -> Kept {
        Kept {
            epoch: AtomicU32::new(0),
            euid: AtomicU32::new(0),
            egid: AtomicU32::new(0),
            owner: AtomicU32::new(0),
        }
    }
}
