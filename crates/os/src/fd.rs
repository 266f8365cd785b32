//! Descriptors: an owner, and the few calls that need nothing else. close(2), fcntl(2), fstat(2), openat(2), read(2), write(2).

use crate::arch::{nr, own_syscall};
use crate::user::{UserBytes, UserPtr};
use ring3_abi::Errno;

/// A descriptor that is closed when dropped.
#[derive(Debug, PartialEq, Eq)]
pub struct Fd(i32);

impl Fd {
    /// Takes ownership of an open descriptor that nobody else will close.
    pub fn own(raw: i32) -> Fd {
        Fd(raw)
    }

    /// The number.
    pub fn raw(&self) -> i32 {
        self.0
    }

    /// Gives ownership up: nobody closes it.
    pub fn into_raw(self) -> i32 {
        let raw = self.0;
        core::mem::forget(self);
        raw
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        close(self.0);
    }
}

/// Closes a descriptor by number. Nothing can be done about its errors.
pub fn close(raw: i32) {
    // SAFETY: close takes a number and touches no memory of ours.
    unsafe { own_syscall(nr::CLOSE, [raw as usize, 0, 0, 0, 0, 0]) };
}

/// Which file a descriptor names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
}

/// The kernel's `struct stat`, as far as the first fields of both machines agree: st_dev, st_ino.
#[repr(C, align(8))]
struct Stat([u64; 18]);

/// Asks which file `fd` names, and how many links it has.
pub fn identify(fd: i32) -> Result<Identity, Errno> {
    let mut stat = Stat([0; 18]);
    // SAFETY: `stat` is as large as struct stat (144 bytes on x86-64, 128 on aarch64), and ours.
    let raw = unsafe { own_syscall(nr::FSTAT, [fd as usize, (&raw mut stat) as usize, 0, 0, 0, 0]) };
    Errno::decode(raw)?;
    Ok(Identity { dev: stat.0[0], ino: stat.0[1] })
}

/// fcntl(F_DUPFD_CLOEXEC): a duplicate numbered at least `at_least`.
pub fn duplicate_above(fd: i32, at_least: i32) -> Result<Fd, Errno> {
    const F_DUPFD_CLOEXEC: usize = 1030;
    // SAFETY: numbers only.
    let raw = unsafe { own_syscall(nr::FCNTL, [fd as usize, F_DUPFD_CLOEXEC, at_least as usize, 0, 0, 0]) };
    Errno::decode(raw).map(|n| Fd(n as i32))
}

/// openat(O_RDONLY|O_CLOEXEC) of a path that ends in NUL.
pub fn open_read(path: &core::ffi::CStr) -> Result<Fd, Errno> {
    open(path.as_ptr() as usize, 0)
}

/// open_read() by the caller's pointer to a path that was a regular file's. What has come there since is opened without waiting for anybody.
pub fn open_regular(path: UserPtr<u8>) -> Result<Fd, Errno> {
    const FLAGS: usize = 0o4000 | 0o400; // O_NONBLOCK, O_NOCTTY
    open(path.addr(), FLAGS)
}

fn open(path: usize, flags: usize) -> Result<Fd, Errno> {
    const AT_FDCWD: isize = -100;
    const O_CLOEXEC: usize = 0o2000000;
    // SAFETY: the kernel says EFAULT if the path is nowhere.
    let raw = unsafe { own_syscall(nr::OPENAT, [AT_FDCWD as usize, path, O_CLOEXEC | flags, 0, 0, 0]) };
    Errno::decode(raw).map(|n| Fd(n as i32))
}

/// Appends to a file of that name, which it makes if need be, and closes it again.
///
/// # Errors
/// As openat(2) and write(2).
pub fn append(path: &core::ffi::CStr, bytes: &[u8]) -> Result<(), Errno> {
    const AT_FDCWD: isize = -100;
    const FLAGS: usize = 0o1 | 0o100 | 0o2000 | 0o2000000; // O_WRONLY, O_CREAT, O_APPEND, O_CLOEXEC
    // SAFETY: the path is a string that ends in NUL.
    let raw =
        unsafe { own_syscall(nr::OPENAT, [AT_FDCWD as usize, path.as_ptr() as usize, FLAGS, 0o666, 0, 0]) };
    let file = Fd(Errno::decode(raw)? as i32);
    // SAFETY: the kernel reads the slice.
    let raw =
        unsafe { own_syscall(nr::WRITE, [file.0 as usize, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0]) };
    Errno::decode(raw).map(|_| ())
}

/// read(2), once more after EINTR.
pub fn read(fd: i32, into: &mut [u8]) -> Result<usize, Errno> {
    loop {
        // SAFETY: the slice is ours and as long as we say.
        let raw =
            unsafe { own_syscall(nr::READ, [fd as usize, into.as_mut_ptr() as usize, into.len(), 0, 0, 0]) };
        match Errno::decode(raw) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// ioctl(2) with a pointer to a structure of ours.
///
/// # Safety
/// `request` reads and writes exactly the bytes of `T`.
pub unsafe fn ioctl<T>(fd: i32, request: usize, argument: &mut T) -> Result<usize, Errno> {
    // SAFETY: by the caller's promise; the pointer is to memory of ours.
    let raw =
        unsafe { own_syscall(nr::IOCTL, [fd as usize, request, (&raw mut *argument) as usize, 0, 0, 0]) };
    Errno::decode(raw)
}

/// A memfd that holds bytes of the program's.
pub fn filled(bytes: UserBytes) -> Result<Fd, Errno> {
    const MFD_CLOEXEC: usize = 1;
    // SAFETY: the name ends in NUL.
    let raw = unsafe { own_syscall(nr::MEMFD_CREATE, [c"ring3".as_ptr() as usize, MFD_CLOEXEC, 0, 0, 0, 0]) };
    let file = Fd(Errno::decode(raw)? as i32);
    let mut left = bytes;
    while !left.is_empty() {
        // SAFETY: the kernel reads the caller's memory and says EFAULT if it is none.
        let raw = unsafe { own_syscall(nr::WRITE, [file.0 as usize, left.addr(), left.len(), 0, 0, 0]) };
        match Errno::decode(raw) {
            Ok(0) => return Err(Errno::EFAULT),
            Ok(n) => {
                left.take(n)?;
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(file)
}

/// Reads from a place in a file.
pub fn read_at(fd: i32, into: &mut [u8], offset: usize) -> Result<usize, Errno> {
    pread(fd, into.as_mut_ptr() as usize, into.len(), offset)
}

/// Reads from a place in a file to the program's memory.
pub fn read_at_to_user(fd: i32, to: UserBytes, offset: usize) -> Result<usize, Errno> {
    pread(fd, to.addr(), to.len(), offset)
}

fn pread(fd: i32, to: usize, len: usize, offset: usize) -> Result<usize, Errno> {
    // SAFETY: memory of ours to which there is a unique reference, or the program's, of which the kernel says EFAULT if it is none.
    Errno::decode(unsafe { own_syscall(nr::PREAD64, [fd as usize, to, len, offset, 0, 0]) })
}
