//! fork(2): what a child has of its parent. Fork, Forked, Born. kernel: dup_mmap(), shm_open().
//!
//! A parent announces a fork, for what it holds counts for the child from that moment; then the parent names the child or the child names
//! itself, whichever is heard first.
//!
//! # Invariants
//! F1. What a fork holds is held once: by the fork while its child is not known, then by the child. A fork whose child can never be known any
//!     more gives it back.
//! F2. Of a child that has not introduced itself, attachments are all that it can leave, and these nobody sees without asking here: whoever reaps it need
//!     not wait. Unless it shares its parent's adjustments, or segments go with their last attachment though they have a key.
//! F3. Who has the connection that a fork was announced over may be its child. A parent without a descriptor for a connection that lasts says so
//!     (`NO_CONNECTION`): its fork is waited for until the parent has named the child or ended, and whoever knows the token is the child.
//!
//! # Death
//! Of such a parent before it has named the child: what the child has is not counted, unless the child has named itself before.

use super::process::{ConnId, Image, parent_of};
use crate::abroad::pids;
use crate::mechanism;
use crate::namespace::Namespace;
use crate::serve::Server;
use crate::serve::client::Request;
use crate::spaces::Space;
use crate::state::{Keep, keep};
use ring3_abi::limits::{FORKS_OF_A_PROCESS, FORKS_OF_A_USER};
use ring3_abi::{Errno, Pid, Uid};
use ring3_wire::claim::OwnPid;
use ring3_wire::{Packet, request};

/// Who holds what the mechanisms let processes have (attachments).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Holder {
    Process(Pid),
    /// A fork, by the number that it has in this namespace.
    Fork(u64),
}

impl Holder {
    /// Which process, if it is one.
    pub(crate) fn process(self) -> Option<Pid> {
        match self {
            Holder::Process(pid) => Some(pid),
            Holder::Fork(_) => None,
        }
    }
}

impl Keep for Holder {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Holder::Process(pid) => (false, u64::from(*pid)),
            Holder::Fork(number) => (true, *number),
        }
        .put(out);
    }

    fn get(from: &mut &[u8]) -> Option<Holder> {
        match <(bool, u64)>::get(from)? {
            (false, pid) => Pid::try_from(pid).ok().map(Holder::Process),
            (true, number) => Some(Holder::Fork(number)),
        }
    }
}

/// A fork announced by its parent whose child is not known yet.
#[derive(Debug)]
pub(crate) struct PendingFork {
    /// What it was announced over, if that lasts (F3).
    pub(crate) conn: Option<ConnId>,
    pub(crate) token: u64,
    pub(crate) parent: Pid,
    /// What its child will have.
    pub(crate) holder: Holder,
    /// Whom its child will owe together with.
    undo_group: Option<u64>,
}
keep!(PendingFork { conn, token, parent, holder, undo_group });

impl Namespace {
    /// A fork's child is known, or (`None`) will never be.
    pub(crate) fn inherit(&mut self, fork: Holder, child: Option<Pid>) {
        for (_, mechanism) in mechanism::all() {
            mechanism.inherit(self, fork, child);
        }
    }

    /// Whether a process may announce one more fork: it, and if its user has a quota, that user.
    fn may_announce(&self, parent: Pid) -> bool {
        let user = |pid: &Pid| self.processes.get(pid).map(|process| process.user);
        let mine = user(&parent).filter(|&user| !self.host.quota.is_exempt(user));
        let (mut of_process, mut of_user) = (0, 0);
        for fork in self.forks.values() {
            of_process += usize::from(fork.parent == parent);
            of_user += usize::from(mine.is_some() && user(&fork.parent) == mine);
        }
        of_process < FORKS_OF_A_PROCESS && of_user < FORKS_OF_A_USER
    }

    /// Forks that a dead process has announced, but did not get to name the child of (F3).
    pub(super) fn drop_forks(&mut self, parent: Pid) {
        let its = |_: &u64, fork: &PendingFork| fork.conn.is_none() && fork.parent == parent;
        for (_, fork) in self.forks.take(its) {
            self.inherit(fork.holder, None);
        }
    }
}

impl Server {
    /// Fork: what the parent holds counts for the child from now on. Whoever has ended before it, or executed another program, has left its attachments
    /// before. kernel: shm_open(), run by the parent.
    pub(crate) fn fork(&mut self, asked: &Request, packet: &Packet<'_>) -> Result<(), Errno> {
        let (ask, parent) = (packet.body::<request::Fork>()?, asked.creds.pid);
        self.settle_before(Some(parent));
        self.confirm_execs();
        let undo = ask.shares & request::SHARES_UNDO != 0;
        let conn = (ask.shares & request::NO_CONNECTION == 0).then_some(asked.conn);
        for (_, ns) in self.spaces.knowing_mut(parent) {
            if !ns.may_announce(parent) {
                return Err(Errno::EPROTO);
            }
            let undo_group = if undo {
                ns.processes.get_mut(&parent).map(|process| *process.undo_group.get_or_insert(ask.token))
            } else {
                None
            };
            ns.last.change().fork += 1;
            let number = ns.last.fork;
            let holder = Holder::Fork(number);
            if ask.shares & request::SHARES_MEMORY == 0 {
                for (_, mechanism) in mechanism::all() {
                    mechanism.share(ns, parent, holder);
                }
            }
            ns.forks.insert(number, PendingFork { conn, token: ask.token, parent, holder, undo_group });
        }
        self.spaces.of(parent).note_done(parent, ask.note);
        Ok(())
    }

    /// Takes what a fork holds, in every namespace where its parent had something.
    fn take_fork(&mut self, conn: ConnId, token: u64) -> Vec<(Space, PendingFork)> {
        let it = |fork: &PendingFork| fork.conn.is_none_or(|its| its == conn) && fork.token == token;
        let of = |(space, ns): (Space, &mut Namespace)| {
            let number = ns.forks.iter().find(|(_, fork)| it(fork)).map(|(number, _)| *number)?;
            ns.forks.remove(&number).map(|fork| (space, fork))
        };
        self.spaces.all_mut().filter_map(of).collect()
    }

    /// Forked: the parent names the child. Only a child of its own is believed (B1).
    pub(crate) fn forked(&mut self, asked: &Request, packet: &Packet<'_>) -> Result<(), Errno> {
        let (ask, parent) = (packet.body::<request::Forked>()?, asked.creds.pid);
        let known =
            |ns: &Namespace| ns.forks.values().any(|fork| fork.token == ask.token && fork.parent == parent);
        if !self.spaces.all().any(|(_, ns)| known(ns)) {
            return Ok(());
        }
        let Some(child) = self.child_of(parent, ask.pid) else { return Ok(()) };
        for (space, fork) in self.take_fork(asked.conn, ask.token) {
            match child {
                0 => self.spaces.at_mut(space).inherit(fork.holder, None),
                child => self.inherit(space, child, asked.creds.uid, Some(fork)),
            }
        }
        Ok(())
    }

    /// Which process a parent names as its child; 0 for none, `None` for somebody else's.
    fn child_of(&self, parent: Pid, named: OwnPid) -> Option<Pid> {
        if named == OwnPid::NOBODY {
            return Some(0);
        }
        if self.spaces.of(parent).pids.is_nested(parent) {
            return pids::child(parent, named);
        }
        // The parent's numbers are the broker's. One that has been reaped has no parent any more.
        let other = parent_of(named.0).is_some_and(|its| its != parent);
        (!other).then_some(named.0)
    }

    /// Born: the child names itself.
    pub(crate) fn born(&mut self, asked: &Request, packet: &Packet<'_>) -> Result<(), Errno> {
        let (ask, child) = (packet.body::<request::Fork>()?, asked.creds.pid);
        let forks = self.take_fork(asked.conn, ask.token);
        if forks.is_empty() {
            // Its parent has named it before; or it has inherited nothing, and is known from now on.
            self.inherit(self.spaces.space(child), child, asked.creds.uid, None);
        }
        for (space, fork) in forks {
            if fork.parent == child {
                let Holder::Fork(number) = fork.holder else { continue };
                self.spaces.at_mut(space).forks.insert(number, fork);
            } else {
                self.inherit(space, child, asked.creds.uid, Some(fork));
            }
        }
        Ok(())
    }

    /// A child has what its fork holds.
    fn inherit(&mut self, space: Space, child: Pid, user: Uid, fork: Option<PendingFork>) {
        let new = self.spaces.knowing(child).next().is_none();
        let gone = !self.spaces.at(space).processes.contains_key(&child)
            && self.register(space, child, Image::New, user).is_err();
        if let Some(fork) = fork {
            let ns = self.spaces.at_mut(space);
            ns.inherit(fork.holder, Some(child));
            let mut shares = false;
            if let Some(process) = ns.processes.get_mut(&child) {
                process.undo_group = process.undo_group.or(fork.undo_group);
                shares = process.undo_group.is_some();
            }
            if shares || ns.limits().shm_rmid_forced != 0 {
                // It leaves adjustments, or its end takes a segment's key away (F2).
                ns.await_end(child);
            }
            if new && !gone {
                // Until the child says more, it is where its parent is.
                self.spaces.put(child, self.spaces.space(fork.parent));
            }
        }
        if gone {
            // It is dead and reaped already; or its user has so many processes that this one is not known: it has nothing then.
            self.spaces.at_mut(space).leave(child);
        }
    }
}
