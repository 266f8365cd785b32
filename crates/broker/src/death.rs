//! What a process leaves behind: when it ends, and when it replaces its image. _exit(2), execve(2); kernel: exit_mm(), exit_sem(), exit_shm().
//!
//! The order is the kernel's: attachments first, then undo, then segments without a parent.
//!
//! # Invariants
//! X1. A process stays known until everything it left is settled; its bit in the directory is cleared last. So whoever reaped it and asks
//!     is answered after that.
//! X2. Settling twice changes nothing. A region whose lock does not come free becomes a debt, tried again by timer.

use crate::namespace::{DIRECTORY_NAME, Debt, Namespace};
use crate::process::{Image, maps_file};
use ring3_abi::{IpcId, Kind, Pid};
use ring3_engine::Error;
use ring3_engine::sem::Undo;

impl Namespace {
    /// Settles a process that has ended.
    pub(crate) fn settle_death(&mut self, pid: Pid) {
        self.leave_segments(pid);
        self.settle_regions(pid, Undo::Apply);
        self.orphan_segments(pid);
        self.finish_death(pid);
    }

    /// Forgets a dead process once nothing of it is left to settle (X1).
    fn finish_death(&mut self, pid: Pid) {
        if self.debts.iter().any(|debt| debt.pid == pid && debt.undo == Undo::Apply) {
            return;
        }
        self.leave_ranges(pid);
        let Some(process) = self.processes.remove(&pid) else { return };
        for &(kind, id) in &process.objects {
            if let Ok(object) = self.object_mut(kind, id) {
                object.users.remove(&pid);
            }
        }
        if let Some(directory) = self.directory() {
            // Another process may have the same bit: pids are told apart modulo 32768 only.
            let shared = self.processes.keys().any(|other| other % 32768 == pid % 32768);
            directory.set_registered(pid, shared);
        }
    }

    /// Settles what a replaced image leaves: its attachments, tickets and sections, but not its undo.
    pub(crate) fn settle_exec(&mut self, pid: Pid) {
        self.leave_segments(pid);
        self.settle_regions(pid, Undo::Keep);
        self.leave_ranges(pid);
        if let Some(process) = self.processes.get_mut(&pid) {
            process.image = Image::New;
            process.leaving = false;
        }
    }

    fn leave_segments(&mut self, pid: Pid) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        for (_, id) in std::mem::take(&mut process.attachments) {
            self.detach(id, pid);
        }
    }

    fn leave_ranges(&mut self, pid: Pid) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        for range in std::mem::take(&mut process.ranges) {
            self.arenas.closed(range, pid);
        }
    }

    /// One attachment fewer. kernel: shm_close().
    pub(crate) fn detach(&mut self, id: IpcId, pid: Pid) {
        let now = self.now();
        let Some(segment) = self.names_mut(Kind::Shm).get_mut(id).and_then(|object| object.segment_mut())
        else {
            return;
        };
        segment.lpid = pid;
        segment.dtime = now;
        segment.nattch = segment.nattch.saturating_sub(1);
        self.destroy_if_due(id);
    }

    fn settle_regions(&mut self, pid: Pid, undo: Undo) {
        let Some(process) = self.processes.get(&pid) else { return };
        let mut objects: Vec<(Kind, IpcId)> = process.objects.iter().copied().collect();
        objects.sort_unstable();
        for (kind, id) in objects {
            if self.settle_region(pid, kind, id, undo) == Settled::Not {
                self.debts.push(Debt { pid, kind, id, undo });
            }
        }
    }

    fn settle_region(&mut self, pid: Pid, kind: Kind, id: IpcId, undo: Undo) -> Settled {
        let mut result = self.settle_once(pid, kind, id, undo);
        if let Err(Error::Stuck(holder)) = result
            && holder != pid
        {
            self.rescue(kind, id, holder);
            result = self.settle_once(pid, kind, id, undo);
        }
        match result {
            Err(Error::Stuck(_)) => Settled::Not,
            // Whatever else went wrong is in the region, and no later try can mend it.
            _ => Settled::Yes,
        }
    }

    fn settle_once(&self, pid: Pid, kind: Kind, id: IpcId, undo: Undo) -> Result<(), Error> {
        match kind {
            Kind::Msg => self.queue(id)?.settle(&self.host, pid, self.host.me),
            Kind::Sem => self.set(id)?.settle(&self.host, pid, self.host.me, undo),
            Kind::Shm => Ok(()),
        }
    }

    /// kernel: exit_shm().
    fn orphan_segments(&mut self, pid: Pid) {
        let made: Vec<IpcId> = self
            .names(Kind::Shm)
            .iter()
            .filter(|(_, object)| object.creator == pid && object.segment().is_some_and(|s| s.fostered))
            .map(|(id, _)| id)
            .collect();
        for id in made {
            if let Some(segment) =
                self.names_mut(Kind::Shm).get_mut(id).and_then(|object| object.segment_mut())
            {
                segment.fostered = false;
            }
            self.destroy_if_due(id);
        }
    }

    /// Destroys the segments that nobody has and whose maker is gone: shm_rmid_forced was switched on. kernel: shm_destroy_orphaned().
    pub(crate) fn destroy_orphans(&mut self) {
        let orphans: Vec<IpcId> = self
            .names(Kind::Shm)
            .iter()
            .filter(|(_, object)| object.segment().is_some_and(|segment| !segment.fostered))
            .map(|(id, _)| id)
            .collect();
        for id in orphans {
            self.destroy_if_due(id);
        }
    }

    /// Frees an object's lock if its holder cannot: it is dead, unknown, or its image was replaced.
    pub(crate) fn rescue(&mut self, kind: Kind, id: IpcId, holder: Pid) {
        let Some(process) = self.processes.get(&holder) else {
            // Nobody whom the broker knows took this lock.
            let _ = self.settle_once(holder, kind, id, Undo::Keep);
            return;
        };
        if process.is_dead() {
            self.settle_death(holder);
        } else if process.conns.is_empty() && self.image_is_gone(holder) {
            self.settle_exec(holder);
        }
    }

    /// Whether a living process's image is another than the one that spoke to the broker: it does not map the directory.
    pub(crate) fn image_is_gone(&self, pid: Pid) -> bool {
        maps_file(pid, DIRECTORY_NAME, self.directory_file().1) == Some(false)
    }

    /// Tries debts again.
    pub(crate) fn settle_debts(&mut self) {
        for debt in std::mem::take(&mut self.debts) {
            if self.settle_region(debt.pid, debt.kind, debt.id, debt.undo) == Settled::Not {
                self.debts.push(debt);
            } else if self.processes.get(&debt.pid).is_some_and(|process| process.is_dead()) {
                self.finish_death(debt.pid);
            }
        }
    }

    /// Whether a process is dead and something of it is not settled.
    pub(crate) fn owes(&self, pid: Pid) -> bool {
        self.debts.iter().any(|debt| debt.pid == pid)
    }
}

/// Whether a region is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    Yes,
    Not,
}
