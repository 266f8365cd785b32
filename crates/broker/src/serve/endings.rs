//! Processes and connections that end: what the loop does before it answers anybody (V1).

use super::Server;
use crate::life::ConnId;
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

    /// A connection's other end is closed, or has broken the protocol.
    pub(crate) fn hang_up(&mut self, conn: ConnId) {
        let Some(there) = self.conns.remove(&conn) else { return };
        while let Some(at) = self.ns.forks.iter().position(|fork| fork.conn == conn) {
            // Nobody is left who could be the child.
            let fork = self.ns.forks.swap_remove(at);
            self.ns.inherit(fork.holder, None);
        }
        while let Some(at) = self.sleeping.iter().position(|sleeping| sleeping.conn == conn) {
            self.sleeping.swap_remove(at).abandon(&mut self.ns);
        }
        let Some((pid, process)) = there.owner.and_then(|pid| Some((pid, self.ns.processes.get_mut(&pid)?)))
        else {
            return;
        };
        process.conns.remove(&conn);
        if process.conns.is_empty() && !process.is_dead() {
            let leaving = process.leaving;
            self.last_hang_up(pid, leaving);
        }
    }
}
