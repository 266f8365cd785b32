//! Processes and connections that end: what the loop does before it answers anybody (V1).

use super::Server;
use crate::life::ConnId;
use ring3_abi::Pid;
use rustix::event::epoll;
use rustix::fs::Timespec;
use std::collections::BTreeSet;

impl Server {
    /// Settles every process that has ended.
    pub(crate) fn settle_the_dead(&mut self) {
        self.settle_before(None);
    }

    /// Settles every process that has ended before `speaker` did, which may be dead itself: what it said comes before its end. The list is in the order
    /// of the ends.
    pub(crate) fn settle_before(&mut self, speaker: Option<Pid>) {
        if speaker.is_some() && self.heard_out == speaker {
            // Who ended before it is settled already.
            return;
        }
        // Those that nobody knows any more: their descriptors are open, and heard, until what was done is committed.
        let mut strangers = BTreeSet::new();
        loop {
            let mut found = Vec::with_capacity(64);
            let now = Timespec::default();
            let waited = epoll::wait(&self.deaths, rustix::buffer::spare_capacity(&mut found), Some(&now));
            let mut any = false;
            for event in waited.map_or_else(|_| Vec::new(), |_| found) {
                let Ok(pid) = Pid::try_from(event.data.u64()) else { continue };
                if speaker == Some(pid) {
                    return;
                }
                if self.spaces.knowing(pid).next().is_none() {
                    any |= strangers.insert(pid);
                    continue;
                }
                any = true;
                self.bury(pid);
            }
            if !any {
                return;
            }
        }
    }

    /// Hears no more of a process's end: what cannot be settled at once is tried by timer, not by the same event again.
    fn unwatch(&self, pid: Pid) {
        for process in self.spaces.knowing(pid).filter_map(|(_, ns)| ns.processes.get(&pid)) {
            let _ = epoll::delete(&self.deaths, &process.pidfd);
        }
    }

    /// Settles a dead process.
    pub(crate) fn bury(&mut self, pid: Pid) {
        self.log.line(|| format!("process {pid} has ended"));
        self.unwatch(pid);
        self.hear_out(pid);
        self.drop_asked(|request| request.creds.pid == pid);
        self.sleeping.take(|_, sleeping| sleeping.creds.pid == pid);
        self.leaving.remove(&pid);
        for (_, ns) in self.spaces.knowing_mut(pid) {
            ns.settle_death(pid);
        }
        self.spaces.forget(pid);
    }

    /// Does what a dead process still said: its last fork gave its attachments to a child, which may have asked over the same connection.
    fn hear_out(&mut self, pid: Pid) {
        let conns = self
            .spaces
            .of(pid)
            .processes
            .get(&pid)
            .map_or_else(Vec::new, |process| process.conns.iter().copied().collect());
        let outer = self.heard_out.replace(pid);
        // Its children may have asked over the same connection: they come into line.
        for conn in conns {
            self.read(conn);
        }
        self.heard_out = outer;
    }

    /// A connection's other end is closed, or has broken the protocol.
    pub(crate) fn hang_up(&mut self, conn: ConnId) {
        let Some(there) = self.conns.remove(&conn) else { return };
        self.doors.leave(there.maker);
        self.drop_asked(|request| request.conn == conn);
        for (_, ns) in self.spaces.all_mut() {
            // Nobody is left who could be the child.
            for (_, fork) in ns.forks.take(|_, fork| fork.conn == Some(conn)) {
                ns.inherit(fork.holder, None);
            }
        }
        if let Some(sleeping) = self.sleeping.remove(&conn) {
            sleeping.abandon(self.spaces.at_mut(sleeping.space));
        }
        let Some(pid) = there.owner else { return };
        let Some(process) = self.spaces.of_mut(pid).processes.derived_mut(&pid) else { return };
        process.conns.remove(&conn);
        if process.conns.is_empty() && !process.is_dead() {
            let leaving = process.leaving;
            self.last_hang_up(pid, leaving);
        }
    }
}
