//! Opening, and asking about, the /proc files that the namespace has of its own. Every call goes to libc first; what it opened or refused is
//! looked at then (`ring3_calls::syscall::files`).

use crate::libc::{self, answer, fail, last_error};
use crate::next;
use ring3_abi::Errno;
use ring3_calls::syscall::files::{self, O_WRONLY, ProcFile};
use ring3_os::file::HERE;
use ring3_os::user::UserPtr;

const AT_EMPTY_PATH: i32 = 0x1000;

/// What an open answers, after libc has answered `done`.
#[inline]
fn after(done: i32, dir: i32, path: *const u8, flags: i32) -> i32 {
    if done < 0 {
        // SAFETY: the path that libc was given.
        return replacement(unsafe { files::not_opened(last_error(), dir, path, flags) });
    }
    // SAFETY: libc has read the path.
    if unsafe { files::is_looked_at(path, flags) } {
        // SAFETY: libc has read the path.
        return replacement(unsafe { files::opened(done, dir, path) });
    }
    done
}

#[cold]
fn replacement(result: Result<i32, Errno>) -> i32 {
    result.unwrap_or_else(|errno| fail(errno) as i32)
}

macro_rules! opens {
    ($($name:ident)*) => {$(
        /// open(2).
        pub extern "C-unwind" fn $name(path: *const u8, flags: i32, mode: u32) -> i32 {
            let done = next!($name(path => *const u8, flags => i32, mode => u32) -> i32);
            after(done, HERE, path, flags)
        }
    )*};
}
opens!(open open64 __open __open64);

macro_rules! creates {
    ($($name:ident)*) => {$(
        /// creat(2).
        pub extern "C-unwind" fn $name(path: *const u8, mode: u32) -> i32 {
            let done = next!($name(path => *const u8, mode => u32) -> i32);
            after(done, HERE, path, O_WRONLY)
        }
    )*};
}
creates!(creat creat64);

macro_rules! opens_fortified {
    ($($name:ident)*) => {$(
        /// open(2), from fortified programs.
        pub extern "C-unwind" fn $name(path: *const u8, flags: i32) -> i32 {
            let done = next!($name(path => *const u8, flags => i32) -> i32);
            after(done, HERE, path, flags)
        }
    )*};
}
opens_fortified!(__open_2 __open64_2);

macro_rules! opens_at {
    ($($name:ident)*) => {$(
        /// openat(2).
        pub extern "C-unwind" fn $name(dir: i32, path: *const u8, flags: i32, mode: u32) -> i32 {
            let done = next!($name(dir => i32, path => *const u8, flags => i32, mode => u32) -> i32);
            after(done, dir, path, flags)
        }
    )*};
}
opens_at!(openat openat64);

macro_rules! opens_at_fortified {
    ($($name:ident)*) => {$(
        /// openat(2), from fortified programs.
        pub extern "C-unwind" fn $name(dir: i32, path: *const u8, flags: i32) -> i32 {
            let done = next!($name(dir => i32, path => *const u8, flags => i32) -> i32);
            after(done, dir, path, flags)
        }
    )*};
}
opens_at_fortified!(__openat_2 __openat64_2);

/// open's flags for fopen's mode, which libc has read.
fn flags_of(mode: *const u8) -> i32 {
    const O_RDWR: i32 = 2;
    const O_CLOEXEC: i32 = 0o2_000_000;
    // SAFETY: fopen's mode is a string.
    let text = unsafe { core::ffi::CStr::from_ptr(mode.cast()) }.to_bytes();
    let access = match text.first() {
        _ if text.contains(&b'+') => O_RDWR,
        Some(b'r') => 0,
        _ => O_WRONLY,
    };
    access | if text.contains(&b'e') { O_CLOEXEC } else { 0 }
}

/// Puts our file under a stream that was just opened: nothing has been read or written through it.
fn after_stream(stream: usize, path: *const u8, mode: *const u8) -> usize {
    let flags = flags_of(mode);
    // SAFETY: libc has read the path.
    if !unsafe { files::is_looked_at(path, flags) } {
        return stream;
    }
    let fd = match libc::LIBC.fileno() {
        0 => return stream,
        // SAFETY: `int fileno(FILE *)` of the program's libc.
        at => unsafe { core::mem::transmute::<usize, extern "C" fn(usize) -> i32>(at)(stream) },
    };
    // SAFETY: libc has read the path.
    match unsafe { files::opened(fd, HERE, path) } {
        Ok(_) => stream,
        Err(errno) => {
            let _ = next!(fclose(stream => usize) -> i32);
            fail(errno);
            0
        }
    }
}

/// A stream of a file that libc was refused.
#[cold]
fn stream_of_refused(path: *const u8, mode: *const u8) -> usize {
    let errno = last_error();
    // A mode that is none, too, is EINVAL.
    if errno == Errno::EINVAL || libc::LIBC.fdopen() == 0 {
        return 0;
    }
    // SAFETY: the path that libc was given.
    let fd = replacement(unsafe { files::not_opened(errno, HERE, path, flags_of(mode)) });
    if fd < 0 {
        return 0;
    }
    // SAFETY: `FILE *fdopen(int, const char *)` of the program's libc.
    let fdopen: extern "C" fn(i32, *const u8) -> usize = unsafe { core::mem::transmute(libc::LIBC.fdopen()) };
    fdopen(fd, mode)
}

macro_rules! fopens {
    ($($name:ident)*) => {$(
        /// fopen(3).
        pub extern "C-unwind" fn $name(path: *const u8, mode: *const u8) -> usize {
            match next!($name(path => *const u8, mode => *const u8) -> usize) {
                0 => stream_of_refused(path, mode),
                stream => after_stream(stream, path, mode),
            }
        }
    )*};
}
fopens!(fopen fopen64);

macro_rules! freopens {
    ($($name:ident)*) => {$(
        /// freopen(3).
        pub extern "C-unwind" fn $name(path: *const u8, mode: *const u8, stream: usize) -> usize {
            match next!($name(path => *const u8, mode => *const u8, stream => usize) -> usize) {
                0 => 0,
                // Another mode for the same file.
                opened if path.is_null() => opened,
                opened => after_stream(opened, path, mode),
            }
        }
    )*};
}
freopens!(freopen freopen64);

/// What access answers, after libc has answered `done`.
#[inline]
fn accessible(done: i32, dir: i32, path: *const u8, mode: i32) -> i32 {
    if done >= 0 {
        return done;
    }
    // SAFETY: the path that libc was given.
    answer(unsafe { files::not_accessible(last_error(), dir, path, mode) }) as i32
}

macro_rules! accesses {
    ($($name:ident)*) => {$(
        /// access(2).
        pub extern "C" fn $name(path: *const u8, mode: i32) -> i32 {
            let done = next!($name(path => *const u8, mode => i32) -> i32);
            accessible(done, HERE, path, mode)
        }
    )*};
}
accesses!(access eaccess euidaccess);

/// faccessat(2).
pub extern "C" fn faccessat(dir: i32, path: *const u8, mode: i32, flags: i32) -> i32 {
    let done = next!(faccessat(dir => i32, path => *const u8, mode => i32, flags => i32) -> i32);
    accessible(done, dir, path, mode)
}

/// What stat answers of a path, after libc has answered `done`.
#[inline]
fn described(done: i32, dir: i32, path: *const u8, to: usize) -> i32 {
    if done >= 0 {
        return done;
    }
    let errno = last_error();
    // SAFETY: the path that libc was given.
    match unsafe { files::missing(errno, dir, path) } {
        Some(file) => answer(files::describe(file, UserPtr::claim(to))) as i32,
        None => fail(errno) as i32,
    }
}

/// What fstat answers of a descriptor, after libc has answered `done`.
#[inline]
fn described_descriptor(done: i32, fd: i32, to: usize) -> i32 {
    if done < 0 {
        return done;
    }
    match files::stands_for(fd, UserPtr::claim(to)) {
        Some(file) => answer(files::describe(file, UserPtr::claim(to))) as i32,
        None => done,
    }
}

macro_rules! stats {
    ($($name:ident)*) => {$(
        /// stat(2).
        pub extern "C" fn $name(path: *const u8, to: usize) -> i32 {
            described(next!($name(path => *const u8, to => usize) -> i32), HERE, path, to)
        }
    )*};
}
stats!(stat stat64 lstat lstat64);

macro_rules! stats_versioned {
    ($($name:ident)*) => {$(
        /// stat(2), as programs built with an older libc call it.
        pub extern "C" fn $name(version: i32, path: *const u8, to: usize) -> i32 {
            described(next!($name(version => i32, path => *const u8, to => usize) -> i32), HERE, path, to)
        }
    )*};
}
stats_versioned!(__xstat __xstat64 __lxstat __lxstat64);

macro_rules! stats_of_descriptors {
    ($($name:ident)*) => {$(
        /// fstat(2).
        pub extern "C" fn $name(fd: i32, to: usize) -> i32 {
            described_descriptor(next!($name(fd => i32, to => usize) -> i32), fd, to)
        }
    )*};
}
stats_of_descriptors!(fstat fstat64);

macro_rules! stats_of_descriptors_versioned {
    ($($name:ident)*) => {$(
        /// fstat(2), as programs built with an older libc call it.
        pub extern "C" fn $name(version: i32, fd: i32, to: usize) -> i32 {
            described_descriptor(next!($name(version => i32, fd => i32, to => usize) -> i32), fd, to)
        }
    )*};
}
stats_of_descriptors_versioned!(__fxstat __fxstat64);

/// What fstatat answers of a path, or with AT_EMPTY_PATH of a descriptor.
#[inline]
fn described_at(done: i32, dir: i32, path: *const u8, to: usize, flags: i32) -> i32 {
    if flags & AT_EMPTY_PATH != 0 && done >= 0 && is_empty(path) {
        return described_descriptor(done, dir, to);
    }
    described(done, dir, path, to)
}

/// Whether a path that libc has read is none (since Linux 6.11 a null pointer is, too).
fn is_empty(path: *const u8) -> bool {
    // SAFETY: libc has read it.
    path.is_null() || unsafe { path.read() } == 0
}

macro_rules! stats_at {
    ($($name:ident)*) => {$(
        /// fstatat(2).
        pub extern "C" fn $name(dir: i32, path: *const u8, to: usize, flags: i32) -> i32 {
            let done = next!($name(dir => i32, path => *const u8, to => usize, flags => i32) -> i32);
            described_at(done, dir, path, to, flags)
        }
    )*};
}
stats_at!(fstatat fstatat64);

macro_rules! stats_at_versioned {
    ($($name:ident)*) => {$(
        /// fstatat(2), as programs built with an older libc call it.
        pub extern "C" fn $name(version: i32, dir: i32, path: *const u8, to: usize, flags: i32) -> i32 {
            let done = next!($name(version => i32, dir => i32, path => *const u8, to => usize, flags => i32) -> i32);
            described_at(done, dir, path, to, flags)
        }
    )*};
}
stats_at_versioned!(__fxstatat __fxstatat64);

/// statx(2).
pub extern "C" fn statx(dir: i32, path: *const u8, flags: i32, mask: u32, to: usize) -> i32 {
    let next = |dir, path, flags| next!(statx(dir => i32, path => *const u8, flags => i32, mask => u32, to => usize) -> i32);
    let done = next(dir, path, flags);
    if done < 0 {
        let errno = last_error();
        // SAFETY: the path that libc was given.
        return match unsafe { files::missing(errno, dir, path) } {
            Some(file) => answer(files::describe_x(file, UserPtr::claim(to))) as i32,
            None => fail(errno) as i32,
        };
    }
    if flags & AT_EMPTY_PATH == 0 || !is_empty(path) {
        return done;
    }
    match files::stands_for_x(dir, UserPtr::claim(to)) {
        Some(file) => next_or_made(next(HERE, file.path().as_ptr().cast(), flags & !AT_EMPTY_PATH), file, to),
        None => done,
    }
}

fn next_or_made(done: i32, file: ProcFile, to: usize) -> i32 {
    if done == 0 { done } else { answer(files::describe_x(file, UserPtr::claim(to))) as i32 }
}
