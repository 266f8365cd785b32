//! fork(2): what a child has of its parent. Fork, Forked, Born. kernel: dup_mmap(), shm_open().
//!
//! A parent announces a fork, for what it holds counts for the child from that moment; then the parent names the child or the child names
//! itself, whichever is heard first.
//!
//! # Invariants
//! F1. What a fork holds is held once: by the fork while its child is not known, then by the child. A fork whose child can never be known any
//!     more gives it back.

use super::process::{ConnId, Image, parent_of};
use crate::mechanism;
use crate::namespace::Namespace;
use crate::serve::Server;
use crate::serve::client::Request;
use ring3_abi::{Errno, Pid};
use ring3_wire::{Packet, request};

/// Who holds what the mechanisms let processes have (attachments).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    Process(Pid),
    /// A fork, by the number that it has in this namespace.
    Fork(u64),
}

/// A fork announced by its parent whose child is not known yet.
#[derive(Debug)]
pub(crate) struct PendingFork {
    pub(crate) conn: ConnId,
    pub(crate) token: u64,
    pub(crate) parent: Pid,
    /// What its child will have.
    pub(crate) holder: Holder,
    /// Whom its child will owe together with.
    undo_group: Option<u64>,
}

impl Namespace {
    /// A fork's child is known, or (`None`) will never be.
    pub(crate) fn inherit(&mut self, fork: Holder, child: Option<Pid>) {
        for (_, mechanism) in mechanism::all() {
            mechanism.inherit(self, fork, child);
        }
    }
}

impl Server {
    /// Fork: what the parent holds counts for the child from now on. kernel: shm_open(), run by the parent.
    pub(crate) fn fork(&mut self, asked: &Request, packet: &Packet<'_>) -> Result<(), Errno> {
        let (ask, parent) = (packet.body::<request::Fork>()?, asked.creds.pid);
        let Some(process) = self.ns.processes.get_mut(&parent) else { return Ok(()) };
        let undo_group =
            (ask.shares & request::SHARES_UNDO != 0).then(|| *process.undo_group.get_or_insert(ask.token));
        self.ns.last_fork += 1;
        let holder = Holder::Fork(self.ns.last_fork);
        if ask.shares & request::SHARES_MEMORY == 0 {
            for (_, mechanism) in mechanism::all() {
                mechanism.share(&mut self.ns, parent, holder);
            }
        }
        self.ns.forks.push(PendingFork { conn: asked.conn, token: ask.token, parent, holder, undo_group });
        Ok(())
    }

    fn take_fork(&mut self, conn: ConnId, token: u64) -> Option<PendingFork> {
        let at = self.ns.forks.iter().position(|fork| fork.conn == conn && fork.token == token)?;
        Some(self.ns.forks.swap_remove(at))
    }

    /// Forked: the parent names the child. Only a child of its own is believed (B1).
    pub(crate) fn forked(&mut self, asked: &Request, packet: &Packet<'_>) -> Result<(), Errno> {
        let (ask, parent) = (packet.body::<request::Forked>()?, asked.creds.pid);
        let known = self.ns.forks.iter().any(|fork| fork.token == ask.token && fork.parent == parent);
        let grandparent = parent_of(ask.pid);
        if !known || ask.pid != 0 && grandparent.is_some_and(|its| its != parent) {
            return Ok(());
        }
        let Some(fork) = self.take_fork(asked.conn, ask.token) else { return Ok(()) };
        match ask.pid {
            0 => self.ns.inherit(fork.holder, None),
            child => self.inherit(child, Some(fork)),
        }
        Ok(())
    }

    /// Born: the child names itself.
    pub(crate) fn born(&mut self, asked: &Request, packet: &Packet<'_>) -> Result<(), Errno> {
        let (ask, child) = (packet.body::<request::Fork>()?, asked.creds.pid);
        match self.take_fork(asked.conn, ask.token) {
            Some(fork) if fork.parent != child => self.inherit(child, Some(fork)),
            Some(fork) => self.ns.forks.push(fork),
            // Its parent has named it before; or it has inherited nothing, and is known from now on.
            None => self.inherit(child, None),
        }
        Ok(())
    }

    /// A child has what its fork holds.
    fn inherit(&mut self, child: Pid, fork: Option<PendingFork>) {
        let gone = !self.ns.processes.contains_key(&child) && self.register(child, Image::New).is_err();
        if let Some(fork) = fork {
            self.ns.inherit(fork.holder, Some(child));
            if let Some(process) = self.ns.processes.get_mut(&child) {
                process.undo_group = process.undo_group.or(fork.undo_group);
            }
        }
        if gone {
            // It is dead and reaped already.
            self.ns.leave(child);
        }
    }
}
