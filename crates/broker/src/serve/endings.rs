//! Processes that end, and programs that are replaced: what the loop does before it answers anybody (V1).

use super::Server;
use crate::client::has_hung_up;
use crate::process::ConnId;
use ring3_abi::Pid;
use rustix::event::epoll;
use rustix::fs::Timespec;

impl Server {
    /// Settles every process that has ended.
    pub(crate) fn settle_the_dead(&mut self) {
        loop {
            let mut found = Vec::with_capacity(64);
            let now = Timespec::default();
            let waited = epoll::wait(&self.deaths, rustix::buffer::spare_capacity(&mut found), Some(&now));
            if waited.is_err() || found.is_empty() {
                return;
            }
            for event in found {
                let Ok(pid) = Pid::try_from(event.data.u64()) else { continue };
                if let Some(process) = self.ns.processes.get(&pid) {
                    // What cannot be settled at once is tried by timer, not by this event again.
                    let _ = epoll::delete(&self.deaths, &process.pidfd);
                }
                self.bury(pid);
            }
        }
    }

    /// Settles a dead process.
    pub(crate) fn bury(&mut self, pid: Pid) {
        self.log.line(|| format!("process {pid} has ended"));
        self.hear_out(pid);
        self.sleeping.retain(|sleeping| sleeping.creds.pid != pid);
        self.leaving.remove(&pid);
        self.ns.settle_death(pid);
    }

    /// Does what a dead process still said: its last fork gave its attachments to a child.
    fn hear_out(&mut self, pid: Pid) {
        let conns = self
            .ns
            .processes
            .get(&pid)
            .map_or_else(Vec::new, |process| process.conns.iter().copied().collect());
        let mut requests = Vec::new();
        for conn in conns {
            self.read(conn, &mut requests);
        }
        // Its children may have asked over the same connection.
        self.later.append(&mut requests);
    }

    /// Finds out which of the processes that were about to exec have done so.
    pub(crate) fn confirm_execs(&mut self) {
        for pid in std::mem::take(&mut self.leaving) {
            let conns: Vec<ConnId> = self
                .ns
                .processes
                .get(&pid)
                .map_or_else(Vec::new, |process| process.conns.iter().copied().collect());
            for conn in conns {
                if self.conns.get(&conn).is_some_and(|there| has_hung_up(&there.fd)) {
                    // Nobody waits for answers there any more.
                    self.read(conn, &mut Vec::new());
                }
            }
            let Some(process) = self.ns.processes.get(&pid).filter(|process| process.leaving) else {
                continue;
            };
            if !process.is_dead() && self.ns.image_is_gone(pid) {
                self.ns.settle_exec(pid);
            } else {
                self.leaving.insert(pid);
            }
        }
    }
}
