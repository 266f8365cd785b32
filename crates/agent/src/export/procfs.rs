//! Opening, and asking about, the /proc files that the namespace has of its own. Every other path goes to libc untouched.

use crate::libc::{self, answer, fail};
use crate::next;
use ring3_abi::Errno;
use ring3_calls::syscall::files::{self, Access, ProcFile};
use ring3_os::arch;

const O_ACCMODE: i32 = 3;
const O_CLOEXEC: i32 = 0o2000000;
const W_OK: i32 = 2;
const X_OK: i32 = 1;

fn ours(path: *const u8) -> Option<ProcFile> {
    // SAFETY: libc reads the same string.
    unsafe { files::which(path) }
}

fn open_ours(file: ProcFile, flags: i32) -> i32 {
    let access = match flags & O_ACCMODE {
        0 => Access::Read,
        1 => Access::Write,
        _ => Access::Both,
    };
    match files::open(file, access) {
        Ok(fd) => keep_on_exec(fd.into_raw(), flags),
        Err(errno) => fail(errno) as i32,
    }
}

/// Our descriptors are made close-on-exec; the program says whether it wants that.
fn keep_on_exec(fd: i32, flags: i32) -> i32 {
    const F_SETFD: i32 = 2;
    if flags & O_CLOEXEC == 0 {
        let _ = next!(fcntl(fd => i32, F_SETFD => i32, 0 => i32) -> i32);
    }
    fd
}

macro_rules! opens {
    ($($name:ident)*) => {$(
        /// open(2).
        pub extern "C-unwind" fn $name(path: *const u8, flags: i32, mode: u32) -> i32 {
            match ours(path) {
                Some(file) => open_ours(file, flags),
                None => next!($name(path => *const u8, flags => i32, mode => u32) -> i32),
            }
        }
    )*};
}
opens!(open open64 __open __open64);

macro_rules! creates {
    ($($name:ident)*) => {$(
        /// creat(2).
        pub extern "C-unwind" fn $name(path: *const u8, mode: u32) -> i32 {
            const O_WRONLY: i32 = 1;
            match ours(path) {
                Some(file) => open_ours(file, O_WRONLY),
                None => next!($name(path => *const u8, mode => u32) -> i32),
            }
        }
    )*};
}
creates!(creat creat64);

macro_rules! opens_fortified {
    ($($name:ident)*) => {$(
        /// open(2), from fortified programs.
        pub extern "C-unwind" fn $name(path: *const u8, flags: i32) -> i32 {
            match ours(path) {
                Some(file) => open_ours(file, flags),
                None => next!($name(path => *const u8, flags => i32) -> i32),
            }
        }
    )*};
}
opens_fortified!(__open_2 __open64_2);

macro_rules! opens_at {
    ($($name:ident)*) => {$(
        /// openat(2).
        pub extern "C-unwind" fn $name(dir: i32, path: *const u8, flags: i32, mode: u32) -> i32 {
            match ours(path) {
                Some(file) => open_ours(file, flags),
                None => next!($name(dir => i32, path => *const u8, flags => i32, mode => u32) -> i32),
            }
        }
    )*};
}
opens_at!(openat openat64);

macro_rules! opens_at_fortified {
    ($($name:ident)*) => {$(
        /// openat(2), from fortified programs.
        pub extern "C-unwind" fn $name(dir: i32, path: *const u8, flags: i32) -> i32 {
            match ours(path) {
                Some(file) => open_ours(file, flags),
                None => next!($name(dir => i32, path => *const u8, flags => i32) -> i32),
            }
        }
    )*};
}
opens_at_fortified!(__openat_2 __openat64_2);

macro_rules! fopens {
    ($($name:ident)*) => {$(
        /// fopen(3).
        pub extern "C-unwind" fn $name(path: *const u8, mode: *const u8) -> usize {
            match ours(path) {
                Some(file) => fopen_ours(file, mode),
                None => next!($name(path => *const u8, mode => *const u8) -> usize),
            }
        }
    )*};
}
fopens!(fopen fopen64);

/// open's flags for fopen's mode.
fn access_of(mode: *const u8) -> i32 {
    // SAFETY: fopen's mode is a string.
    let text = unsafe { core::ffi::CStr::from_ptr(mode.cast()) }.to_bytes();
    let access = match text.first() {
        _ if text.contains(&b'+') => 2,
        Some(b'r') => 0,
        _ => 1,
    };
    access | if text.contains(&b'e') { O_CLOEXEC } else { 0 }
}

fn fopen_ours(file: ProcFile, mode: *const u8) -> usize {
    let fd = open_ours(file, access_of(mode));
    if fd < 0 || libc::LIBC.fdopen() == 0 {
        return 0;
    }
    // SAFETY: `FILE *fdopen(int, const char *)` of the program's libc.
    let fdopen: extern "C" fn(i32, *const u8) -> usize = unsafe { core::mem::transmute(libc::LIBC.fdopen()) };
    fdopen(fd, mode)
}

/// access(2) of a file of ours: everybody reads; who may write, the broker says when asked for a descriptor.
fn may(file: ProcFile, mode: i32) -> i32 {
    if mode & X_OK != 0 {
        return fail(Errno::EACCES) as i32;
    }
    if mode & W_OK != 0
        && let Err(errno) = files::open(file, Access::Write)
    {
        return fail(errno) as i32;
    }
    0
}

/// freopen(3) of a file of ours: by the path that every descriptor has.
fn freopen_ours(file: ProcFile, mode: *const u8, reopen: impl FnOnce(*const u8) -> usize) -> usize {
    let fd = open_ours(file, access_of(mode) | O_CLOEXEC);
    if fd < 0 {
        return 0;
    }
    // The number's digits, from behind; the slashes that stay in front are one to the kernel.
    let mut path = *b"/proc/self/fd//////////0\0";
    let mut rest = fd;
    for byte in path.iter_mut().rev().skip(1).take(10) {
        if rest > 0 {
            *byte = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
    let stream = reopen(path.as_ptr());
    let _ = next!(close(fd => i32) -> i32);
    stream
}

macro_rules! freopens {
    ($($name:ident)*) => {$(
        /// freopen(3).
        pub extern "C-unwind" fn $name(path: *const u8, mode: *const u8, stream: usize) -> usize {
            let reopen = |path| next!($name(path => *const u8, mode => *const u8, stream => usize) -> usize);
            match ours(path) {
                Some(file) => freopen_ours(file, mode, reopen),
                None => reopen(path),
            }
        }
    )*};
}
freopens!(freopen freopen64);

macro_rules! accesses {
    ($($name:ident)*) => {$(
        /// access(2).
        pub extern "C" fn $name(path: *const u8, mode: i32) -> i32 {
            match ours(path) {
                Some(file) => may(file, mode),
                None => next!($name(path => *const u8, mode => i32) -> i32),
            }
        }
    )*};
}
accesses!(access eaccess euidaccess);

/// faccessat(2).
pub extern "C" fn faccessat(dir: i32, path: *const u8, mode: i32, flags: i32) -> i32 {
    match ours(path) {
        Some(file) => may(file, mode),
        None => next!(faccessat(dir => i32, path => *const u8, mode => i32, flags => i32) -> i32),
    }
}

/// What stat says of a file of ours on a kernel that has no System V IPC, and so no such file.
fn stat_ours(file: ProcFile, to: usize) -> i32 {
    let written = ring3_os::user::write(to, &arch::stat_of(mode_of(file), inode(file)));
    answer(written.map(|()| 0)) as i32
}

macro_rules! stats {
    ($($name:ident)*) => {$(
        /// stat(2).
        pub extern "C" fn $name(path: *const u8, to: usize) -> i32 {
            match (next!($name(path => *const u8, to => usize) -> i32), ours(path)) {
                (-1, Some(file)) => stat_ours(file, to),
                (done, _) => done,
            }
        }
    )*};
}
stats!(stat stat64 lstat lstat64);

macro_rules! stats_versioned {
    ($($name:ident)*) => {$(
        /// stat(2), as programs built with an older libc call it.
        pub extern "C" fn $name(version: i32, path: *const u8, to: usize) -> i32 {
            match (next!($name(version => i32, path => *const u8, to => usize) -> i32), ours(path)) {
                (-1, Some(file)) => stat_ours(file, to),
                (done, _) => done,
            }
        }
    )*};
}
stats_versioned!(__xstat __xstat64 __lxstat __lxstat64);

macro_rules! stats_at {
    ($($name:ident)*) => {$(
        /// fstatat(2).
        pub extern "C" fn $name(dir: i32, path: *const u8, to: usize, flags: i32) -> i32 {
            match (next!($name(dir => i32, path => *const u8, to => usize, flags => i32) -> i32), ours(path)) {
                (-1, Some(file)) => stat_ours(file, to),
                (done, _) => done,
            }
        }
    )*};
}
stats_at!(fstatat fstatat64);

macro_rules! stats_at_versioned {
    ($($name:ident)*) => {$(
        /// fstatat(2), as programs built with an older libc call it.
        pub extern "C" fn $name(version: i32, dir: i32, path: *const u8, to: usize, flags: i32) -> i32 {
            let done = next!($name(version => i32, dir => i32, path => *const u8, to => usize, flags => i32) -> i32);
            match (done, ours(path)) {
                (-1, Some(file)) => stat_ours(file, to),
                _ => done,
            }
        }
    )*};
}
stats_at_versioned!(__fxstatat __fxstatat64);

/// statx(2).
pub extern "C" fn statx(dir: i32, path: *const u8, flags: i32, mask: u32, to: usize) -> i32 {
    let done = next!(statx(dir => i32, path => *const u8, flags => i32, mask => u32, to => usize) -> i32);
    match (done, ours(path)) {
        (-1, Some(file)) => statx_ours(file, to),
        _ => done,
    }
}

/// As `stat_ours`, in statx's words, which are the same on every machine.
fn statx_ours(file: ProcFile, to: usize) -> i32 {
    // STATX_TYPE | MODE | NLINK | UID | GID | INO | SIZE | BLOCKS
    const MASK: u32 = 0x71f;
    let written = ring3_os::user::write_bytes(to, &[0; 256])
        .and_then(|()| ring3_os::user::write(to, &[MASK, 1024]))
        .and_then(|()| ring3_os::user::write(to + 16, &1u32))
        .and_then(|()| ring3_os::user::write(to + 28, &(mode_of(file) as u16)))
        .and_then(|()| ring3_os::user::write(to + 32, &inode(file)));
    answer(written.map(|()| 0)) as i32
}

fn mode_of(file: ProcFile) -> u32 {
    const S_IFREG: u32 = 0o100000;
    S_IFREG | if files::writable(file) { 0o644 } else { 0o444 }
}

fn inode(file: ProcFile) -> u64 {
    0xF000_0000 + file as u64
}
