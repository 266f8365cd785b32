//! One process of the storm: what it does until it is killed or the round ends.

use super::chance::Chance;
use super::ledger::{Ledger, Slot, WORKERS, Wrong};
use super::{messages, names, pages, tokens};
use crate::cargo::Done;
use crate::ipc;
use std::ffi::CString;
use std::io;
use std::sync::atomic::Ordering::SeqCst;

/// Where a process may be.
pub(super) const STATIONS: [&str; 18] = [
    "start",
    "msgsnd",
    "msgrcv",
    "semop, undo",
    "semop of two, undo",
    "semop there, undo",
    "semop back, undo",
    "semtimedop",
    "semtimedop of zero",
    "shmat",
    "mutex",
    "page",
    "shmdt",
    "get",
    "IPC_RMID",
    "a new object",
    "a new set",
    "visit",
];

/// What it works with.
pub(super) struct Work<'l> {
    pub(super) ledger: &'l Ledger,
    /// Which slot.
    pub(super) at: usize,
    pub(super) slot: &'l Slot,
    pub(super) chance: Chance,
    /// The ledger's descriptor.
    fd: i32,
}

impl Work<'_> {
    /// Says where it is.
    pub(super) fn station(&self, name: &str) {
        let at = STATIONS.iter().position(|station| *station == name).unwrap_or(0);
        self.slot.station.store(at as u32, SeqCst);
    }

    /// Whether this is a worker's child.
    pub(super) fn is_child(&self) -> bool {
        self.at >= WORKERS
    }

    /// A semop that is waited for; a SIGCONT in between is none of its business.
    pub(super) fn semop(&mut self, station: &str, set: i32, sops: &[libc::sembuf]) -> io::Result<()> {
        self.station(station);
        let mut sops = sops.to_vec();
        loop {
            let done = ipc::semop(set, &mut sops, None);
            if !ipc::failed(&done, libc::EINTR) {
                self.slot.done();
                return done;
            }
        }
    }

    /// Has nothing to do any more in this round.
    pub(super) fn rest(&self) -> io::Result<()> {
        self.slot.done();
        // SAFETY: usleep(3) takes a number.
        unsafe { libc::usleep(1000) };
        Ok(())
    }

    /// Executes this program again, as the same worker.
    pub(super) fn exec(&self) -> io::Result<()> {
        let words = ["xtask".to_owned(), "storm-worker".to_owned(), self.fd.to_string(), self.at.to_string()];
        let words: Vec<CString> = words.into_iter().map(CString::new).collect::<Result<_, _>>()?;
        let mut pointers: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
        pointers.push(std::ptr::null());
        // SAFETY: path and list are ended as they must be.
        unsafe { libc::execv(c"/proc/self/exe".as_ptr(), pointers.as_ptr()) };
        Err(io::Error::last_os_error())
    }

    /// One thing that this worker does.
    fn play(&mut self) -> io::Result<()> {
        if self.is_child() {
            return if self.chance.below(2) == 0 { tokens::play(self) } else { pages::play(self) };
        }
        if self.chance.below(3000) == 0 {
            return self.exec();
        }
        match self.at % 4 {
            0 => messages::send(self),
            1 => messages::receive(self),
            _ if self.chance.below(150) == 0 => self.fork(),
            2 => tokens::play(self),
            _ if (self.at / 4).is_multiple_of(2) => names::play(self),
            _ => pages::play(self),
        }
    }

    /// Starts a child, if there is none.
    fn fork(&mut self) -> io::Result<()> {
        let at = self.at + WORKERS;
        let slot = &self.ledger.slots[at];
        if !self.reap(slot, libc::WNOHANG) {
            return Ok(());
        }
        slot.generation.fetch_add(1, SeqCst);
        slot.pid.store(-1, SeqCst);
        // SAFETY: this process has one thread.
        let pid = unsafe { libc::fork() };
        match pid {
            -1 => {
                slot.pid.store(0, SeqCst);
                Err(io::Error::last_os_error())
            }
            0 => {
                // SAFETY: getpid(2) takes nothing.
                slot.pid.store(unsafe { libc::getpid() }, SeqCst);
                child(self.ledger, at, self.fd)
            }
            pid => {
                slot.pid.store(pid, SeqCst);
                self.slot.done();
                Ok(())
            }
        }
    }

    /// Whether there is no child (any more).
    fn reap(&self, slot: &Slot, flags: i32) -> bool {
        let pid = slot.pid.load(SeqCst);
        if pid == 0 {
            return true;
        }
        let mut status = 0;
        // SAFETY: the status outlives the call; a number that is no child's is refused.
        if unsafe { libc::waitpid(pid, &raw mut status, flags) } != pid {
            return false;
        }
        judge(self.ledger, status, pid);
        slot.pid.store(0, SeqCst);
        true
    }
}

/// A process ends by itself with 0, or is killed; all else is a crash.
pub(super) fn judge(ledger: &Ledger, status: i32, pid: i32) {
    let killed = libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL;
    let ended = libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
    if !killed && !ended {
        ledger.report(Wrong::Failed, &format!("process {pid} ended with status {status:#x}"));
    }
}

/// A worker's life, from its birth or from an exec.
pub(super) fn life(ledger: &Ledger, at: usize, fd: i32) -> ! {
    // SAFETY: prctl(2) with numbers: nobody goes on without the conductor.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let slot = &ledger.slots[at];
    let seed = slot.life(at) ^ slot.operations.load(SeqCst) << 20;
    let mut work = Work { ledger, at, slot, chance: Chance::new(seed), fd };
    let mut result = Ok(());
    if let Some(taken) = (slot.carried.load(SeqCst) as usize).checked_sub(1) {
        result = tokens::give_back(&mut work, taken);
    }
    while result.is_ok() && !ledger.closes(at) {
        result = work.play();
    }
    work.reap(&ledger.slots[(at + WORKERS) % ledger.slots.len()], 0);
    end(&work, result)
}

/// A child's life: short.
fn child(ledger: &Ledger, at: usize, fd: i32) -> ! {
    let slot = &ledger.slots[at];
    let mut work = Work { ledger, at, slot, chance: Chance::new(slot.life(at)), fd };
    if work.chance.below(3) == 0 {
        let why = work.exec();
        end(&work, why);
    }
    short(&mut work)
}

fn short(work: &mut Work<'_>) -> ! {
    let count = 1 + work.chance.below(10);
    let result = (0..count).try_for_each(|_| work.play());
    end(work, result)
}

fn end(work: &Work<'_>, result: io::Result<()>) -> ! {
    let status = match result {
        Ok(()) => 0,
        Err(why) => {
            let station = STATIONS[work.slot.station.load(SeqCst) as usize % STATIONS.len()];
            work.ledger.report(Wrong::Failed, &format!("worker {}, {station}: {why}", work.at));
            3
        }
    };
    // SAFETY: a forked process ends without what its parent has registered.
    unsafe { libc::_exit(status) }
}

/// A worker or a child that has executed this program: `storm-worker DESCRIPTOR SLOT`.
pub(crate) fn again(arguments: &[String]) -> Done {
    let number = |at: usize| arguments.get(at).and_then(|word| word.parse::<usize>().ok());
    let (Some(fd), Some(at)) = (number(0), number(1)) else { return Err("not for users".to_owned()) };
    let ledger = Ledger::open(fd as i32).map_err(|why| why.to_string())?;
    let slot = ledger.slots.get(at).ok_or("no such slot")?;
    if at < WORKERS {
        life(ledger, at, fd as i32);
    }
    short(&mut Work { ledger, at, slot, chance: Chance::new(slot.life(at) + 1), fd: fd as i32 })
}
