//! Changes of user, groups and capabilities. setuid(2) and its sisters, capset(2); credentials(7).

use crate::object::narrow::narrow;
use crate::process::credentials;

/// Changes the credentials of all threads by `run`, a function of libc's. Right even if that fails.
pub fn changing<T>(run: impl FnOnce() -> T) -> T {
    let done = credentials::changing(run);
    narrow();
    done
}

/// Changes this thread's own credentials by `run`, which answers a negative number if it fails.
pub fn changing_own(run: impl FnOnce() -> isize) -> isize {
    let done = credentials::changing_own(run);
    narrow();
    done
}
