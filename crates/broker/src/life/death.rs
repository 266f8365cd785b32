//! What a process leaves behind: when it ends, and when it replaces its image. _exit(2), execve(2); kernel: exit_mm(), exit_sem(), exit_shm().
//!
//! The order is the kernel's: attachments first, then undo, then segments without a parent.
//!
//! # Invariants
//! X1. A process stays known until everything it left is settled; its bit in the directory is cleared last. So whoever reaped it and asks
//!     is answered after that.
//! X2. Settling twice changes nothing. A region whose lock does not come free becomes a debt, tried again by timer.
//! X3. What an image left is found by its process's number, which the next image has, too. So no process comes into a region in which it has a debt: to
//!     settle the debt then would take the lock and the tickets of the living.

use super::process::{Image, Process};
use crate::abroad::place::Place;
use crate::ledgers;
use crate::mechanism;
use crate::namespace::{Debt, Namespace, Trouble};
use crate::object::lease;
use crate::serve::Server;
use crate::serve::client::{Answer, Request};
use crate::state::keep_word;
use ring3_abi::{IpcId, Kind, Pid};
use ring3_engine::{Error, lock};
use ring3_wire::claim::OwnPid;
use ring3_wire::{Packet, request};
use std::ops::Bound;

/// How many debts are tried in one turn of the loop.
const DEBTS: usize = 32;

/// What has ended, and so what is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// The whole process: everything it owes is due.
    Process,
    /// Its image only: what outlives an exec stays.
    Image,
}
keep_word!(End { Process = 0, Image = 1 });

impl Namespace {
    /// Settles a process that has ended.
    pub(crate) fn settle_death(&mut self, pid: Pid) {
        self.drop_forks(pid);
        self.leave(pid);
        self.settle_regions(pid, End::Process);
        for (_, mechanism) in mechanism::all() {
            mechanism.orphan(self, pid);
        }
        self.finish_death(pid);
    }

    /// Forgets a dead process once nothing of it is left to settle (X1).
    fn finish_death(&mut self, pid: Pid) {
        if self.debts.keys().any(|debt| debt.pid == pid && debt.end == End::Process) {
            return;
        }
        // A request of its that was read before its end may have attached something since.
        self.leave(pid);
        self.leave_ranges(pid);
        let Some(process) = self.processes.remove(&pid) else { return };
        for &life in &process.lives {
            self.lives.borrow_mut().give_back(life);
        }
        self.pids.end(pid);
        for &(kind, id) in &process.objects {
            self.forget_user(kind, id, pid);
        }
        if let Some(directory) = self.directory() {
            // Another process may have the same bit: pids are told apart modulo 32768 only.
            let shared = self.processes.keys().any(|other| other % 32768 == pid % 32768);
            directory.set_registered(pid, shared);
        }
    }

    /// Settles what a replaced image leaves: its attachments, tickets and sections, but not its undo.
    pub(crate) fn settle_exec(&mut self, pid: Pid) {
        self.leave(pid);
        self.settle_regions(pid, End::Image);
        self.leave_ranges(pid);
        if let Some(process) = self.processes.get_mut(&pid) {
            process.image = Image::New;
            process.memory = None;
            process.leaving = false;
        }
    }

    /// Settles what a living process leaves by going to another namespace: all but what it has mapped. kernel: exit_sem(), exit_shm().
    pub(super) fn settle_departure(&mut self, pid: Pid) {
        self.settle_regions(pid, End::Process);
        for (_, mechanism) in mechanism::all() {
            mechanism.orphan(self, pid);
        }
    }

    /// Takes back all that a process's image held.
    pub(super) fn leave(&mut self, pid: Pid) {
        ledgers::read(self);
        lease::end(self, pid);
        for (_, mechanism) in mechanism::all() {
            mechanism.leave(self, pid);
        }
        ledgers::end(self, pid);
    }

    fn leave_ranges(&mut self, pid: Pid) {
        let Some(process) = self.processes.derived_mut(&pid) else { return };
        for range in std::mem::take(&mut process.ranges) {
            self.arenas.closed(range, pid);
        }
    }

    fn settle_regions(&mut self, pid: Pid, end: End) {
        let Some(process) = self.processes.get(&pid) else { return };
        let mut objects: Vec<(Kind, IpcId)> = process.objects.iter().copied().collect();
        objects.sort_unstable();
        if let Some(heir) = self.undo_heir(pid).filter(|_| end == End::Process) {
            objects.iter().for_each(|&(kind, id)| self.note_user(kind, id, heir));
        }
        for (kind, id) in objects {
            if self.settle_region(pid, kind, id, end) == Settled::Not {
                self.debts.insert(Debt { pid, kind, id, end }, ());
            }
        }
    }

    fn settle_region(&mut self, pid: Pid, kind: Kind, id: IpcId, end: End) -> Settled {
        let mechanism = mechanism::of(kind);
        match self.attempt_beside(kind, id, Some(pid), |ns| mechanism.settle(ns, id, pid, end)) {
            Err(Error::Stuck(_)) => Settled::Not,
            // Whatever else went wrong is in the region, and no later try can mend it.
            _ => Settled::Yes,
        }
    }

    /// Frees an object's lock if its holder cannot: it is dead, unknown, or its image was replaced. One that is stopped is moved on. Answers whether all
    /// that is in vain: the holder lives, and has not run for so long that nobody need wait for it any more.
    pub(crate) fn rescue(&mut self, kind: Kind, id: IpcId, holder: Pid) -> bool {
        let Some(process) = self.processes.get(&holder) else {
            // Nobody whom the broker knows took this lock.
            let _ = mechanism::of(kind).settle(self, id, holder, End::Image);
            return false;
        };
        if process.is_ending(holder) {
            self.settle_death(holder);
        } else if process.conns.is_empty() && self.image_is_gone(holder) {
            self.settle_exec(holder);
        } else if let Ok((region, _)) = self.region(kind, id) {
            return self.host.movers.borrow_mut().look(region, holder);
        }
        false
    }

    /// The process that an object's lock names; 0 none.
    pub(crate) fn lock_holder(&self, kind: Kind, id: IpcId) -> Pid {
        self.region(kind, id)
            .ok()
            .and_then(|(region, _)| lock::named(region).ok())
            .map_or(0, |named| named.process())
    }

    /// Tries debts again, a few at a time: there can be many where a lock does not come free.
    pub(crate) fn settle_debts(&mut self) {
        let from = self.tried.map_or(Bound::Unbounded, Bound::Excluded);
        let turn = self.debts.range((from, Bound::Unbounded)).chain(self.debts.iter());
        let now: Vec<Debt> = turn.map(|(debt, ())| *debt).take(DEBTS.min(self.debts.len())).collect();
        for debt in now {
            self.tried = Some(debt);
            if self.settle_region(debt.pid, debt.kind, debt.id, debt.end) == Settled::Not {
                continue;
            }
            self.debts.remove(&debt);
            if self.processes.get(&debt.pid).is_some_and(|process| process.is_dead()) {
                self.finish_death(debt.pid);
            }
        }
    }

    /// The known process that has a number in a PID namespace; `None` for the broker's own.
    fn meant(&self, place: Option<Place>, number: OwnPid) -> Option<Pid> {
        match place {
            None => Some(number.0),
            Some(place) => {
                self.processes.keys().copied().find(|&pid| self.pids.number(pid, place) == number.0)
            }
        }
    }

    /// Whether a process is dead and something of it is not settled.
    pub(crate) fn owes(&self, pid: Pid) -> bool {
        self.debts.keys().any(|debt| debt.pid == pid)
    }

    /// Whether something that a process's former image left in an object is not settled (X3).
    pub(crate) fn owes_in(&self, pid: Pid, kind: Kind, id: IpcId) -> bool {
        self.debts.keys().any(|debt| (debt.pid, debt.kind, debt.id) == (pid, kind, id))
    }
}

impl Server {
    /// Settle: answers when nothing that a dead process left is unsettled.
    pub(crate) fn settle(&self, asked: &Request, packet: &Packet<'_>) -> Result<Answer, Trouble> {
        let (ask, reader) = (packet.body::<request::Settle>()?, asked.creds.pid);
        let place = self.spaces.of(reader).pids.place_of(reader);
        let unsettled = self.spaces.all().any(|(_, ns)| {
            ns.meant(place, ask.pid)
                .is_some_and(|pid| ns.processes.get(&pid).is_some_and(Process::is_dead) && ns.owes(pid))
        });
        if unsettled { Err(Trouble::Later) } else { Ok(Answer::default()) }
    }
}

/// Whether a region is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    Yes,
    Not,
}
