//! This process: what `ps` shows of it, its forks, its descriptors. fork(2), close_range(2).

use super::{check, signals};
use rustix::process::Pid;
use std::ffi::{CStr, c_char, c_int};
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

/// The words of the command line as the kernel laid them out.
static FIRST_ARGUMENT: AtomicPtr<*mut c_char> = AtomicPtr::new(null_mut());
static ARGUMENTS: AtomicI32 = AtomicI32::new(0);

extern "C" fn remember(count: c_int, arguments: *mut *mut c_char) {
    signals::remember();
    // Other libcs pass nothing.
    if cfg!(target_env = "gnu") {
        FIRST_ARGUMENT.store(arguments, Ordering::Relaxed);
        ARGUMENTS.store(count, Ordering::Relaxed);
    }
}

#[used]
// SAFETY: the section holds pointers to functions that are called once before main, by glibc with main's arguments, by others without any.
#[unsafe(link_section = ".init_array")]
static REMEMBER: extern "C" fn(c_int, *mut *mut c_char) = remember;

/// Gives this process the name that `ps` shows; after [`super::myself`] it would be "exe".
pub(crate) fn set_name(name: &CStr) {
    // A wrong name is no reason to fail.
    let _ = rustix::thread::set_name(name);
}

/// Gives this process the command line that `ps` shows. Nobody may look at its arguments afterwards.
pub(crate) fn set_command_line(words: &[u8]) {
    let (Ok(count), first) =
        (usize::try_from(ARGUMENTS.load(Ordering::Relaxed)), FIRST_ARGUMENT.load(Ordering::Relaxed))
    else {
        return;
    };
    if count == 0 || first.is_null() {
        return;
    }
    // SAFETY: the pointers are those that the program was started with. The kernel lays the strings out one after another (execve(2)), in
    // writable memory that belongs to nobody else; the last byte stays zero.
    unsafe {
        let (start, last) = ((*first).cast::<u8>(), *first.add(count - 1));
        let len = (last as usize + libc::strlen(last)).saturating_sub(start as usize);
        start.write_bytes(0, len);
        start.copy_from_nonoverlapping(words.as_ptr(), words.len().min(len));
    }
}

/// Forks: the child's number, or nothing in the child.
pub(crate) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: with one thread (S1) no lock is held by anybody that the child lacks: it may do whatever its parent may.
    let child = unsafe { libc::fork() };
    check(child.into())?;
    Ok(Pid::from_raw(child))
}

/// The same, but the child has this process's table of descriptors, not a copy.
pub(crate) fn fork_beside() -> io::Result<Option<Pid>> {
    let flags = libc::CLONE_FILES | libc::SIGCHLD;
    // SAFETY: as in fork(): without CLONE_VM the child has memory of its own. What libc does at a fork is for programs with threads, and for the
    // number of the thread, which nothing here asks libc for.
    let child = unsafe { libc::syscall(libc::SYS_clone, libc::c_long::from(flags), 0, 0, 0, 0) };
    check(child)?;
    Ok(i32::try_from(child).ok().and_then(Pid::from_raw))
}

/// A descriptor that nobody closes as long as this process lives.
pub(crate) fn borrowed(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the callers have descriptors that are never closed (`broker::Seat`), or that their owner keeps meanwhile.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// The same as its owner's, whose last use it is.
pub(crate) fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: as above; who does not mean to close it does not drop it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Ends a process that was forked here: what its parent has registered for its own end is not done twice.
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: _exit has no memory arguments and does not return.
    unsafe { libc::_exit(status) }
}

/// Closes every descriptor above standard error but these.
pub(crate) fn close_all_but(kept: &[RawFd]) {
    let mut kept: Vec<u32> = kept.iter().filter_map(|fd| u32::try_from(*fd).ok()).collect();
    kept.sort_unstable();
    let mut from = 3;
    for fd in kept {
        close_between(from, fd);
        from = fd + 1;
    }
    close_between(from, u32::MAX);
}

/// Closes descriptors from `first` on, up to the one before `end`.
fn close_between(first: u32, end: u32) {
    if first < end {
        // SAFETY: called in a process that was just forked, for descriptors whose owners are its parent's: their values are in frames
        // that this process never returns to.
        unsafe {
            libc::syscall(libc::SYS_close_range, first, end - 1, 0);
        }
    }
}

/// Moves this process to a System V namespace of its own in the kernel. unshare(2).
pub(crate) fn own_kernel_ipc() -> io::Result<()> {
    // SAFETY: unshare has no memory arguments, and no object is in use yet.
    check(unsafe { libc::unshare(libc::CLONE_NEWIPC) }.into())
}
