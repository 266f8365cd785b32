//! How a process becomes known: Hello.

use super::process::{Image, Process};
use crate::namespace::Trouble;
use crate::serve::Server;
use crate::serve::client::{Answer, Request};
use ring3_abi::{Errno, Pid};
use ring3_engine::directory::Directory;
use ring3_wire::reply::Welcome;
use ring3_wire::{Packet, request};
use rustix::event::epoll::{self, EventData, EventFlags};

impl Server {
    /// Hello: a process image introduces itself.
    pub(crate) fn hello(&mut self, asked: &Request, packet: &Packet<'_>) -> Result<Answer, Trouble> {
        let ask = packet.body::<request::Hello>()?;
        let pid = asked.creds.pid;
        if self.ns.processes.get(&pid).is_some_and(Process::is_dead) {
            // An earlier process with this number.
            self.bury(pid);
            if self.ns.owes(pid) {
                return Err(Trouble::Later);
            }
        }
        if self.conns.get(&asked.conn).is_some_and(|conn| conn.owner.is_some_and(|owner| owner != pid)) {
            return Err(Errno::EPROTO.into());
        }
        match self.ns.processes.get(&pid).map(|process| process.image) {
            None => self.register(pid, Image::New)?,
            Some(Image::Known(image)) if image == ask.image => {}
            Some(Image::Known(_)) => self.ns.settle_exec(pid),
            Some(Image::New) if self.ns.image_is_gone(pid) => self.ns.settle_exec(pid),
            Some(Image::New) => {}
        }
        self.ns.note_memory(pid, ask.image);
        if let (Some(process), Some(conn)) =
            (self.ns.processes.get_mut(&pid), self.conns.get_mut(&asked.conn))
        {
            process.introduce(ask.image);
            process.conns.insert(asked.conn);
            conn.owner = Some(pid);
        }
        self.leaving.remove(&pid);
        let directory_len = Directory::len() as u64;
        let life = self.ns.processes.get(&pid).map_or(0, Process::life);
        let welcome = Welcome { pid, broker: self.ns.host.me.pid, directory_len, life, pad: 0 };
        let directory = self.ns.directory_file().0.try_clone().map_err(|_| Errno::EMFILE)?;
        Ok(Answer::with(0, &welcome).passing(directory))
    }

    /// Makes a process known.
    pub(super) fn register(&mut self, pid: Pid, image: Image) -> Result<(), Errno> {
        let process = Process::find(pid, image).ok_or(Errno::ESRCH)?;
        let data = EventData::new_u64(u64::from(pid));
        epoll::add(&self.deaths, &process.pidfd, data, EventFlags::IN).map_err(crate::failure::errno)?;
        self.ns.processes.insert(pid, process);
        if let Some(directory) = self.ns.directory() {
            directory.set_registered(pid, true);
        }
        Ok(())
    }
}
