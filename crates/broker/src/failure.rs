//! Why a broker could not start or go on.

use rustix::io::Errno;
use std::fmt;

/// What failed, and the kernel's reason.
#[derive(Debug)]
pub struct Failure {
    doing: &'static str,
    errno: Errno,
}

impl Failure {
    /// Says what was being done; for `map_err`.
    pub(crate) fn when(doing: &'static str) -> impl Fn(Errno) -> Failure {
        move |errno| Failure { doing, errno }
    }

    /// The kernel's reason.
    pub fn errno(&self) -> i32 {
        self.errno.raw_os_error()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, std::io::Error::from(self.errno))
    }
}

impl std::error::Error for Failure {}

/// The kernel's error number as the contract's type.
pub(crate) fn errno(from: Errno) -> ring3_abi::Errno {
    ring3_abi::Errno(from.raw_os_error() as u16)
}
