//! Signals as a wrapper needs them: all taken over and waited for, and given back as they were. signalfd(2), sigprocmask(2).

use super::check;
use std::io;
use std::mem::{MaybeUninit, offset_of, zeroed};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// SIGPIPE's disposition when this program was started; Rust's runtime changes it before `main`.
static FIRST_SIGPIPE: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);

/// Remembers how SIGPIPE was, before `main`.
pub(super) fn remember() {
    FIRST_SIGPIPE.store(disposition(libc::SIGPIPE), Ordering::Relaxed);
}

/// Gives SIGPIPE back as it was in the beginning.
pub(super) fn restore_sigpipe() {
    set_disposition(libc::SIGPIPE, FIRST_SIGPIPE.load(Ordering::Relaxed));
}

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

/// Sends any signal, real-time ones included, to a process or (negative) a group.
pub(crate) fn kill(pid: i32, signal: i32) {
    // SAFETY: kill has no memory arguments.
    unsafe {
        libc::kill(pid, signal);
    }
}
