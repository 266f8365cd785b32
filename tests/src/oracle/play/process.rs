//! A worker's process: how it is born, by the driver or by another worker, and how it is known to be gone.

use super::{Hang, PATIENCE, Pace, Player};
use crate::oracle::script::{Op, WORKERS};
use crate::oracle::slot::Value;
use crate::oracle::sys;
use crate::oracle::watch::Watch;
use crate::oracle::worker::{PRIORITY, Worker};
use std::io;
use std::sync::atomic::Ordering;
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Free,
    Busy,
    Dead,
}

pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) tid: u32,
    pub(super) state: State,
    pub(super) stopped: bool,
    /// The driver's own child?
    pub(super) ours: bool,
    pub(super) watch: Option<Watch>,
    /// The call it is in: for the record, and where to keep the result.
    pub(super) call: String,
    pub(super) keep: Option<String>,
    pub(super) op: Op,
}

impl Player {
    pub(super) fn alive(&self, who: usize) -> Option<(u32, bool)> {
        self.workers[who].as_ref().filter(|p| p.state != State::Dead).map(|p| (p.pid, p.ours))
    }

    pub(super) fn newborn(&mut self, who: usize) {
        self.workers[who] = None;
        self.shared.slot(who).reset();
    }

    pub(super) fn start(&mut self, who: usize) -> io::Result<()> {
        self.newborn(who);
        let worker = Worker { shared: self.shared, fd: self.fd, who };
        if sys::fork()? == 0 {
            sys::die_with_parent();
            if matches!(self.pace, Pace::OneCpu(_)) {
                let _ = sys::schedule(PRIORITY);
            }
            worker.serve();
        }
        self.arrived(who, true).map_err(|Hang| io::ErrorKind::TimedOut.into())
    }

    /// Waits until a new worker has said who it is.
    fn arrived(&mut self, who: usize, ours: bool) -> Result<(), Hang> {
        let slot = self.shared.slot(who);
        let begun = Instant::now();
        while slot.tid.load(Ordering::Acquire) == 0 {
            if begun.elapsed() > PATIENCE {
                self.note(&format!("HANG: worker {who} does not start"), "");
                return Err(Hang);
            }
            let seen = self.shared.bell.load(Ordering::Acquire);
            if slot.tid.load(Ordering::Acquire) == 0 {
                self.shared.wait(seen, 1000);
            }
        }
        let (pid, tid) = (slot.pid.load(Ordering::Acquire), slot.tid.load(Ordering::Acquire));
        self.known.insert(tid, who);
        self.known.entry(pid).or_insert(who);
        self.workers[who] = Some(Process {
            pid,
            tid,
            state: State::Free,
            stopped: false,
            ours,
            watch: Watch::new(pid, tid).ok(),
            call: String::new(),
            keep: None,
            op: Op::Wait,
        });
        Ok(())
    }

    pub(super) fn born(&mut self, parent: usize, who: usize, op: Op) -> Result<(), Hang> {
        let ours = op == Op::Thread && self.workers[parent].as_ref().is_some_and(|p| p.ours);
        self.arrived(who, ours)
    }

    /// After exec: the other threads are gone, the caller's thread has the process's number.
    pub(super) fn renewed(&mut self, who: usize) -> Result<(), Hang> {
        let Some((pid, ours)) = self.workers[who].as_ref().map(|p| (p.pid, p.ours)) else { return Ok(()) };
        let call = self.workers[who].as_ref().map(|p| p.call.clone()).unwrap_or_default();
        self.mark_dead(pid);
        self.arrived(who, ours)?;
        if let Some(process) = &mut self.workers[who] {
            process.call = call;
        }
        Ok(())
    }

    /// Notices workers that died of themselves.
    pub(super) fn bury(&mut self) {
        for who in 0..WORKERS {
            let Some(process) = &self.workers[who] else { continue };
            if process.ours
                && process.state != State::Dead
                && let Ok(Some(how)) = sys::wait(process.pid, false)
            {
                let call = process.call.clone();
                self.mark_dead(process.pid);
                self.note(&format!("DIED {who}: {how} in {call}"), "");
            }
        }
    }

    pub(super) fn mark_dead(&mut self, pid: u32) {
        for process in self.workers.iter_mut().flatten().filter(|p| p.pid == pid) {
            process.state = State::Dead;
            process.watch = None;
        }
    }

    /// Whether the process that a `wait` names has ended: else it would wait for ever.
    pub(super) fn ended(&self, values: &[Value]) -> bool {
        let pid = values.first().map_or(0, |v| v.number as u32);
        !self.workers.iter().flatten().any(|p| p.pid == pid && p.state != State::Dead)
    }

    /// Waits for a process's end: ours is reaped, another's is a zombie then.
    pub(super) fn gone(&mut self, pid: u32, ours: bool) -> Result<String, Hang> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if ours {
                if let Ok(Some(how)) = sys::wait(pid, false) {
                    return Ok(how);
                }
            } else if matches!(state_of(pid), None | Some('Z' | 'X')) {
                return Ok("a zombie".to_string());
            }
            self.shared.wait(self.shared.bell.load(Ordering::Acquire), 100);
        }
        self.note(&format!("HANG: {pid} does not end"), "");
        Err(Hang)
    }
}

/// The letter of a process's state.
pub(super) fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
