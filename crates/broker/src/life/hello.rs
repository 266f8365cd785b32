//! How a process becomes known: Hello.

use super::process::{Image, Process, is_single_threaded};
use crate::namespace::{Namespace, Trouble};
use crate::object::lease;
use crate::policy::quota::Means;
use crate::regions;
use crate::serve::Server;
use crate::serve::client::{Answer, Request};
use crate::spaces::Space;
use crate::{abroad, ledgers, mechanism};
use ring3_abi::{Errno, Pid, Uid};
use ring3_engine::directory::Directory;
use ring3_wire::reply::Welcome;
use ring3_wire::{Packet, request};
use rustix::event::epoll::{self, EventData, EventFlags};

impl Server {
    /// Hello: a process image introduces itself.
    pub(crate) fn hello(&mut self, asked: &Request, packet: &Packet<'_>) -> Result<Answer, Trouble> {
        let ask = packet.body::<request::Hello>()?;
        let pid = asked.creds.pid;
        if self.spaces.knowing(pid).any(|(_, ns)| ns.processes.get(&pid).is_some_and(Process::is_dead)) {
            // An earlier process with this number.
            self.bury(pid);
            if self.spaces.all().any(|(_, ns)| ns.owes(pid)) {
                return Err(Trouble::Later);
            }
        }
        if self.conns.get(&asked.conn).is_some_and(|conn| conn.owner.is_some_and(|owner| owner != pid)) {
            return Err(Errno::EPROTO.into());
        }
        for (_, ns) in self.spaces.knowing_mut(pid) {
            ns.see_image(pid, ask.image);
        }
        let space = self.spaces.find(pid, asked.creds.uid)?;
        // DEATH: before a namespace that was just made is committed, the lookout has to have its directory mapped.
        self.keep_watched();
        self.go(pid, space, asked.creds.uid)?;
        let ns = self.spaces.at_mut(space);
        ns.note_memory(pid, ask.image);
        let abroad = abroad::flags(&ns.pids, pid);
        if let (Some(process), Some(conn)) = (ns.processes.get_mut(&pid), self.conns.derived_mut(&asked.conn))
        {
            process.introduce(ask.image, abroad);
            process.conns.insert(asked.conn);
            if conn.owner != Some(pid)
                && let Some(conn) = self.conns.get_mut(&asked.conn)
            {
                conn.owner = Some(pid);
            }
        }
        for neighbour in ns.neighbours(pid) {
            // It is not the only one any more that may change what it holds.
            ns.seen_otherwise(neighbour);
        }
        self.leaving.remove(&pid);
        let directory_len = Directory::len() as u64;
        let life = ns.processes.get(&pid).map_or(0, Process::life);
        let welcome = Welcome { pid, broker: ns.host.me.pid, directory_len, life, abroad };
        let directory = regions::copy(ns.directory_file().0)?;
        Ok(Answer::with(0, &welcome).passing(directory))
    }

    /// Makes a process known in the namespace that it is in now. From another it takes its connections along, and what it owes there is due, unless
    /// it has threads that may be there still. kernel: ksys_unshare(), exit_sem(), exit_shm().
    fn go(&mut self, pid: Pid, space: Space, user: Uid) -> Result<(), Errno> {
        let old = self.spaces.space(pid);
        if !self.spaces.at(space).processes.contains_key(&pid) {
            self.register(space, pid, Image::New, user)?;
        }
        self.spaces.at(space).await_end(pid);
        self.spaces.put(pid, space);
        if old == space {
            return Ok(());
        }
        let ns = self.spaces.at_mut(old);
        lease::end(ns, pid);
        for (_, mechanism) in mechanism::all() {
            mechanism.depart(ns, pid);
        }
        ledgers::end(ns, pid);
        let Some(process) = ns.processes.get_mut(&pid) else { return Ok(()) };
        let (conns, lives) = (std::mem::take(&mut process.conns), std::mem::take(&mut process.lives));
        if is_single_threaded(pid) {
            ns.settle_departure(pid);
            if let Some(process) = ns.processes.get_mut(&pid) {
                process.undo_group = None;
            }
        }
        if let Some(process) = self.spaces.at_mut(space).processes.get_mut(&pid) {
            process.conns.extend(conns);
            process.lives.extend(lives);
        }
        Ok(())
    }

    /// Makes a process known.
    ///
    /// # Errors
    /// `ESRCH` when it has ended; `ENOMEM` when its user may have no more processes here; the machine's.
    pub(super) fn register(&mut self, space: Space, pid: Pid, image: Image, user: Uid) -> Result<(), Errno> {
        if !self.may_have_another(user) {
            return Err(Errno::ENOMEM);
        }
        let process = Process::find(pid, image, user).ok_or(Errno::ESRCH)?;
        let data = EventData::new_u64(u64::from(pid));
        epoll::add(&self.deaths, &process.pidfd, data, EventFlags::IN).map_err(crate::failure::errno)?;
        self.may_have_ended = true;
        let ns = self.spaces.at_mut(space);
        ns.pids.add(pid);
        ns.processes.insert(pid, process);
        Ok(())
    }

    /// Whether one more process of a user may be known. They are counted when it is asked, which is once for each that comes.
    fn may_have_another(&self, user: Uid) -> bool {
        let (quota, mut all, mut mine) = (self.spaces.quota(), 0, 0);
        if quota.is_exempt(user) {
            return true;
        }
        for process in self.spaces.all().flat_map(|(_, ns)| ns.processes.values()) {
            all += 1;
            mine += u64::from(process.user == user);
        }
        quota.fits(Means::Processes, (all, mine), 1)
    }
}

impl Namespace {
    /// From now on whoever reaps the process waits until it is settled. Needless while all it can leave is what nobody sees without asking here: a
    /// request is answered after deaths are settled.
    pub(crate) fn await_end(&self, pid: Pid) {
        if let Some(directory) = self.directory() {
            directory.set_registered(pid, true);
        }
    }

    /// A known process introduces an image, which may be another than the one that is known.
    fn see_image(&mut self, pid: Pid, image: u64) {
        match self.processes.get(&pid).map(|process| process.image) {
            Some(Image::Known(known)) if known != image => self.settle_exec(pid),
            Some(Image::New) if self.image_is_gone(pid) => self.settle_exec(pid),
            _ => {}
        }
    }
}
