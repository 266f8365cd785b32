//! Processes of the harness: forked, waited for, looked at.

use super::sysv::Outcome;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

/// How long anything may take that should happen at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// Forks; the child runs `work` and ends without running anything else of this program.
pub(super) fn fork(work: impl FnOnce()) -> io::Result<libc::pid_t> {
    // SAFETY: the harness has one thread, so a forked child may do whatever the parent may.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            work();
            // SAFETY: _exit(2) takes a number.
            unsafe { libc::_exit(0) }
        }
        pid => Ok(pid),
    }
}

/// Waits for a child's next change, past whatever stands between this program and the kernel.
pub(super) fn wait_raw(pid: libc::pid_t, flags: i32) -> io::Result<Option<i32>> {
    let mut status = 0i32;
    let none = std::ptr::null_mut::<libc::rusage>();
    // SAFETY: `status` is written before the call returns; no usage is asked for.
    let got = unsafe { libc::syscall(libc::SYS_wait4, pid, &raw mut status, flags, none) };
    match got {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        _ => Ok(Some(status)),
    }
}

/// Reaps a child that ends, by libc's own call: from then on its end must be settled.
pub(super) fn reap(pid: libc::pid_t) -> io::Result<i32> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let mut status = 0;
        // SAFETY: `status` outlives the call.
        match unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG | libc::__WALL) } {
            -1 => return Err(io::Error::last_os_error()),
            0 => give_way(),
            _ if libc::WIFSTOPPED(status) => {
                return Err(io::Error::other(format!("stopped by signal {}", libc::WSTOPSIG(status))));
            }
            _ => return Ok(status),
        }
    }
    Err(io::Error::other(format!("process {pid} does not end ({})", place(pid))))
}

/// Kills a child and reaps it.
pub(super) fn kill(pid: libc::pid_t) -> io::Result<i32> {
    signal(pid, libc::SIGKILL);
    // SAFETY: as in `reap`; it is dying, so this ends.
    let mut status = 0;
    loop {
        // SAFETY: `status` outlives the call.
        match unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) } {
            -1 => return Err(io::Error::last_os_error()),
            _ if libc::WIFSTOPPED(status) => {}
            _ => return Ok(status),
        }
    }
}

/// Sends a signal.
pub(super) fn signal(pid: libc::pid_t, signal: i32) {
    // SAFETY: kill(2) takes numbers; the process is a child that has not been reaped.
    unsafe { libc::kill(pid, signal) };
}

/// Lets others run on this CPU.
pub(super) fn give_way() {
    // SAFETY: sched_yield(2) takes nothing.
    unsafe { libc::sched_yield() };
}

/// Says whether a process may sleep in this system call for as long as its operation cannot be done.
pub(super) fn is_sleep(number: i64) -> bool {
    let calls = [libc::SYS_futex, libc::SYS_semop, libc::SYS_semtimedop, libc::SYS_msgsnd, libc::SYS_msgrcv];
    calls.contains(&number)
}

/// Returns the state letter of /proc/PID/stat.
pub(super) fn state(pid: libc::pid_t) -> Option<char> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(") ")?.1.chars().next()
}

/// Returns the number of the system call that a process is in.
fn system_call(pid: libc::pid_t) -> Option<i64> {
    let text = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    text.split(' ').next()?.parse().ok()
}

/// Says where a process is, for messages.
pub(super) fn place(pid: libc::pid_t) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    format!("state {}, system call {}", state(pid).unwrap_or('?'), text.trim())
}

/// Says whether a process sleeps in a call of its operation's.
pub(super) fn asleep(pid: libc::pid_t) -> bool {
    state(pid) == Some('S') && system_call(pid).is_some_and(is_sleep)
}

/// A process that does one call, which may sleep, and says how it ended.
pub(super) struct Peer {
    pub(super) pid: libc::pid_t,
    from: i32,
    outcome: Option<Outcome>,
    reaped: bool,
}

impl Peer {
    /// Starts one and waits until it sleeps or has ended.
    pub(super) fn start(call: impl FnOnce() -> Outcome) -> Result<Peer, String> {
        let mut peer = Peer::spawn(call)?;
        peer.rest()?;
        Ok(peer)
    }

    /// Starts one.
    pub(super) fn spawn(call: impl FnOnce() -> Outcome) -> Result<Peer, String> {
        let mut ends = [0i32; 2];
        // SAFETY: pipe2(2) writes two descriptors into the array.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
            return Err(io::Error::last_os_error().to_string());
        }
        let [from, to] = ends;
        let pid = fork(|| {
            let outcome = call();
            let bytes = outcome.to_bytes();
            // SAFETY: the bytes outlive the call.
            unsafe { libc::write(to, bytes.as_ptr().cast(), bytes.len()) };
        });
        close(to);
        Ok(Peer { pid: pid.map_err(|why| why.to_string())?, from, outcome: None, reaped: false })
    }

    /// Says where it is, for messages.
    pub(super) fn place(&self) -> String {
        place(self.pid)
    }

    /// Waits some time until it has ended.
    pub(super) fn end(&mut self, patience: Duration) -> Option<Outcome> {
        let mut poll = libc::pollfd { fd: self.from, events: libc::POLLIN, revents: 0 };
        if self.outcome.is_none() {
            // SAFETY: one pollfd, which outlives the call.
            unsafe { libc::poll(&raw mut poll, 1, patience.as_millis() as i32) };
            self.outcome = self.read();
        }
        self.outcome
    }

    /// Waits until it sleeps (`None`) or has ended (its outcome).
    pub(super) fn rest(&mut self) -> Result<Option<Outcome>, String> {
        let until = Instant::now() + PATIENCE;
        loop {
            if self.outcome.is_none() {
                self.outcome = self.read();
            }
            if self.outcome.is_some() {
                return Ok(self.outcome);
            }
            // Twice: between two system calls of one operation it may only seem to sleep.
            if asleep(self.pid) {
                give_way();
                if asleep(self.pid) && !self.readable() {
                    return Ok(None);
                }
            }
            if Instant::now() > until {
                return Err(format!("a peer neither sleeps nor ends ({})", place(self.pid)));
            }
            give_way();
        }
    }

    /// Says whether it has said how it ended.
    fn readable(&self) -> bool {
        let mut poll = libc::pollfd { fd: self.from, events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd, which outlives the call.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
    }

    /// Reads how it ended, if it has said so.
    fn read(&self) -> Option<Outcome> {
        if !self.readable() {
            return None;
        }
        let mut bytes = [0u8; Outcome::LEN];
        // SAFETY: the buffer has that length.
        let got = unsafe { libc::read(self.from, bytes.as_mut_ptr().cast(), bytes.len()) };
        (got == Outcome::LEN as isize).then(|| Outcome::from_bytes(bytes))
    }

    /// Kills it if it still is there, and reaps it.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if !self.reaped {
            self.reaped = true;
            if self.outcome.is_some() {
                reap(self.pid)?
            } else {
                kill(self.pid)?
            };
            close(self.from);
        }
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

/// Closes a descriptor of ours.
pub(super) fn close(fd: i32) {
    // SAFETY: the descriptor is this module's own and is not used afterwards.
    unsafe { libc::close(fd) };
}
