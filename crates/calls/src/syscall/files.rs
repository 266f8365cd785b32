//! The files of /proc that a namespace has of its own, opened and asked about. proc(5), svipc(7), open(2), access(2), stat(2).
//!
//! The kernel opens the machine's own file first: that does nothing to it, refuses what is to be refused, and gives a descriptor that tells
//! what it is of (`proc_path.rs`). The namespace's file is then put under the same number. So the front doors need no rule for any flag.
//!
//! What the program gets is one of the kernel's files of limits, of the broker's own namespace, or a sealed memory file
//! (crates/broker/src/procfs.rs). fstat(2) of both is what stat(2) says of the path: cp and tar compare the two.

use crate::process::{self, connection, environment};
use crate::syscall::proc_path::{self, has_name, of_descriptor, of_missing};
use ring3_abi::Errno;
use ring3_os::arch::stat_of;
use ring3_os::fd::{self, Fd};
use ring3_os::file::{self, HERE, Stat};
use ring3_os::user::UserPtr;
use ring3_wire::Op;
use ring3_wire::request::Proc;
pub use ring3_wire::request::ProcFile;
use zerocopy::IntoBytes;

/// open's flags.
const O_ACCMODE: i32 = 3;
const O_CREAT: i32 = 0o100;
const O_EXCL: i32 = 0o200;
/// Opens to be written only.
pub const O_WRONLY: i32 = 1;
const O_CLOEXEC: i32 = 0o2_000_000;
const O_PATH: i32 = 0o10_000_000;
/// access's modes.
const W_OK: i32 = 2;
const X_OK: i32 = 1;

const S_IFREG: u32 = 0o100_000;
/// What a limit's file says of itself, and the broker's memory files.
const LIMIT: u32 = S_IFREG | 0o644;
const MEMORY: u32 = S_IFREG | 0o444;

/// The kernel's `struct statx`, whose fields are found by their offsets.
pub type Statx = [u8; 256];

/// The length of /proc's blocks, which other file systems' seldom have.
const BLOCK: u32 = 1024;

/// Whether to look at what was opened. Every old file that may be written is looked at, lest a link leads to the machine's limits, except
/// devices, which shells open for every other command; of those that are only read, such as have one of the names.
///
/// # Safety
/// `path` is null or a string.
#[inline]
pub unsafe fn is_looked_at(path: *const u8, flags: i32) -> bool {
    let new = flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL;
    // SAFETY: the caller's promise.
    unsafe { (flags & O_ACCMODE != 0 && !new && !begins(path, b"/dev/")) || has_name(path) }
}

/// Whether a path begins with these bytes.
///
/// # Safety
/// `path` is null or a string.
unsafe fn begins(path: *const u8, with: &[u8]) -> bool {
    // SAFETY: all bytes before were equal to one that is not NUL.
    !path.is_null() && with.iter().enumerate().all(|(n, byte)| unsafe { path.add(n).read() } == *byte)
}

/// Puts the namespace's file in the place of the machine's, if that was opened.
///
/// # Errors
/// The broker's; the descriptor is closed then.
///
/// # Safety
/// `path` is null or a string.
#[cold]
pub unsafe fn opened(fd: i32, dir: i32, path: *const u8) -> Result<i32, Errno> {
    let in_proc =
        |stat: Stat| stat.mode() & 0o170_000 == S_IFREG && stat.size() == 0 && stat.block() == BLOCK;
    if !file::stat(fd).is_ok_and(in_proc) || environment::socket().is_none() {
        return Ok(fd);
    }
    // SAFETY: the caller's promise.
    let Some(which) = (unsafe { of_descriptor(fd, Some((dir, path))) }) else { return Ok(fd) };
    let (flags, close_on_exec) = (file::flags(fd)?, file::is_close_on_exec(fd)?);
    // Nothing can be read or written by one, and of a table that is opened only to be written the kernel's own refuses every write.
    let refuses = flags & O_ACCMODE == O_WRONLY && !which.is_limit();
    if flags & O_PATH != 0 || flags & O_ACCMODE == O_ACCMODE || refuses {
        return Ok(fd);
    }
    let done = match open(which, flags) {
        Ok(ours) => file::put_in_place(&ours, fd, close_on_exec).map(|()| fd),
        // Perhaps no descriptor was free for it.
        Err(Errno::ENOMEM) => {
            fd::close(fd);
            return open(which, flags).map(|ours| give(ours, close_on_exec));
        }
        Err(errno) => Err(errno),
    };
    if done.is_err() {
        fd::close(fd);
    }
    done
}

/// What an open by its number answers, after the kernel has answered `raw`.
///
/// # Safety
/// `path` is what the kernel was given.
pub unsafe fn opened_by_number(raw: isize, dir: i32, path: *const u8, flags: i32) -> isize {
    let done = match Errno::decode(raw) {
        // SAFETY: the kernel has read the path.
        Ok(fd) if unsafe { is_looked_at(path, flags) } => {
            // SAFETY: the kernel has read the path.
            unsafe { opened(fd as i32, dir, path) }
        }
        Ok(fd) => Ok(fd as i32),
        // SAFETY: the caller's promise.
        Err(errno) => unsafe { not_opened(errno, dir, path, flags) },
    };
    done.map_or_else(Errno::encode, |fd| fd as isize)
}

/// Opens the namespace's file where the kernel would not open the machine's: it lacks the file, or refuses an owner of the namespace what root
/// may do there.
///
/// # Errors
/// The kernel's, or the broker's.
///
/// # Safety
/// `path` is what the kernel was given.
#[cold]
pub unsafe fn not_opened(errno: Errno, dir: i32, path: *const u8, flags: i32) -> Result<i32, Errno> {
    // SAFETY: the caller's promise.
    let which = unsafe { refused(errno, dir, path) }.ok_or(errno)?;
    open(which, flags).map(|ours| give(ours, flags & O_CLOEXEC != 0))
}

/// Which file of ours the kernel refused with this error.
///
/// # Safety
/// `path` is what the kernel was given: with the errors that are looked at, it has read it.
unsafe fn refused(errno: Errno, dir: i32, path: *const u8) -> Option<ProcFile> {
    let is_there = matches!(errno, Errno::EACCES | Errno::EPERM | Errno::EROFS);
    // SAFETY: the kernel has read the path, or the caller's promise.
    if !(is_there || errno == Errno::ENOENT) || !unsafe { has_name(path) } {
        return None;
    }
    environment::socket()?;
    if !is_there {
        // SAFETY: the kernel has read the path.
        return unsafe { of_missing(dir, path) };
    }
    let there = file::open_path(dir, path as usize).ok()?;
    // SAFETY: the kernel has read the path.
    unsafe { of_descriptor(there.raw(), Some((dir, path))) }
}

fn give(ours: Fd, close_on_exec: bool) -> i32 {
    if !close_on_exec {
        file::keep_on_exec(ours.raw());
    }
    ours.into_raw()
}

/// Asks the broker for a file. # Errors: `EACCES`; `ENOENT` without a broker.
fn open(which: ProcFile, flags: i32) -> Result<Fd, Errno> {
    process::ready().map_err(|_| Errno::ENOENT)?;
    let mut buf: connection::Small = [0; 256];
    let request = Proc { file: which.into(), flags: flags.cast_unsigned() };
    let answer = connection::fetch(Op::Proc, request.as_bytes(), &[], &mut buf)?;
    answer.descriptor_if_any()?;
    answer.fd.ok_or(Errno::ENOENT)
}

/// access(2) where the kernel refuses: everybody reads; who may write, the broker says when asked for a descriptor.
///
/// # Errors
/// The kernel's, or the broker's.
///
/// # Safety
/// `path` is what the kernel was given.
#[cold]
pub unsafe fn not_accessible(errno: Errno, dir: i32, path: *const u8, mode: i32) -> Result<usize, Errno> {
    // SAFETY: the caller's promise.
    let which = unsafe { refused(errno, dir, path) }.ok_or(errno)?;
    if mode & X_OK != 0 || mode & W_OK != 0 && !which.is_limit() {
        return Err(Errno::EACCES);
    }
    if mode & W_OK != 0 {
        open(which, O_WRONLY)?;
    }
    Ok(0)
}

/// stat(2) where the kernel finds nothing: a file that a machine without System V IPC lacks.
///
/// # Safety
/// `path` is what the kernel was given.
#[cold]
pub unsafe fn missing(errno: Errno, dir: i32, path: *const u8) -> Option<ProcFile> {
    if errno != Errno::ENOENT {
        return None;
    }
    // SAFETY: the caller's promise.
    unsafe { refused(errno, dir, path) }
}

/// Whether a `struct stat` may be of a descriptor that was put in a file's place: a limit's file, or a memory file.
fn looks_replaced(stat: &Stat) -> bool {
    match stat.mode() {
        LIMIT => stat.size() == 0 && stat.block() == BLOCK,
        MEMORY => stat.links() == 0,
        _ => false,
    }
}

/// Which file a descriptor that fstat(2) has just described stands for, if it was put in one's place.
#[inline]
pub fn stands_for(fd: i32, stat: UserPtr<Stat>) -> Option<ProcFile> {
    let stat = stat.read().ok()?;
    if looks_replaced(&stat) { replaced(fd) } else { None }
}

/// As [`stands_for`], for statx's structure.
pub fn stands_for_x(fd: i32, statx: UserPtr<Statx>) -> Option<ProcFile> {
    let block = statx.field::<u32>(4).and_then(UserPtr::read).ok()?;
    let links = statx.field::<u32>(16).and_then(UserPtr::read).ok()?;
    let mode = statx.field::<u16>(28).and_then(UserPtr::read).ok()?;
    let looks = match u32::from(mode) {
        LIMIT => block == BLOCK,
        MEMORY => links == 0,
        _ => false,
    };
    if looks { replaced(fd) } else { None }
}

#[cold]
fn replaced(fd: i32) -> Option<ProcFile> {
    environment::socket()?;
    // SAFETY: no path is given.
    if let Some(which) = unsafe { of_descriptor(fd, None) } {
        return Some(which);
    }
    proc_path::of_memory_file(fd)
}

/// Writes what stat(2) says of a file.
///
/// # Errors
/// `EFAULT`.
pub fn describe(which: ProcFile, to: UserPtr<Stat>) -> Result<usize, Errno> {
    let made = || Stat(stat_of(mode_of(which), inode(which)));
    let stat = file::stat_at(HERE, which.path()).unwrap_or_else(|_| made());
    to.write(&stat).map(|()| 0)
}

/// The same in statx's words, which are the same on every machine, of a file that the machine lacks.
///
/// # Errors
/// `EFAULT`.
pub fn describe_x(which: ProcFile, to: UserPtr<Statx>) -> Result<usize, Errno> {
    // STATX_TYPE | MODE | NLINK | UID | GID | INO | SIZE | BLOCKS
    const MASK: u32 = 0x71f;
    to.write(&[0; 256])?;
    to.cast().write(&[MASK, 1024])?;
    to.field(16)?.write(&1u32)?;
    to.field(28)?.write(&(mode_of(which) as u16))?;
    to.field(32)?.write(&inode(which))?;
    Ok(0)
}

fn mode_of(which: ProcFile) -> u32 {
    S_IFREG | if which.is_limit() { 0o644 } else { 0o444 }
}

fn inode(which: ProcFile) -> u64 {
    0xF000_0000 + which as u64
}
