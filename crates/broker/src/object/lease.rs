//! Leases of identifiers: a process that makes objects one after the other gives them their identifiers itself, and writes what it does into its ledger
//! (`ledgers.rs`). Nobody else can make one of the kind meanwhile, so whoever has the lease knows which keys there are. One that is made and removed before anybody asks is never made here.
//!
//! # Invariants
//! L1. A kind's next identifiers are leased to one process at most. They are what `names` would give next, so everybody sees the order that there
//!     would be without leases.
//! L2. Before anybody else is given an identifier, an object is removed on which it depends, or a limit changes, the lease is taken back: the directory's turn changes, and the
//!     ledgers are read after that (G4).
//! L3. What was leased is bounded when the lease is given, by every limit that there is; so what is made alone could have been made by asking.
//! L4. What is made has the owner that the process had when it was given the lease. One that gives up its rights has given up its lease in its own eyes; a
//!     dishonest one can still make what is left of it, a few private objects, as it could have before.

use crate::ledgers;
use crate::mechanism;
use crate::namespace::Namespace;
use crate::policy::creds::Creds;
use crate::state::keep;
use ring3_abi::ipc::{IPC_PRIVATE, MIN_CYCLE, index_of};
use ring3_abi::{Gid, IpcId, Kind, Pid, Uid};
use ring3_engine::ledger::{Event, new_of};
use ring3_wire::reply;
use ring3_wire::request::Get;

/// The most identifiers in a lease.
const MOST: u32 = 48;

/// A lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pid: Pid,
    uid: Uid,
    gid: Gid,
    first: IpcId,
    count: u32,
    largest: u64,
}
keep!(Lease { pid, uid, gid, first, count, largest });

impl Lease {
    fn has(&self, id: IpcId) -> bool {
        id.checked_sub(self.first).is_some_and(|n| (0..self.count as i32).contains(&n))
    }
}

/// How much all objects of a lease may hold together, in the unit of the kind's limit, and the largest size of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) all: u64,
    pub(crate) one: u64,
}

/// Gives a process the next identifiers of a kind, if that can be.
pub(crate) fn give(ns: &mut Namespace, creds: &Creds, kind: Kind) -> Option<reply::Lease> {
    let mechanism = mechanism::of(kind);
    let room = mechanism.room(ns)?;
    let limits = ns.limits();
    let most = usize::try_from(limits.get(mechanism.facts().most)).ok()?;
    // What a user with a share may make depends on what others make meanwhile.
    if limits.get(mechanism.facts().next_id) >= 0 || !ns.host.quota.is_exempt(creds.uid) {
        return None;
    }
    let (first, count) = ns.names(kind).run(most, MOST)?;
    let life = ledgers::begin(ns, creds.pid)?;
    let turn = ns.directory()?.lease(kind, life);
    let lease = Lease { pid: creds.pid, uid: creds.uid, gid: creds.gid, first, count, largest: room.one };
    ns.leases.insert(kind as u8, lease);
    Some(reply::Lease { turn, room: room.all, largest: room.one, first, count })
}

/// Takes the lease of a kind back, if anybody has it (L2).
pub(crate) fn take_back(ns: &mut Namespace, kind: Kind) {
    if !ns.leases.contains_key(&(kind as u8)) {
        return;
    }
    if let Some(directory) = ns.directory() {
        directory.end_lease(kind);
    }
    ledgers::read_behind(ns);
    // Not before everything is shown that was made: who finds no lessee looks nowhere else.
    if let Some(directory) = ns.directory() {
        directory.forget_lessee(kind);
    }
    ns.leases.remove(&(kind as u8));
}

/// Before an object is removed by request: its name may be one that a process believes to be its own still, and with one object fewer the cycle of indexes may
/// end earlier.
pub(crate) fn before_removal(ns: &mut Namespace, kind: Kind, id: IpcId) {
    // Who looks for a key while another is taken out of its chain may miss it.
    let has_key = ns.object(kind, id).is_ok_and(|object| object.perm.key != IPC_PRIVATE);
    let touches = |lease: &Lease| {
        let behind = index_of(lease.first).map_or(usize::MAX, |first| first + lease.count as usize);
        has_key || lease.has(id) || behind > MIN_CYCLE
    };
    if ns.leases.get(&(kind as u8)).is_some_and(touches) {
        take_back(ns, kind);
    }
}

/// Takes back whatever a process has. What its ledger says was read.
pub(crate) fn end(ns: &mut Namespace, pid: Pid) {
    for kind in Kind::ALL {
        if ns.leases.get(&(kind as u8)).is_some_and(|lease| lease.pid == pid) {
            take_back(ns, kind);
        }
    }
}

/// The lease that allows an entry.
fn lease_of(ns: &Namespace, pid: Pid, event: &Event) -> Option<Lease> {
    ns.leases.get(&(event.kind as u8)).copied().filter(|lease| lease.pid == pid && lease.has(event.id))
}

/// Something was made, and is made here now that somebody may ask for it.
pub(crate) fn made(ns: &mut Namespace, pid: Pid, event: &Event) {
    let (size, key) = new_of(event.token);
    let Some(lease) = lease_of(ns, pid, event).filter(|lease| size <= lease.largest) else { return };
    if key != IPC_PRIVATE && ns.names(event.kind).by_key(key).is_some() {
        return;
    }
    if ns.names(event.kind).run(usize::MAX, 1).is_none_or(|(next, _)| next != event.id) {
        return;
    }
    let (kind, creds) = (event.kind, Creds::new(pid, 0, lease.uid, lease.gid));
    let flags = i32::from(event.mode);
    let ask = Get { kind: kind.into(), key, flags, lease: 0, size };
    // What the machine has no memory for is not there.
    if let Ok(id) = mechanism::of(kind).create(ns, &creds, &ask) {
        if let Ok(object) = ns.object_mut(kind, id) {
            object.leased = true;
        }
        ns.publish(kind, id);
    }
}

/// Something was made and removed, and nobody has seen it.
pub(crate) fn passed(ns: &mut Namespace, pid: Pid, event: &Event) {
    if lease_of(ns, pid, event).is_some() {
        ns.names_mut(event.kind).pass(event.id);
    }
}

/// Something that was made so was removed. The lease may be over by now.
pub(crate) fn removed(ns: &mut Namespace, pid: Pid, event: &Event) {
    let is_its = ns.object(event.kind, event.id).is_ok_and(|object| object.leased && object.creator == pid);
    if is_its {
        ns.ledgers.remove_soon(event.kind, event.id);
    }
}
