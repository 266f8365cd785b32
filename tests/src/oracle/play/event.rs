//! What reaches a worker from outside a call: a signal, a stop, its end.

use super::process::{State, state_of};
use super::{Hang, PATIENCE, Player};
use crate::oracle::script::WORKERS;
use crate::oracle::sys;
use std::sync::atomic::Ordering;
use std::time::Instant;

impl Player {
    /// Writes down what came of an event, and of whoever it concerned, once everything is quiet again.
    fn settled(&mut self, line: &str, how: &str) -> Result<(), Hang> {
        let done = self.settle(None, None)?;
        self.note(line, how);
        self.note_done(WORKERS, done);
        Ok(())
    }

    pub(super) fn exited(&mut self, line: &str, who: usize) -> Result<(), Hang> {
        let Some((pid, ours)) = self.workers[who].as_ref().map(|p| (p.pid, p.ours)) else { return Ok(()) };
        let how = self.gone(pid, ours)?;
        self.mark_dead(pid);
        self.settled(line, &how)
    }

    pub(super) fn kill(&mut self, line: &str, who: usize) -> Result<(), Hang> {
        let Some((pid, ours)) = self.alive(who) else {
            self.note(line, "dead");
            return Ok(());
        };
        sys::kill(pid, libc::SIGKILL);
        let how = self.gone(pid, ours)?;
        self.mark_dead(pid);
        self.settled(line, &how)
    }

    pub(super) fn signal(&mut self, line: &str, who: usize) -> Result<(), Hang> {
        let Some(process) = self.workers[who].as_ref().filter(|p| p.state != State::Dead) else {
            self.note(line, "dead");
            return Ok(());
        };
        let (pid, tid, stopped) = (process.pid, process.tid, process.stopped);
        let first = self.known.get(&pid).copied().unwrap_or(who);
        let handled = &self.shared.slot(first).handled;
        let before = handled.load(Ordering::Acquire);
        sys::tgkill(pid, tid, libc::SIGUSR1);
        let begun = Instant::now();
        while !stopped && handled.load(Ordering::Acquire) == before {
            if begun.elapsed() > PATIENCE {
                self.note(&format!("HANG: {line} is not handled"), "");
                return Err(Hang);
            }
            self.shared.wait(self.shared.bell.load(Ordering::Acquire), 50);
        }
        self.settled(line, "")
    }

    pub(super) fn stop(&mut self, line: &str, who: usize) -> Result<(), Hang> {
        let Some((pid, _)) = self.alive(who) else {
            self.note(line, "dead");
            return Ok(());
        };
        sys::kill(pid, libc::SIGSTOP);
        let begun = Instant::now();
        while state_of(pid) != Some('T') && begun.elapsed() < PATIENCE {
            self.shared.wait(self.shared.bell.load(Ordering::Acquire), 50);
        }
        self.workers.iter_mut().flatten().filter(|p| p.pid == pid).for_each(|p| p.stopped = true);
        self.settled(line, "")
    }

    pub(super) fn cont(&mut self, line: &str, who: usize) -> Result<(), Hang> {
        if let Some((pid, _)) = self.alive(who) {
            sys::kill(pid, libc::SIGCONT);
            self.workers.iter_mut().flatten().filter(|p| p.pid == pid).for_each(|p| p.stopped = false);
        }
        self.settled(line, "")
    }

    /// Ends and reaps all workers, one after the other, also those that have become orphans.
    pub(super) fn end(&mut self) {
        for who in 0..WORKERS {
            let Some((pid, ours)) = self.alive(who) else { continue };
            sys::kill(pid, libc::SIGKILL);
            let gone = self.gone(pid, ours);
            self.mark_dead(pid);
            if gone.is_ok() {
                self.rest();
            }
        }
        while sys::wait_any() {}
        self.workers = Default::default();
    }
}
