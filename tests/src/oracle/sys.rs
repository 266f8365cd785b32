//! The calls of libc that driver and workers need, with safe faces: all that is not System V IPC.

use libc::{c_int, c_void, pid_t};
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Turns -1 into the error.
pub fn check(result: i64) -> io::Result<i64> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The error number of this thread.
pub fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// A memfd of that size, inherited over exec.
pub fn memfd(size: usize) -> io::Result<c_int> {
    // SAFETY: the name is a C string; no memory of ours is written.
    let fd = check(i64::from(unsafe { libc::memfd_create(c"ring3-oracle".as_ptr(), 0) }))? as c_int;
    // SAFETY: takes numbers only.
    check(i64::from(unsafe { libc::ftruncate(fd, size as libc::off_t) }))?;
    Ok(fd)
}

/// Maps a file shared, at an address of the kernel's choice.
pub fn map_shared(fd: c_int, size: usize) -> io::Result<*mut c_void> {
    // SAFETY: without MAP_FIXED nothing that exists is touched.
    let at = unsafe {
        libc::mmap(std::ptr::null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, fd, 0)
    };
    if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(at) }
}

/// Maps zeroed private memory at `at`; fails if something is there.
pub fn map_at(at: i64, size: usize, prot: c_int) -> io::Result<()> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: NOREPLACE: nothing that exists is touched.
    let got = unsafe { libc::mmap(at as *mut c_void, size, prot, flags, -1, 0) };
    if got == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sleeps while `word` shows `seen`, at most `micros` microseconds.
pub fn futex_wait(word: &AtomicU32, seen: u32, micros: Option<u64>) {
    let limit = micros.map(|us| libc::timespec {
        tv_sec: (us / 1_000_000) as libc::time_t,
        tv_nsec: (us % 1_000_000 * 1000) as libc::c_long,
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the word and the timespec live through the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, seen, limit) };
}

/// Wakes everybody who sleeps on `word`.
pub fn futex_wake(word: &AtomicU32) {
    // SAFETY: the word lives through the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}

/// fork(2).
pub fn fork() -> io::Result<pid_t> {
    // SAFETY: the driver and its workers fork only while they have one thread, or the child calls nothing but its loop.
    check(i64::from(unsafe { libc::fork() })).map(|pid| pid as pid_t)
}

/// Ends the process without running anything of Rust's or libc's.
pub fn exit_now(code: c_int) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Sends a signal to a process.
pub fn kill(pid: u32, signal: c_int) {
    // SAFETY: takes numbers only.
    unsafe { libc::kill(pid as pid_t, signal) };
}

/// Sends a signal to a thread.
pub fn tgkill(pid: u32, tid: u32, signal: c_int) {
    // SAFETY: takes numbers only.
    unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signal) };
}

/// Waits for a child: `None` if it lives on (with `hang` false), else how it ended.
pub fn wait(pid: u32, hang: bool) -> io::Result<Option<String>> {
    let mut status = 0;
    let flags = if hang { 0 } else { libc::WNOHANG };
    // SAFETY: the status lives through the call.
    let got = check(i64::from(unsafe { libc::waitpid(pid as pid_t, &raw mut status, flags) }))?;
    if got == 0 {
        return Ok(None);
    }
    Ok(Some(if libc::WIFSIGNALED(status) {
        format!("signal {}", libc::WTERMSIG(status))
    } else {
        format!("exit {}", libc::WEXITSTATUS(status))
    }))
}

/// This thread's number.
pub fn gettid() -> u32 {
    // SAFETY: takes nothing.
    unsafe { libc::gettid() as u32 }
}

/// This process dies with its parent.
pub fn die_with_parent() {
    // SAFETY: takes numbers only.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Orphans of this process's children become its children.
pub fn adopt_orphans() {
    // SAFETY: takes numbers only.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
}

/// A fresh IPC namespace of the kernel's for this process.
pub fn new_namespace() -> io::Result<()> {
    // SAFETY: takes numbers only.
    check(i64::from(unsafe { libc::unshare(libc::CLONE_NEWIPC) })).map(|_| ())
}

/// Runs only on that CPU from now on.
pub fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: all zero is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: CPU_SET checks the range itself.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set lives through the call.
    check(i64::from(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) })).map(|_| ())
}

/// The CPUs that this process may use.
pub fn cpus() -> Vec<usize> {
    // SAFETY: all zero is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set lives through the call.
    unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    // SAFETY: CPU_ISSET checks the range itself.
    (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect()
}

/// Real-time scheduling with that priority, 0: ordinary scheduling.
pub fn schedule(priority: c_int) -> io::Result<()> {
    let policy = if priority == 0 { libc::SCHED_OTHER } else { libc::SCHED_FIFO };
    let param = libc::sched_param { sched_priority: priority };
    // SAFETY: the parameter lives through the call.
    check(i64::from(unsafe { libc::sched_setscheduler(0, policy, &raw const param) })).map(|_| ())
}

/// The kernel's clock of file and IPC times, seconds.
pub fn seconds() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the result lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &raw mut now) };
    now.tv_sec
}

/// Replaces the program by this one again.
pub fn exec_self(args: &[&str]) -> io::Error {
    let owned: Vec<CString> = args.iter().filter_map(|arg| CString::new(*arg).ok()).collect();
    let mut pointers: Vec<*const libc::c_char> = owned.iter().map(|arg| arg.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: a null-terminated array of C strings that live through the call.
    unsafe { libc::execv(c"/proc/self/exe".as_ptr(), pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// Whether this process is root.
pub fn is_root() -> bool {
    // SAFETY: takes nothing.
    unsafe { libc::geteuid() == 0 }
}

/// Reads a file from its start into `buffer`: fewer system calls than opening it again.
pub fn reread(fd: c_int, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer lives through the call.
    check(unsafe { libc::pread(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) } as i64).map(|n| n as usize)
}

/// Waits for one child, whichever; false when there is none left.
pub fn wait_any() -> bool {
    // SAFETY: no status is asked for.
    unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) > 0 }
}

/// A descriptor that becomes readable when the process ends.
pub fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers only.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })? as c_int;
    // SAFETY: the kernel has just made it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits until a descriptor is readable; false if that takes longer than `limit`.
pub fn readable(fd: &OwnedFd, limit: Duration) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let limit = c_int::try_from(limit.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: the structure lives through the call.
    unsafe { libc::poll(&raw mut poll, 1, limit) > 0 }
}

/// Kills a process group.
pub fn kill_group(leader: u32) {
    // SAFETY: takes numbers only.
    unsafe { libc::kill(-(leader as pid_t), libc::SIGKILL) };
}

/// Whether an exec now would be one with more than the user's own rights (AT_SECURE).
pub fn is_privileged_start() -> bool {
    // SAFETY: they take nothing.
    unsafe { libc::geteuid() != libc::getuid() || libc::getegid() != libc::getgid() }
}

/// Enters a mount namespace of this process's own, in which the directory of `file`, if there is one, is empty.
pub(crate) fn hide_directory(file: Option<OsString>) -> i64 {
    let file = file.map(PathBuf::from);
    let dir = file.as_deref().and_then(Path::parent).map(|dir| dir.as_os_str().as_encoded_bytes());
    let dir = dir.and_then(|dir| CString::new(dir).ok());
    let (tmpfs, private) = (c"tmpfs".as_ptr(), libc::MS_REC | libc::MS_PRIVATE);
    // SAFETY: the strings live through the calls; what is mounted is seen in the new namespace alone.
    let ret = unsafe {
        match (libc::unshare(libc::CLONE_NEWNS), dir) {
            (0, dir) => {
                let done = libc::mount(tmpfs, c"/".as_ptr(), std::ptr::null(), private, std::ptr::null());
                let hide = |dir: CString| libc::mount(tmpfs, dir.as_ptr(), tmpfs, 0, std::ptr::null());
                done | dir.map_or(0, hide)
            }
            (failed, _) => failed,
        }
    };
    i64::from(ret)
}

/// Installs a filter that answers EPERM to one system call, and allows all others. seccomp(2).
pub(crate) fn forbid(call: i64) -> i64 {
    let filter = |code: u32, jump_if_not: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: jump_if_not,
        k,
    };
    let mut program = [
        // The call's number is the first word of struct seccomp_data.
        filter(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, call as u32),
        filter(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        filter(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the kernel copies the program, which lives through the call.
    i64::from(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) })
}
