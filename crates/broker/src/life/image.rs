//! execve(2): Exec and ExecFailed, and finding out whether an image is still there. kernel: exec_mmap().
//!
//! An image that is about to be replaced says so; hanging up, or no longer mapping the directory, confirms it.

use super::process::{Mapped, mapped};
use crate::life::ConnId;
use crate::namespace::{DIRECTORY_NAME, Namespace};
use crate::serve::Server;
use crate::serve::client::{Request, has_hung_up};
use ring3_abi::{Errno, Pid};
use ring3_wire::{Op, Packet, request};
use std::rc::Rc;

/// Whether a process is seen to map the directory with this inode.
pub(crate) fn maps_directory(pid: Pid, inode: u64) -> bool {
    inode != 0 && mapped(pid, DIRECTORY_NAME, inode) == Mapped::Yes
}

impl Namespace {
    /// Whether a living process's image is another than the one that spoke to the broker: it does not map the directory.
    pub(crate) fn image_is_gone(&self, pid: Pid) -> bool {
        mapped(pid, DIRECTORY_NAME, self.directory_file().1) == Mapped::No
    }

    /// Whether a process's old image is seen to be still there.
    fn image_is_there(&self, pid: Pid) -> bool {
        maps_directory(pid, self.directory_file().1)
    }
}

impl Server {
    /// Exec, ExecFailed: a process is about to replace its image, or has failed to.
    pub(crate) fn exec(&mut self, asked: &Request, packet: &Packet<'_>) -> Result<(), Errno> {
        let (pid, leaving) = (asked.creds.pid, packet.op == Op::Exec);
        if leaving && packet.body::<request::Exec>()?.alone != 0 {
            self.log.line(|| format!("{pid} executes a program without the agent, whose file it cannot see"));
        }
        let processes = &mut self.spaces.of_mut(pid).processes;
        if processes.get(&pid).is_some_and(|process| process.leaving == leaving) {
            return Ok(());
        }
        let Some(process) = processes.get_mut(&pid) else { return Ok(()) };
        process.leaving = leaving;
        if leaving {
            self.leaving.insert(pid);
        } else {
            self.leaving.remove(&pid);
        }
        Ok(())
    }

    /// A process has lost its last connection: settles its image if that is gone.
    pub(crate) fn last_hang_up(&mut self, pid: Pid, leaving: bool) {
        let ns = self.spaces.of(pid);
        let seen = ns.image_is_gone(pid);
        if seen || leaving && !ns.image_is_there(pid) {
            self.image_ended(pid);
        }
    }

    /// Settles a replaced image in every namespace where it left something.
    pub(super) fn image_ended(&mut self, pid: Pid) {
        self.leaving.remove(&pid);
        for (_, ns) in self.spaces.knowing_mut(pid) {
            ns.settle_exec(pid);
        }
    }

    /// Finds out which of the processes that were about to exec have done so.
    pub(crate) fn confirm_execs(&mut self) {
        let patience = Rc::clone(&self.spaces.root().host.patience);
        for pid in std::mem::take(&mut self.leaving) {
            // One that says so and stays must not be looked at before each request (P1 of host.rs).
            if !patience.is_there() {
                self.leaving.insert(pid);
                continue;
            }
            let conns: Vec<ConnId> = self
                .spaces
                .of(pid)
                .processes
                .get(&pid)
                .map_or_else(Vec::new, |process| process.conns.iter().copied().collect());
            for conn in conns {
                if self.conns.get(&conn).is_some_and(|there| has_hung_up(&there.fd)) {
                    self.read(conn);
                    // Nobody waits for answers there any more.
                    self.drop_asked(|request| request.conn == conn);
                }
            }
            let ns = self.spaces.of(pid);
            let Some(process) = ns.processes.get(&pid).filter(|process| process.leaving) else {
                continue;
            };
            if !process.is_dead() && patience.spend(|| ns.image_is_gone(pid)) {
                self.image_ended(pid);
            } else {
                self.leaving.insert(pid);
            }
        }
    }
}
