//! Files by path, and what a descriptor is of. openat(2), stat(2), statfs(2), readlinkat(2), getcwd(2), dup(2), fcntl(2).

use crate::arch::{STAT_LEN, nr, own_syscall, stat_mode_and_links, syscall};
use crate::fd::Fd;
use core::ffi::CStr;
use ring3_abi::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The directory in which relative paths begin (AT_FDCWD).
pub const HERE: i32 = -100;

const O_WRONLY: usize = 1;
const O_PATH: usize = 0o10_000_000;
const O_CLOEXEC: usize = 0o2_000_000;

/// A `struct stat`: the words that both machines have in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C, align(8))]
pub struct Stat(pub [u64; STAT_LEN / 8]);

impl Stat {
    /// An empty structure to be filled.
    pub const fn empty() -> Stat {
        Stat([0; STAT_LEN / 8])
    }

    /// Device and inode.
    pub fn identity(&self) -> (u64, u64) {
        (self.0[0], self.0[1])
    }

    /// Type and permission.
    pub fn mode(&self) -> u32 {
        stat_mode_and_links(&self.0).0
    }

    /// How many links it has.
    pub fn links(&self) -> u64 {
        stat_mode_and_links(&self.0).1
    }

    /// Its length, bytes.
    pub fn size(&self) -> u64 {
        self.0[6]
    }

    /// The length of its file system's blocks, bytes.
    pub fn block(&self) -> u32 {
        self.0[7] as u32
    }
}

fn open(dir: i32, path: usize, flags: usize) -> Result<Fd, Errno> {
    // SAFETY: the kernel says EFAULT if the path is nowhere.
    let raw = unsafe { syscall(nr::OPENAT, [dir as usize, path, flags | O_CLOEXEC, 0, 0, 0]) };
    Errno::decode(raw).map(|fd| Fd::own(fd as i32))
}

/// A descriptor that names a file and does nothing to it (O_PATH).
pub fn open_path(dir: i32, path: usize) -> Result<Fd, Errno> {
    open(dir, path, O_PATH)
}

/// Opens a file to be written.
pub fn open_write(path: &CStr) -> Result<Fd, Errno> {
    open(HERE, path.as_ptr() as usize, O_WRONLY)
}

/// write(2).
pub fn write(fd: i32, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel reads the slice.
    Errno::decode(unsafe { syscall(nr::WRITE, [fd as usize, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0]) })
}

/// fstat(2).
pub fn stat(fd: i32) -> Result<Stat, Errno> {
    let mut stat = Stat::empty();
    // SAFETY: the kernel writes one structure of ours.
    let raw = unsafe { own_syscall(nr::FSTAT, [fd as usize, (&raw mut stat) as usize, 0, 0, 0, 0]) };
    Errno::decode(raw).map(|_| stat)
}

/// fstatat(2).
pub fn stat_at(dir: i32, path: &CStr) -> Result<Stat, Errno> {
    let mut stat = Stat::empty();
    let args = [dir as usize, path.as_ptr() as usize, (&raw mut stat) as usize, 0, 0, 0];
    // SAFETY: the path is a string; the kernel writes one structure of ours.
    Errno::decode(unsafe { syscall(nr::NEWFSTATAT, args) }).map(|_| stat)
}

/// Whether a descriptor is of a file in a /proc (fstatfs(2), PROC_SUPER_MAGIC).
pub fn is_in_proc(fd: i32) -> bool {
    const PROC_SUPER_MAGIC: u64 = 0x9fa0;
    let mut statfs = [0u64; 15];
    // SAFETY: a struct statfs has 120 bytes on both machines, and its first word is the type.
    let raw = unsafe { syscall(nr::FSTATFS, [fd as usize, statfs.as_mut_ptr() as usize, 0, 0, 0, 0]) };
    raw == 0 && statfs[0] == PROC_SUPER_MAGIC
}

/// Where a symbolic link leads, as much as there is room for.
pub fn read_link<'a>(path: &CStr, room: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let args = [HERE as usize, path.as_ptr() as usize, room.as_mut_ptr() as usize, room.len(), 0, 0];
    // SAFETY: the path is a string; the kernel writes into the slice.
    let len = Errno::decode(unsafe { syscall(nr::READLINKAT, args) })?;
    room.get(..len).ok_or(Errno::EIO)
}

/// The current directory, without the NUL.
pub fn current_directory(room: &mut [u8]) -> Result<&[u8], Errno> {
    // SAFETY: the kernel writes into the slice.
    let len =
        Errno::decode(unsafe { syscall(nr::GETCWD, [room.as_mut_ptr() as usize, room.len(), 0, 0, 0, 0]) })?;
    room.get(..len.saturating_sub(1)).ok_or(Errno::EIO)
}

/// Makes `number` name what `fd` names (dup3(2)); close-on-exec or not.
pub fn put_in_place(fd: &Fd, number: i32, close_on_exec: bool) -> Result<(), Errno> {
    let flags = if close_on_exec { O_CLOEXEC } else { 0 };
    // SAFETY: numbers only.
    Errno::decode(unsafe { syscall(nr::DUP3, [fd.raw() as usize, number as usize, flags, 0, 0, 0]) })
        .map(|_| ())
}

fn fcntl(fd: i32, command: usize, argument: usize) -> Result<usize, Errno> {
    // SAFETY: the commands of this file take numbers only.
    Errno::decode(unsafe { syscall(nr::FCNTL, [fd as usize, command, argument, 0, 0, 0]) })
}

/// The flags that a descriptor was opened with (F_GETFL).
pub fn flags(fd: i32) -> Result<i32, Errno> {
    fcntl(fd, 3, 0).map(|flags| flags as i32)
}

/// Whether a descriptor is closed by exec (F_GETFD).
pub fn is_close_on_exec(fd: i32) -> Result<bool, Errno> {
    fcntl(fd, 1, 0).map(|flags| flags & 1 != 0)
}

/// Lets exec keep a descriptor (F_SETFD).
pub fn keep_on_exec(fd: i32) {
    // Nothing can go wrong with a descriptor that is open.
    let _ = fcntl(fd, 2, 0);
}

/// The seals of a memory file (F_GET_SEALS). # Errors: `EINVAL` for any other file.
pub fn seals(fd: i32) -> Result<u32, Errno> {
    fcntl(fd, 1034, 0).map(|seals| seals as u32)
}

/// Whether nobody has the file open for writing. `fd` is open for reading only. Told by a lease (F_SETLEASE), which the kernel gives to no
/// other file and which is given back at once.
pub fn nobody_writes(fd: i32) -> bool {
    const F_SETLEASE: usize = 1024;
    const F_RDLCK: usize = 0;
    const F_UNLCK: usize = 2;
    let leased = fcntl(fd, F_SETLEASE, F_RDLCK).is_ok();
    leased && fcntl(fd, F_SETLEASE, F_UNLCK).is_ok()
}
