//! What processes attach and detach by themselves: who may, and what their ledgers say (`ledgers.rs`).
//!
//! A process that has mapped a segment before can map it again without a descriptor, so nobody need be asked, as long as the directory's entry is what it
//! was when the broker allowed it.
//!
//! # Invariants
//! A1. Whoever may attach a segment by itself is named in its row like those that have it attached, so that others look whether its ledger is read.
//! A2. A segment loses its last attachment, as far as that destroys it, only after its mode, or the limit that makes it go, stands in the directory and the
//!     ledgers were read after that (G4).

use super::{KIND, attach, rows};
use crate::ledgers;
use crate::life::Holder;
use crate::namespace::Namespace;
use crate::state::{Sheet, Table, part};
use ring3_abi::{IpcId, Kind, Pid};
use ring3_engine::ledger::{Deed, Event, OWN_TOKEN};
use std::collections::BTreeSet;

/// The most segments that one process may attach by itself.
const SEGMENTS: usize = 1024;
/// The most attachments of one process that it has made by itself: more than the kernel lets it map.
const ATTACHMENTS: u64 = 1 << 17;

/// Who attaches by itself.
#[derive(Debug, Default)]
pub(super) struct Again {
    /// Which process may attach which segment (A1: `Segment::readers`).
    allowed: Table<(Pid, IpcId), ()>,
    /// How many attachments each has made.
    held: Table<Pid, u64>,
}

impl Again {
    /// The parts of the state, each with its number.
    pub(super) fn sheets(&mut self) -> [(u8, &mut dyn Sheet); 2] {
        let Again { allowed, held } = self;
        [(part::ALLOWED, allowed), (part::MADE_ALONE, held)]
    }

    /// Each process that may attach a segment, with the segment.
    pub(super) fn each(&self) -> impl Iterator<Item = (Pid, IpcId)> {
        self.allowed.keys().copied()
    }

    /// Nobody may attach a segment that has gone.
    pub(super) fn forget_segment(&mut self, id: IpcId, readers: &BTreeSet<Pid>) {
        readers.iter().for_each(|&pid| _ = self.allowed.remove(&(pid, id)));
    }

    /// What a process may attach by itself.
    pub(super) fn of(&self, pid: Pid) -> impl Iterator<Item = IpcId> {
        self.allowed.range((pid, IpcId::MIN)..=(pid, IpcId::MAX)).map(|(&(_, id), ())| id)
    }

    fn count(&mut self, pid: Pid, change: impl Fn(u64) -> u64) {
        let held = self.held.get(&pid).map_or(0, |held| *held);
        self.held.insert(pid, change(held));
    }
}

/// Allows a process to attach a segment by itself from now on, and answers for which version of its entry; 0: it may not.
pub(super) fn allow(ns: &mut Namespace, pid: Pid, id: IpcId) -> u64 {
    if ledgers::begin(ns, pid).is_none() {
        return 0;
    }
    let again = &mut ns.states.shm.again;
    if !again.allowed.contains_key(&(pid, id)) {
        if again.of(pid).take(SEGMENTS).count() == SEGMENTS {
            return 0;
        }
        again.allowed.insert((pid, id), ());
        if let Some(segment) = ns.states.shm.segments.derived_mut(&id) {
            segment.readers.insert(pid);
        }
    }
    ns.version(KIND, id)
}

/// A process attaches nothing by itself any more. What its ledger says was read.
pub(super) fn end(ns: &mut Namespace, pid: Pid) {
    let again = &mut ns.states.shm.again;
    again.held.remove(&pid);
    let ids: Vec<IpcId> = again.of(pid).collect();
    for &id in &ids {
        ns.states.shm.again.allowed.remove(&(pid, id));
        if let Some(segment) = ns.states.shm.segments.derived_mut(&id) {
            segment.readers.remove(&pid);
        }
    }
    ids.into_iter().for_each(|id| rows::publish(ns, id));
}

/// Does what an entry says, if the process may. Answers whether `next`, which follows it, is done with it: it takes back what this did, and nobody has
/// seen it in between. What is to be published then is noted.
pub(super) fn apply(
    ns: &mut Namespace,
    pid: Pid,
    event: &Event,
    next: Option<&Event>,
    changed: &mut BTreeSet<(Kind, IpcId)>,
) -> bool {
    let ends = |next: &&Event| matches!(next.deed, Deed::Detach | Deed::Undo) && next.token == event.token;
    match next.filter(|next| event.deed == Deed::Attach && ends(next)) {
        Some(next) => {
            if next.deed == Deed::Detach && is_allowed(ns, pid, event) {
                let (atime, dtime) = (ns.now(), next.time.clamp(0, ns.host_now()));
                let segment = ns.states.shm.segments.get_mut(&event.id);
                segment.into_iter().for_each(|segment| segment.passed(pid, atime, dtime));
                changed.insert((KIND, event.id));
            }
            true
        }
        None => {
            one(ns, pid, event);
            false
        }
    }
}

fn is_allowed(ns: &Namespace, pid: Pid, event: &Event) -> bool {
    let is_new = event.token & OWN_TOKEN != 0 && !attach::is_held(ns, Holder::Process(pid), event.token);
    is_new && ns.states.shm.again.allowed.contains_key(&(pid, event.id))
}

fn one(ns: &mut Namespace, pid: Pid, event: &Event) {
    if event.deed == Deed::Attach {
        let again = &mut ns.states.shm.again;
        let has_room = again.held.get(&pid).is_none_or(|&held| held < ATTACHMENTS);
        if has_room && is_allowed(ns, pid, event) {
            ns.states.shm.again.count(pid, |held| held + 1);
            attach::attach_as(ns, pid, event.id, event.token);
        }
    } else if attach::end_of(ns, pid, event.token, event.deed == Deed::Undo).is_ok()
        && event.token & OWN_TOKEN != 0
    {
        ns.states.shm.again.count(pid, |held| held.saturating_sub(1));
    }
}
