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
use zerocopy::IntoBytes;

const SYSVIPC: &[u8] = b"/proc/sysvipc/";
const KERNEL: &[u8] = b"/proc/sys/kernel/";

/// Names in /proc/sys/kernel, in the order of their numbers in `ProcFile`.
const NAMES: [(&[u8], ProcFile); 12] = [
    (b"msgmax", ProcFile::Msgmax),
    (b"msgmnb", ProcFile::Msgmnb),
    (b"msgmni", ProcFile::Msgmni),
    (b"sem", ProcFile::Sem),
    (b"shmmax", ProcFile::Shmmax),
    (b"shmall", ProcFile::Shmall),
    (b"shmmni", ProcFile::Shmmni),
    (b"shm_rmid_forced", ProcFile::ShmRmidForced),
    (b"auto_msgmni", ProcFile::AutoMsgmni),
    (b"msg_next_id", ProcFile::MsgNextId),
    (b"sem_next_id", ProcFile::SemNextId),
    (b"shm_next_id", ProcFile::ShmNextId),
];

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
    match path.strip_prefix(SYSVIPC) {
        Some(b"msg") => Some(ProcFile::SysvipcMsg),
        Some(b"sem") => Some(ProcFile::SysvipcSem),
        Some(b"shm") => Some(ProcFile::SysvipcShm),
        Some(_) => None,
        None => {
            let name = path.strip_prefix(KERNEL)?;
            NAMES.iter().find(|(known, _)| *known == name).map(|(_, file)| *file)
        }
    }
}

/// Whether a file may be written.
pub fn writable(file: ProcFile) -> bool {
    !matches!(file, ProcFile::SysvipcMsg | ProcFile::SysvipcSem | ProcFile::SysvipcShm)
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
