//! Opening, and asking about, the /proc files that the namespace has of its own. Every other path goes to libc untouched.

use crate::libc::{self, answer, fail};
use crate::next;
use ring3_abi::Errno;
use ring3_calls::procfs::{self, Access};
use ring3_wire::request::ProcFile;

const O_ACCMODE: i32 = 3;
const R_OK: i32 = 4;
const W_OK: i32 = 2;
const X_OK: i32 = 1;

fn ours(path: *const u8) -> Option<ProcFile> {
    // SAFETY: libc reads the same string.
    unsafe { procfs::which(path) }
}

fn open_ours(file: ProcFile, flags: i32) -> i32 {
    let access = match flags & O_ACCMODE {
        0 => Access::Read,
        1 => Access::Write,
        _ => Access::Both,
    };
    match procfs::open(file, access) {
        Ok(fd) => keep_on_exec(fd.into_raw(), flags),
        Err(errno) => fail(errno) as i32,
    }
}

/// Our descriptors are made close-on-exec; the program says whether it wants that.
fn keep_on_exec(fd: i32, flags: i32) -> i32 {
    const O_CLOEXEC: i32 = 0o2000000;
    const F_SETFD: i32 = 2;
    if flags & O_CLOEXEC == 0 {
        let _ = next!(fcntl(fd => i32, F_SETFD => i32, 0 => i32) -> i32);
    }
    fd
}

macro_rules! opens {
    ($($name:ident)*) => {$(
        /// open(2).
        #[unsafe(no_mangle)]
        pub extern "C-unwind" fn $name(path: *const u8, flags: i32, mode: u32) -> i32 {
            match ours(path) {
                Some(file) => open_ours(file, flags),
                None => next!($name(path => *const u8, flags => i32, mode => u32) -> i32),
            }
        }
    )*};
}
opens!(open open64);

macro_rules! opens_fortified {
    ($($name:ident)*) => {$(
        /// open(2), from fortified programs.
        #[unsafe(no_mangle)]
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
        #[unsafe(no_mangle)]
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
        #[unsafe(no_mangle)]
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
        #[unsafe(no_mangle)]
        pub extern "C-unwind" fn $name(path: *const u8, mode: *const u8) -> usize {
            match ours(path) {
                Some(file) => fopen_ours(file, mode),
                None => next!($name(path => *const u8, mode => *const u8) -> usize),
            }
        }
    )*};
}
fopens!(fopen fopen64);

fn fopen_ours(file: ProcFile, mode: *const u8) -> usize {
    const O_CLOEXEC: i32 = 0o2000000;
    // SAFETY: fopen's mode is a string.
    let text = unsafe { core::ffi::CStr::from_ptr(mode.cast()) }.to_bytes();
    let both = text.contains(&b'+');
    let access = match text.first() {
        _ if both => 2,
        Some(b'r') => 0,
        _ => 1,
    };
    let flags = access | if text.contains(&b'e') { O_CLOEXEC } else { 0 };
    let fd = open_ours(file, flags);
    if fd < 0 || libc::fdopen() == 0 {
        return 0;
    }
    // SAFETY: `FILE *fdopen(int, const char *)` of the program's libc.
    let fdopen: extern "C" fn(i32, *const u8) -> usize = unsafe { core::mem::transmute(libc::fdopen()) };
    fdopen(fd, mode)
}

/// access(2) of a file of ours: as of a file of root's with mode 0444 or 0644.
fn may(file: ProcFile, mode: i32) -> i32 {
    let root = ring3_os::cred::euid() == 0;
    let refused = mode & X_OK != 0 || (mode & W_OK != 0 && (!procfs::writable(file) || !root));
    let _ = R_OK;
    if refused && !(root && mode & X_OK == 0) { fail(Errno::EACCES) as i32 } else { 0 }
}

macro_rules! accesses {
    ($($name:ident)*) => {$(
        /// access(2).
        #[unsafe(no_mangle)]
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
#[unsafe(no_mangle)]
pub extern "C" fn faccessat(dir: i32, path: *const u8, mode: i32, flags: i32) -> i32 {
    match ours(path) {
        Some(file) => may(file, mode),
        None => next!(faccessat(dir => i32, path => *const u8, mode => i32, flags => i32) -> i32),
    }
}

/// What stat says of a file of ours. The kernel's own entry, where it has one, says the same.
fn stat_ours(file: ProcFile, to: usize) -> i32 {
    const S_IFREG: u32 = 0o100000;
    let mode: u32 = S_IFREG | if procfs::writable(file) { 0o644 } else { 0o444 };
    let written = ring3_os::user::write_bytes(to, &[0; 144])
        // struct stat of x86-64: st_dev, st_ino, st_nlink, st_mode; st_blksize.
        .and_then(|()| ring3_os::user::write(to, &[0x15u64, 0xF000_0000 + file as u64, 1]))
        .and_then(|()| ring3_os::user::write(to + 24, &mode))
        .and_then(|()| ring3_os::user::write(to + 56, &1024u64));
    answer(written.map(|()| 0)) as i32
}

macro_rules! stats {
    ($($name:ident)*) => {$(
        /// stat(2).
        #[unsafe(no_mangle)]
        pub extern "C" fn $name(path: *const u8, to: usize) -> i32 {
            match ours(path) {
                Some(file) => stat_ours(file, to),
                None => next!($name(path => *const u8, to => usize) -> i32),
            }
        }
    )*};
}
#[cfg(target_arch = "x86_64")]
stats!(stat stat64 lstat lstat64);

macro_rules! stats_versioned {
    ($($name:ident)*) => {$(
        /// stat(2), as programs built with an older libc call it.
        #[unsafe(no_mangle)]
        pub extern "C" fn $name(version: i32, path: *const u8, to: usize) -> i32 {
            match ours(path) {
                Some(file) => stat_ours(file, to),
                None => next!($name(version => i32, path => *const u8, to => usize) -> i32),
            }
        }
    )*};
}
#[cfg(target_arch = "x86_64")]
stats_versioned!(__xstat __xstat64 __lxstat __lxstat64);

macro_rules! stats_at {
    ($($name:ident)*) => {$(
        /// fstatat(2).
        #[unsafe(no_mangle)]
        pub extern "C" fn $name(dir: i32, path: *const u8, to: usize, flags: i32) -> i32 {
            match ours(path) {
                Some(file) => stat_ours(file, to),
                None => next!($name(dir => i32, path => *const u8, to => usize, flags => i32) -> i32),
            }
        }
    )*};
}
#[cfg(target_arch = "x86_64")]
stats_at!(fstatat fstatat64);
