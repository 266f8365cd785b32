//! unshare and setns. unshare(2), setns(2), ipc_namespaces(7); kernel: ksys_unshare(), commit_nsset().
//!
//! Which namespace of ring3's a process is in follows from the kernel's IPC namespace that its first thread is in, and the broker looks that up
//! when the process introduces itself. So clone needs nothing, and neither does a process that the broker does not know yet; one that it
//! knows introduces itself again, and finds everything that it had opened unusable because another epoch has begun.

use crate::object::narrow::narrow;
use crate::process::{self, connection};

/// Changes namespaces of this thread by `run`, which answers 0 if it does.
pub fn changing(run: impl FnOnce() -> isize) -> isize {
    let done = run();
    changed(done);
    done
}

/// A call that changes namespaces has answered `done`.
pub(super) fn changed(done: isize) {
    if done == 0 && process::registered() {
        connection::introduce_again();
    }
    if done == 0 {
        narrow();
    }
}
