//! The life of processes and connections: Hello, Adopt, Fork, Forked, Born, Exec, ExecFailed, Settle, Cancel, Shutdown, hang-ups; and the table
//! of all requests. fork(2), execve(2), wait(2); kernel: dup_mmap(), exec_mmap(), shm_open().

use super::{attach, ctl, get, open, proxy, query};
use crate::client::{Answer, Request};
use crate::namespace::{Namespace, PendingFork, Trouble};
use crate::process::{ConnId, Image, Process, parent_of};
use crate::procfs;
use crate::serve::Server;
use crate::sleepers::Sleeping;
use ring3_abi::{Errno, IpcId, Kind, Pid};
use ring3_engine::Parked;
use ring3_wire::reply::Welcome;
use ring3_wire::{Op, Packet, request};
use rustix::event::epoll::{self, EventData, EventFlags};
use std::collections::BTreeMap;

/// An answer, nothing yet, or an error and its value.
type Outcome = Result<Option<Answer>, (Trouble, i64)>;

impl Server {
    /// Does a one-way request. `None`: it is none; `Some(false)`: it breaks the protocol.
    pub(crate) fn note(&mut self, asked: &Request, packet: &Packet<'_>) -> Option<bool> {
        let pid = asked.creds.pid;
        let done = match packet.op {
            Op::Adopt => asked
                .fd
                .as_ref()
                .and_then(|fd| fd.try_clone().ok())
                .map(|fd| self.adopt(fd))
                .ok_or(Errno::EPROTO),
            Op::Fork => packet.body().map(|ask| self.fork(asked.conn, pid, &ask)),
            Op::Forked => packet.body().map(|ask| self.forked(asked.conn, pid, &ask)),
            Op::Born => packet.body().map(|ask| self.born(asked.conn, pid, &ask)),
            Op::Exec | Op::ExecFailed => {
                self.set_leaving(pid, packet.op == Op::Exec);
                Ok(())
            }
            Op::Close => packet.body().and_then(|ask| open::close(&mut self.ns, &asked.creds, &ask)),
            Op::Cancel => {
                self.cancel(asked.conn);
                Ok(())
            }
            _ => return None,
        };
        self.log.line(|| format!("{:?} of {pid}", packet.op).to_lowercase());
        Some(done.is_ok())
    }

    /// Does a request that wants an answer.
    pub(crate) fn handle(&mut self, asked: &Request, packet: &Packet<'_>) -> Outcome {
        let result = match packet.op {
            Op::Hello => self.hello(asked, packet),
            Op::SemOp | Op::MsgSend | Op::MsgReceive => return self.sleepy(asked, packet),
            Op::Settle => packet.body().map_err(Trouble::from).and_then(|ask| self.settle(&ask)),
            Op::Proc => self.proc(asked, packet),
            Op::Shutdown => return self.shutdown(asked),
            _ => self.plain(asked, packet),
        };
        result.map(Some).map_err(|trouble| (trouble, 0))
    }

    /// Requests that concern the namespace's state alone.
    fn plain(&mut self, asked: &Request, packet: &Packet<'_>) -> Result<Answer, Trouble> {
        let (ns, creds) = (&mut self.ns, &asked.creds);
        match packet.op {
            Op::Remove => ctl::remove(ns, creds, &packet.body()?),
            Op::Set => ctl::set(ns, creds, &packet.body()?),
            Op::ShmLock => ctl::shm_lock(ns, creds, &packet.body()?),
            Op::Stat => query::stat(ns, creds, &packet.body()?),
            Op::Info => query::info(ns, &packet.body()?),
            Op::Limits => Ok(query::limits(ns)),
            Op::SetLimit => query::set_limit(ns, creds, &packet.body()?),
            Op::Detail => query::detail(ns, &packet.body()?),
            _ if !ns.processes.contains_key(&creds.pid) => Err(Errno::EPROTO.into()),
            Op::Get => get::get(ns, creds, &packet.body()?),
            Op::Open => open::open(ns, creds, &packet.body()?),
            Op::Grow => open::grow(ns, creds, &packet.body()?),
            Op::Stuck => open::stuck(ns, &packet.body()?),
            Op::Attach => attach::attach(ns, creds, &packet.body()?),
            Op::Detach => attach::detach(ns, creds, &packet.body()?),
            Op::Split => attach::split(ns, creds, &packet.body()?),
            Op::SemCtl => proxy::semctl(ns, creds, packet),
            _ => Err(Errno::EPROTO.into()),
        }
    }

    /// Calls that may sleep.
    fn sleepy(&mut self, asked: &Request, packet: &Packet<'_>) -> Outcome {
        let (ns, creds) = (&mut self.ns, &asked.creds);
        if !ns.processes.contains_key(&creds.pid) {
            return Err((Errno::EPROTO.into(), 0));
        }
        let (progress, kind) = match packet.op {
            Op::SemOp => (proxy::semop(ns, creds, packet), Kind::Sem),
            Op::MsgSend => (proxy::send(ns, asked, packet), Kind::Msg),
            _ => (proxy::receive(ns, creds, packet), Kind::Msg),
        };
        match progress.map_err(|trouble| (trouble, 0))? {
            proxy::Progress::Done(answer) => Ok(Some(answer)),
            proxy::Progress::Asleep { id, ticket, call, deadline } => {
                let range = ns.names(kind).get(id).and_then(crate::object::Object::range);
                let (conn, tag, creds) = (asked.conn, packet.tag, creds.clone());
                self.sleeping.push(Sleeping { conn, tag, creds, id, call, ticket, range, deadline });
                Ok(None)
            }
        }
    }

    fn hello(&mut self, asked: &Request, packet: &Packet<'_>) -> Result<Answer, Trouble> {
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
        if let (Some(process), Some(conn)) =
            (self.ns.processes.get_mut(&pid), self.conns.get_mut(&asked.conn))
        {
            process.introduce(ask.image);
            process.conns.insert(asked.conn);
            conn.owner = Some(pid);
        }
        self.leaving.remove(&pid);
        let directory_len = ring3_engine::directory::Directory::len() as u64;
        let welcome = Welcome { pid, broker: self.ns.host.me.pid, directory_len };
        let directory = self.ns.directory_file().0.try_clone().map_err(|_| Errno::EMFILE)?;
        Ok(Answer::with(0, &welcome).passing(directory))
    }

    /// Makes a process known.
    fn register(&mut self, pid: Pid, image: Image) -> Result<(), Errno> {
        let process = Process::find(pid, image).ok_or(Errno::ESRCH)?;
        let data = EventData::new_u64(u64::from(pid));
        epoll::add(&self.deaths, &process.pidfd, data, EventFlags::IN).map_err(crate::failure::errno)?;
        self.ns.processes.insert(pid, process);
        if let Some(directory) = self.ns.directory() {
            directory.set_registered(pid, true);
        }
        Ok(())
    }

    /// The parent's attachments count for the child from now on. kernel: shm_open(), run by the parent.
    fn fork(&mut self, conn: ConnId, parent: Pid, ask: &request::Fork) {
        let Some(process) = self.ns.processes.get(&parent) else { return };
        let attachments = process.attachments.clone();
        let now = self.ns.now();
        for &id in attachments.values() {
            if let Some(segment) =
                self.ns.names_mut(Kind::Shm).get_mut(id).and_then(|object| object.segment_mut())
            {
                segment.nattch += 1;
                segment.atime = now;
                segment.lpid = parent;
            }
        }
        self.ns.forks.push(PendingFork { conn, token: ask.token, parent, attachments });
    }

    fn take_fork(&mut self, conn: ConnId, token: u64) -> Option<PendingFork> {
        let at = self.ns.forks.iter().position(|fork| fork.conn == conn && fork.token == token)?;
        Some(self.ns.forks.swap_remove(at))
    }

    /// The parent names the child. Only a child of its own is believed (B1).
    fn forked(&mut self, conn: ConnId, parent: Pid, ask: &request::Forked) {
        let known = self.ns.forks.iter().any(|fork| fork.token == ask.token && fork.parent == parent);
        let grandparent = parent_of(ask.pid);
        if !known || ask.pid != 0 && grandparent.is_some_and(|its| its != parent) {
            return;
        }
        let Some(fork) = self.take_fork(conn, ask.token) else { return };
        match ask.pid {
            0 => fork.attachments.values().for_each(|&id| attach::uncount(&mut self.ns, id)),
            child => self.inherit(child, fork.attachments),
        }
    }

    /// The child names itself.
    fn born(&mut self, conn: ConnId, child: Pid, ask: &request::Fork) {
        match self.take_fork(conn, ask.token) {
            Some(fork) if fork.parent != child => self.inherit(child, fork.attachments),
            Some(fork) => self.ns.forks.push(fork),
            // Its parent has named it before; or it has inherited nothing, and is known from now on.
            None => self.inherit(child, BTreeMap::new()),
        }
    }

    /// A child has its parent's attachments.
    fn inherit(&mut self, child: Pid, attachments: BTreeMap<u64, IpcId>) {
        if !self.ns.processes.contains_key(&child) && self.register(child, Image::New).is_err() {
            // It is dead and reaped already.
            attachments.values().for_each(|&id| self.ns.detach(id, child));
            return;
        }
        if let Some(process) = self.ns.processes.get_mut(&child) {
            process.attachments.extend(attachments);
        }
    }

    fn set_leaving(&mut self, pid: Pid, leaving: bool) {
        let Some(process) = self.ns.processes.get_mut(&pid) else { return };
        process.leaving = leaving;
        if leaving {
            self.leaving.insert(pid);
        } else {
            self.leaving.remove(&pid);
        }
    }

    /// A connection's other end is closed, or has broken the protocol.
    pub(crate) fn hang_up(&mut self, conn: ConnId) {
        let Some(there) = self.conns.remove(&conn) else { return };
        while let Some(at) = self.ns.forks.iter().position(|fork| fork.conn == conn) {
            // Nobody is left who could be the child.
            let fork = self.ns.forks.swap_remove(at);
            fork.attachments.values().for_each(|&id| attach::uncount(&mut self.ns, id));
        }
        while let Some(at) = self.sleeping.iter().position(|sleeping| sleeping.conn == conn) {
            self.sleeping.swap_remove(at).abandon(&mut self.ns);
        }
        let Some((pid, process)) = there.owner.and_then(|pid| Some((pid, self.ns.processes.get_mut(&pid)?)))
        else {
            return;
        };
        process.conns.remove(&conn);
        if !process.conns.is_empty() || process.is_dead() {
            return;
        }
        let said = process.leaving;
        let seen = self.ns.image_is_gone(pid);
        if seen || said && !self.still_there(pid) {
            self.leaving.remove(&pid);
            self.ns.settle_exec(pid);
        }
    }

    /// Whether a process's old image is seen to be still there.
    fn still_there(&self, pid: Pid) -> bool {
        let inode = self.ns.directory_file().1;
        crate::process::maps_file(pid, crate::namespace::DIRECTORY_NAME, inode) == Some(true)
    }

    fn cancel(&mut self, conn: ConnId) {
        let Some(at) = self.sleeping.iter().position(|sleeping| sleeping.conn == conn) else { return };
        let mut sleeping = self.sleeping.swap_remove(at);
        match sleeping.poll(&mut self.ns, Parked::Interrupted) {
            Some(result) => {
                let tag = sleeping.tag;
                self.reply(conn, tag, &result.map_err(|errno| (errno, 0)));
            }
            // The lock does not come free: the caller sends its wish again, or hangs up.
            None => self.sleeping.push(sleeping),
        }
    }

    fn settle(&mut self, ask: &request::Settle) -> Result<Answer, Trouble> {
        let dead = self.ns.processes.get(&ask.pid).is_some_and(Process::is_dead);
        if dead && self.ns.owes(ask.pid) { Err(Trouble::Later) } else { Ok(Answer::default()) }
    }

    fn proc(&mut self, asked: &Request, packet: &Packet<'_>) -> Result<Answer, Trouble> {
        let (answer, written) = procfs::open(&mut self.ns, &asked.creds, &packet.body()?)?;
        if let Some(written) = written {
            self.watch_written(written);
        }
        Ok(answer)
    }

    /// Ends the broker for its owner when nobody needs it.
    fn shutdown(&mut self, asked: &Request) -> Outcome {
        if asked.creds.uid != self.ns.owner && asked.creds.uid != 0 {
            return Err((Errno::EPERM.into(), 0));
        }
        let others = others(&self.ns, asked.creds.pid);
        if others > 0 {
            return Err((Errno::EBUSY.into(), others as i64));
        }
        self.over = true;
        Ok(Some(Answer::default()))
    }
}

/// How many processes live beside one.
fn others(ns: &Namespace, pid: Pid) -> usize {
    ns.processes.iter().filter(|(other, process)| **other != pid && !process.is_dead()).count()
}
