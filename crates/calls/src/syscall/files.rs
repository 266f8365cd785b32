//! The files of /proc that a namespace has of its own. proc(5), svipc(7).
//!
//! The front doors ask here for every path a program opens, so a path that is not ours must cost a few comparisons.

use crate::process::{self, connection};
use core::ffi::CStr;
use ring3_abi::Errno;
use ring3_os::fd::Fd;
use ring3_wire::Op;
use ring3_wire::request::Proc;
pub use ring3_wire::request::ProcFile;
use ring3_wire::request::ProcFolder;
use zerocopy::IntoBytes;

/// The folders of /proc that have files of ours.
const FOLDERS: [(&[u8], ProcFolder); 2] =
    [(b"/proc/sysvipc/", ProcFolder::Sysvipc), (b"/proc/sys/kernel/", ProcFolder::Kernel)];

/// How a program wants to use a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// O_RDONLY.
    Read = 0,
    /// O_WRONLY.
    Write = 1,
    /// O_RDWR.
    Both = 2,
}

/// Which of our files a path names.
///
/// # Safety
/// `path` is null or a string.
#[inline]
pub unsafe fn which(path: *const u8) -> Option<ProcFile> {
    if path.is_null() {
        return None;
    }
    for (n, want) in b"/proc/sys".iter().enumerate() {
        // SAFETY: every byte before was not NUL.
        if unsafe { path.add(n).read() } != *want {
            return None;
        }
    }
    // SAFETY: by the caller's promise.
    named(unsafe { CStr::from_ptr(path.cast()) }.to_bytes())
}

#[cold]
fn named(path: &[u8]) -> Option<ProcFile> {
    crate::process::environment::socket()?;
    FOLDERS.iter().find_map(|(folder, which)| ProcFile::find(*which, path.strip_prefix(*folder)?))
}

/// Whether a file may be written.
pub fn writable(file: ProcFile) -> bool {
    file.folder() == ProcFolder::Kernel
}

/// Opens a file. # Errors: `EACCES`; `ENOENT` without a broker.
pub fn open(file: ProcFile, access: Access) -> Result<Fd, Errno> {
    if access != Access::Read && !writable(file) {
        return Err(Errno::EACCES);
    }
    process::ready().map_err(|_| Errno::ENOENT)?;
    let mut buf: connection::Small = [0; 256];
    let request = Proc { file: file as u32, access: access as u32 };
    let answer = connection::call(Op::Proc, request.as_bytes(), &[], &mut buf)?;
    answer.fd.ok_or(Errno::ENOENT)
}
