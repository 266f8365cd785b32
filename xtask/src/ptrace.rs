//! ptrace(2): requests to a stopped process, made by the one that traces it.

use std::ffi::c_void;
use std::io;

/// Asks to be traced by the parent and stops (in the child).
pub(crate) fn offer() {
    // SAFETY: PTRACE_TRACEME takes no pointer.
    unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
    // SAFETY: kill(2) and getpid(2) take no pointer; the raw call keeps the stop close to what follows.
    unsafe { libc::syscall(libc::SYS_kill, libc::syscall(libc::SYS_getpid), libc::SIGSTOP) };
}

/// Makes one request.
pub(crate) fn request(what: libc::c_uint, pid: libc::pid_t, at: u64, data: u64) -> io::Result<()> {
    // SAFETY: the requests made here take numbers, or addresses in the tracee, which the kernel checks.
    let done = unsafe { libc::ptrace(what, pid, at as *mut c_void, data as *mut c_void) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes one request that returns a word.
fn word(what: libc::c_uint, pid: libc::pid_t, at: u64) -> io::Result<u64> {
    // SAFETY: errno's location is this thread's own; the request takes an address in the tracee, which the kernel checks.
    let word = unsafe {
        *libc::__errno_location() = 0;
        libc::ptrace(what, pid, at as *mut c_void, std::ptr::null_mut::<c_void>())
    };
    let error = io::Error::last_os_error();
    if word == -1 && error.raw_os_error() != Some(0) { Err(error) } else { Ok(word as u64) }
}

/// Reads a word of the tracee's memory.
pub(crate) fn peek(pid: libc::pid_t, at: u64) -> io::Result<u64> {
    word(libc::PTRACE_PEEKTEXT, pid, at)
}

/// Writes a word of the tracee's memory.
pub(crate) fn poke(pid: libc::pid_t, at: u64, word: u64) -> io::Result<()> {
    request(libc::PTRACE_POKETEXT, pid, at, word)
}

/// Reads a word of the user area.
pub(crate) fn user(pid: libc::pid_t, offset: usize) -> io::Result<u64> {
    word(libc::PTRACE_PEEKUSER, pid, offset as u64)
}

/// Writes a word of the user area.
pub(crate) fn set_user(pid: libc::pid_t, offset: usize, word: u64) -> io::Result<()> {
    request(libc::PTRACE_POKEUSER, pid, offset as u64, word)
}
