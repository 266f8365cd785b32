//! What the standard library and rustix do not do: signals as a wrapper needs them, and a few kernel questions.
//!
//! One of two files with unsafe code here (the other, `bench/sysv.rs`, calls libc's System V functions).
//! This process has one thread; that is what most arguments below rest on (S1).
//!
//! S1. No thread is started before or beside these calls (`broker.rs` may start one, after them).
//! S2. Between fork and exec only async-signal-safe functions run.

#![allow(unsafe_code)]

use rustix::process::Pid;
use std::ffi::{CStr, CString, OsString, c_char, c_int, c_void};
use std::io;
use std::mem::{MaybeUninit, offset_of, zeroed};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};
use std::time::Duration;

/// SIGPIPE's disposition when this program was started; Rust's runtime changes it before `main`.
static FIRST_SIGPIPE: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);

/// The words of the command line as the kernel laid them out.
static FIRST_ARGUMENT: AtomicPtr<*mut c_char> = AtomicPtr::new(null_mut());
static ARGUMENTS: AtomicI32 = AtomicI32::new(0);

extern "C" fn remember(count: c_int, arguments: *mut *mut c_char) {
    FIRST_SIGPIPE.store(disposition(libc::SIGPIPE), Ordering::Relaxed);
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

/// The handler word of a signal: `SIG_DFL`, `SIG_IGN` or a function.
fn disposition(signal: i32) -> usize {
    let mut old = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: `old` is writable and zeroes are a valid sigaction; nothing is changed.
    unsafe {
        libc::sigaction(signal, null(), old.as_mut_ptr());
        old.assume_init().sa_sigaction
    }
}

/// Sets a signal to `SIG_DFL` or `SIG_IGN`.
fn set_disposition(signal: i32, handler: usize) {
    // SAFETY: zeroes are a valid sigaction, and the handler is one of the two constants (or what was there).
    unsafe {
        let mut new: libc::sigaction = zeroed();
        new.sa_sigaction = handler;
        libc::sigaction(signal, &new, null_mut());
    }
}

/// A signal that came, and from whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// Its number.
    pub(crate) signal: i32,
    /// The sender's process, when a process sent it (kill, sigqueue, tgkill); else the kernel did.
    pub(crate) sender: Option<i32>,
}

/// What ended a wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// A signal came.
    Signal(Arrival),
    /// The other descriptor can be read.
    Readable,
    /// The time passed, or the wait was interrupted.
    Nothing,
}

/// The signals as they were before this process took them over; a program it starts gets them back.
pub(crate) struct Signals {
    mask: libc::sigset_t,
    sigchld: usize,
    arrivals: OwnedFd,
}

impl Signals {
    /// Takes all signals over, to be waited for. Those that stop, continue or report a fault stay as they are.
    pub(crate) fn take() -> io::Result<Signals> {
        let sigchld = disposition(libc::SIGCHLD);
        set_disposition(libc::SIGCHLD, libc::SIG_DFL);
        // SAFETY: the sets are plain values that sigfillset and sigprocmask fill in (S1); the descriptor is new.
        unsafe {
            let mut waited: libc::sigset_t = zeroed();
            libc::sigfillset(&mut waited);
            for signal in [
                libc::SIGTSTP,
                libc::SIGTTIN,
                libc::SIGTTOU,
                libc::SIGCONT,
                libc::SIGSEGV,
                libc::SIGBUS,
                libc::SIGILL,
                libc::SIGFPE,
                libc::SIGTRAP,
                libc::SIGABRT,
                libc::SIGSYS,
            ] {
                libc::sigdelset(&mut waited, signal);
            }
            let mut mask: libc::sigset_t = zeroed();
            libc::sigprocmask(libc::SIG_BLOCK, &waited, &mut mask);
            let arrivals = libc::signalfd(-1, &waited, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            check(arrivals.into())?;
            Ok(Signals { mask, sigchld, arrivals: OwnedFd::from_raw_fd(arrivals) })
        }
    }

    /// Waits for the next signal, for `also` to be readable (or hung up), or for `within` to pass.
    pub(crate) fn next(&self, also: Option<BorrowedFd<'_>>, within: Option<Duration>) -> Event {
        use rustix::event::{PollFd, PollFlags, Timespec};
        let limit = within.and_then(|time| Timespec::try_from(time).ok());
        let ready = [Some(self.arrivals.as_fd()), also].into_iter().flatten();
        let mut polled: Vec<PollFd<'_>> =
            ready.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        if rustix::event::poll(&mut polled, limit.as_ref()).is_err() {
            return Event::Nothing;
        }
        if polled.first().is_some_and(|signals| !signals.revents().is_empty())
            && let Some(arrival) = self.read()
        {
            return Event::Signal(arrival);
        }
        match polled.get(1) {
            Some(other) if !other.revents().is_empty() => Event::Readable,
            _ => Event::Nothing,
        }
    }

    /// One signal from the descriptor, if there is one.
    fn read(&self) -> Option<Arrival> {
        let mut info = [0_u8; size_of::<libc::signalfd_siginfo>()];
        rustix::io::read(&self.arrivals, &mut info).ok().filter(|len| *len == info.len())?;
        let word =
            |at: usize| info.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
        let code = word(offset_of!(libc::signalfd_siginfo, ssi_code))?;
        let sent = matches!(code, libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL);
        let pid = word(offset_of!(libc::signalfd_siginfo, ssi_pid))?;
        let signal = word(offset_of!(libc::signalfd_siginfo, ssi_signo))?;
        Some(Arrival { signal, sender: sent.then_some(pid) })
    }

    /// The signals as they were.
    pub(crate) fn before(&self) -> Before {
        let or_default = |handler| if handler == libc::SIG_IGN { handler } else { libc::SIG_DFL };
        let sigpipe = FIRST_SIGPIPE.load(Ordering::Relaxed);
        Before { mask: self.mask, sigchld: or_default(self.sigchld), sigpipe: or_default(sigpipe) }
    }

    /// Makes `command` start with the signals as they were before [`Signals::take`].
    pub(crate) fn give_to(&self, command: &mut Command) {
        let before = self.before();
        // SAFETY: S2: `restore` calls only functions that are async-signal-safe, and nothing is allocated.
        unsafe {
            command.pre_exec(move || {
                before.restore();
                Ok(())
            });
        }
    }
}

/// The signals as a program that is started here is to have them.
#[derive(Clone, Copy)]
pub(crate) struct Before {
    mask: libc::sigset_t,
    sigchld: usize,
    sigpipe: usize,
}

impl Before {
    /// Puts them in force, in a process that is about to become that program.
    pub(crate) fn restore(&self) {
        set_disposition(libc::SIGPIPE, self.sigpipe);
        set_disposition(libc::SIGCHLD, self.sigchld);
        // SAFETY: a valid set; the old one is not asked for.
        unsafe {
            libc::sigprocmask(libc::SIG_SETMASK, &self.mask, null_mut());
        }
    }
}

/// Lets every signal in again that [`Signals::take`] keeps from whoever is started meanwhile.
pub(crate) fn unblock_signals() {
    // SAFETY: the set is a plain value that sigemptyset fills in (S1).
    unsafe {
        let mut none: libc::sigset_t = zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, null_mut());
    }
}

/// Gives `command`, which replaces this process, SIGPIPE as it was in the beginning.
pub(crate) fn give_sigpipe_to(command: &mut Command) {
    let sigpipe = FIRST_SIGPIPE.load(Ordering::Relaxed);
    // SAFETY: S2: sigaction is async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            set_disposition(libc::SIGPIPE, if sigpipe == libc::SIG_IGN { sigpipe } else { libc::SIG_DFL });
            Ok(())
        });
    }
}

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
    set_disposition(libc::SIGPIPE, FIRST_SIGPIPE.load(Ordering::Relaxed));
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

/// Gives this process the name that `ps` shows; after [`myself`] it would be "exe".
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

/// Sends any signal, real-time ones included, to a process or (negative) a group.
pub(crate) fn kill(pid: i32, signal: i32) {
    // SAFETY: kill has no memory arguments.
    unsafe {
        libc::kill(pid, signal);
    }
}

/// Forks: the child's number, or nothing in the child.
pub(crate) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: with one thread (S1) no lock is held by anybody that the child lacks: it may do whatever its parent may.
    let child = unsafe { libc::fork() };
    check(child.into())?;
    Ok(Pid::from_raw(child))
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

/// Whether the kernel would take this seccomp action in a filter. seccomp(2), SECCOMP_GET_ACTION_AVAIL.
pub(crate) fn seccomp_has(action: u32) -> io::Result<()> {
    const GET_ACTION_AVAIL: libc::c_ulong = 2;
    // SAFETY: the kernel reads one u32 at the given address.
    check(unsafe { libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0, &raw const action) })
}

/// Whether the kernel and its policy let this process trace a child of its own: it is seized and let go. ptrace(2).
pub(crate) fn ptrace_child(pid: i32) -> io::Result<()> {
    // SAFETY: SEIZE and DETACH take no addresses; the process is the caller's child and stays unharmed.
    unsafe {
        check(libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0))?;
        check(libc::ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0))?;
        check(libc::waitpid(pid, null_mut(), libc::__WALL).into())?;
        check(libc::ptrace(libc::PTRACE_DETACH, pid, 0, 0))
    }
}

/// Whether a futex call gets through to the kernel: a wait for a value that is not there must say EAGAIN. futex(2).
pub(crate) fn futex_answers() -> io::Result<()> {
    let word = 1_u32;
    // SAFETY: the word lives through the call, which cannot sleep: its value differs from the expected one.
    let answer =
        unsafe { libc::syscall(libc::SYS_futex, &raw const word, libc::FUTEX_WAIT, 0, null::<u8>()) };
    match check(answer) {
        Err(why) if why.raw_os_error() == Some(libc::EAGAIN) => Ok(()),
        other => other,
    }
}

/// Whether the kernel has System V IPC and lets this process ask: a queue that cannot exist is looked up. msgget(2).
pub(crate) fn kernel_sysv() -> io::Result<()> {
    let mut limits = MaybeUninit::<[u8; 256]>::zeroed();
    // SAFETY: IPC_INFO writes a msginfo (32 bytes) into a buffer of 256.
    check(unsafe { libc::syscall(libc::SYS_msgctl, 0, libc::IPC_INFO, limits.as_mut_ptr()) })
}

/// Whether the kernel advertises the fsgsbase instructions to user space (AT_HWCAP2, bit 1 on x86-64).
#[cfg(target_arch = "x86_64")]
pub(crate) fn fsgsbase() -> bool {
    // SAFETY: getauxval has no memory arguments.
    unsafe { libc::getauxval(libc::AT_HWCAP2) & 2 != 0 }
}

/// Whether the processor has rdpid (CPUID leaf 7, ecx bit 22).
#[cfg(target_arch = "x86_64")]
pub(crate) fn rdpid() -> bool {
    std::arch::x86_64::__cpuid_count(7, 0).ecx & (1 << 22) != 0
}

/// A raw answer as a result.
fn check(answer: libc::c_long) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Moves this process to a System V namespace of its own in the kernel. unshare(2).
pub(crate) fn own_kernel_ipc() -> io::Result<()> {
    // SAFETY: unshare has no memory arguments, and no object is in use yet.
    check(unsafe { libc::unshare(libc::CLONE_NEWIPC) }.into())
}
