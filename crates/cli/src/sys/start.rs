//! Other programs, and this one again. execve(2), clone(2).

use super::signals::{Before, restore_sigpipe};
use std::ffi::{CString, OsString, c_char, c_int, c_void};
use std::io;
use std::mem::zeroed;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, Ordering};

/// This same program, to be executed again; also when its file has been replaced meanwhile.
pub(crate) fn myself() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("ring3");
    command
}

/// Executes this same program again with this environment, past the agent's `execve`, which would put itself back.
/// It returns only if that failed.
pub(crate) fn again_with(environment: &[(OsString, OsString)]) -> io::Error {
    let words = || -> io::Result<[Vec<CString>; 2]> {
        let arguments =
            std::env::args_os().map(|word| c_string(&[word.as_bytes()])).collect::<io::Result<_>>()?;
        Ok([
            arguments,
            environment.iter().map(|(name, value)| pair((name, value))).collect::<io::Result<_>>()?,
        ])
    };
    let lists = match words() {
        Ok(lists) => lists,
        Err(why) => return why,
    };
    let [arguments, environment] = lists.each_ref().map(|list| pointers(list));
    restore_sigpipe();
    // SAFETY: a path and two lists of strings, each ended by a null pointer, all alive through the call.
    unsafe {
        libc::syscall(libc::SYS_execve, c"/proc/self/exe".as_ptr(), arguments.as_ptr(), environment.as_ptr());
    }
    io::Error::last_os_error()
}

/// One string for the kernel.
pub(crate) fn c_string(parts: &[&[u8]]) -> io::Result<CString> {
    CString::new(parts.concat()).map_err(io::Error::from)
}

/// One string of an environment.
pub(crate) fn pair((name, value): (&OsString, &OsString)) -> io::Result<CString> {
    c_string(&[name.as_bytes(), b"=", value.as_bytes()])
}

/// A list of strings as the kernel takes it.
fn pointers(list: &[CString]) -> Vec<*const c_char> {
    list.iter().map(|word| word.as_ptr()).chain([null()]).collect()
}

/// What the stack of [`launch`]'s child holds beside the copy of the words that execvpe makes for a script.
const STACK: usize = 64 * 1024;

/// What that child reads, and where it says why it failed.
struct Launch {
    words: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    before: Before,
    failed: AtomicI32,
}

/// Starts the program that `words` name with these words and this environment, and returns its number.
pub(crate) fn launch(words: &[CString], environment: &[CString], before: Before) -> io::Result<i32> {
    let launch = Launch {
        words: pointers(words),
        environment: pointers(environment),
        before,
        failed: AtomicI32::new(0),
    };
    let mut stack: Vec<u128> = Vec::with_capacity((STACK + size_of_val(&*launch.words)) / size_of::<u128>());
    let top = stack.spare_capacity_mut().as_mut_ptr_range().end;
    // SAFETY: the child runs on a stack of its own, aligned to 16 bytes; with CLONE_VFORK this thread, the only one (S1), waits until the child
    // has left its memory, so `launch`, strings and stack outlive its use of them. All signals are blocked meanwhile: no handler runs
    // in the child on memory that it shares.
    let child = unsafe {
        let (mut all, mut mask): (libc::sigset_t, libc::sigset_t) = (zeroed(), zeroed());
        libc::sigfillset(&mut all);
        libc::sigprocmask(libc::SIG_BLOCK, &all, &mut mask);
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let child = libc::clone(become_command, top.cast(), flags, (&raw const launch).cast_mut().cast());
        let refused = io::Error::last_os_error();
        libc::sigprocmask(libc::SIG_SETMASK, &mask, null_mut());
        if child < 0 {
            return Err(refused);
        }
        child
    };
    match launch.failed.load(Ordering::Relaxed) {
        0 => Ok(child),
        why => {
            // SAFETY: waitpid may be told not to write a status.
            unsafe { libc::waitpid(child, null_mut(), 0) };
            Err(io::Error::from_raw_os_error(why))
        }
    }
}

extern "C" fn become_command(launch: *mut c_void) -> c_int {
    // SAFETY: `launch` passes a `Launch` that outlives this. What is called is async-signal-safe, and execvpe takes no memory but the stack's;
    // its lists end with null pointers. The dispositions are the child's own: they are not shared without CLONE_SIGHAND.
    unsafe {
        let launch = &*launch.cast::<Launch>();
        launch.before.restore();
        if let Some(program) = launch.words.first() {
            libc::execvpe(*program, launch.words.as_ptr(), launch.environment.as_ptr());
        }
        // ORDERING: the parent runs again only when this process has left.
        let why = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL);
        launch.failed.store(why, Ordering::Relaxed);
        libc::_exit(127)
    }
}
