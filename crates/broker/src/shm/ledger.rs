//! What processes attach and detach by themselves: who may, and what their ledgers say (`engine/src/ledger.rs`).
//!
//! A process that has mapped a segment before can map it again without a descriptor, so nobody need be asked, as long as the directory's entry is what it
//! was when the broker allowed it. What it does it writes into the ledger in the page of its life.
//!
//! # Invariants
//! G1. A process's ledger is read before anything is done that could show what it says: before a request about segments or processes, a fork, an exec, an
//!     end, a removal. So [`read`] comes first in each of these.
//! G2. Entries of several processes take effect in the order of their stamps. Those with a stamp after the moment when reading began wait for the next
//!     time: nobody who was heard before that moment can know of them, and another that they follow from may have been missed.
//! G3. Whoever may attach a segment by itself is named in its row like those that have it attached, so that others look whether its ledger is read.
//! G4. How far a ledger is read is committed with what was read. The page says so after the commit: an entry is written over only when no broker needs it.
//! G5. A segment loses its last attachment, as far as that destroys it, only after its mode, or the limit that makes it go, stands in the directory and the
//!     ledgers were read after that: who attaches writes first and looks at the directory then, and takes it back if that has changed.
//!
//! # Death
//! Of the broker, before the commit: the next one reads the same entries. Of the process: what it has written comes before its end (`attach::leave`).

use super::{attach, rows};
use crate::host::monotonic;
use crate::life::Holder;
use crate::namespace::Namespace;
use crate::state::{Sheet, Table, keep, part};
use ring3_abi::{IpcId, Pid};
use ring3_engine::ledger::{Deed, Event, OWN_TOKEN, cross};
use ring3_engine::life::Life;
use std::collections::{BTreeMap, BTreeSet};

/// The most segments that one process may attach by itself.
const SEGMENTS: usize = 1024;
/// The most attachments of one process that it has made by itself: more than the kernel lets it map.
const ATTACHMENTS: u64 = 1 << 17;
/// A stamp so far ahead is not of the broker's clock (time namespaces), and says nothing; nanoseconds.
const AHEAD: u64 = 1_000_000_000;

/// Who attaches by itself.
#[derive(Debug, Default)]
pub(super) struct Ledgers {
    /// Which process may attach which segment (G3: `Segment::readers`).
    allowed: Table<(Pid, IpcId), ()>,
    /// Those processes' ledgers.
    read: Table<Pid, Reading>,
    /// Whose pages do not say yet how far they are read (G4).
    untold: BTreeSet<Pid>,
}

/// How a ledger is read.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    life: Life,
    /// Entries read.
    at: u64,
    /// Attachments that the process has made by itself.
    held: u64,
}
keep!(Reading { life, at, held });

impl Ledgers {
    /// The parts of the state, each with its number.
    pub(super) fn sheets(&mut self) -> [(u8, &mut dyn Sheet); 2] {
        let Ledgers { allowed, read, .. } = self;
        [(part::ALLOWED, allowed), (part::LEDGERS, read)]
    }

    /// Each process that may attach a segment, with the segment.
    pub(super) fn each(&self) -> impl Iterator<Item = (Pid, IpcId)> {
        self.allowed.keys().copied()
    }

    /// Nobody may attach a segment that has gone.
    pub(super) fn forget_segment(&mut self, id: IpcId, readers: &BTreeSet<Pid>) {
        readers.iter().for_each(|&pid| _ = self.allowed.remove(&(pid, id)));
    }

    /// All pages have to be told: another broker may not have come to it.
    pub(super) fn derive(&mut self) {
        self.untold.extend(self.read.keys());
    }

    /// What a process may attach by itself.
    pub(super) fn of(&self, pid: Pid) -> impl Iterator<Item = IpcId> {
        self.allowed.range((pid, IpcId::MIN)..=(pid, IpcId::MAX)).map(|(&(_, id), ())| id)
    }
}

/// Allows a process to attach a segment by itself from now on, and answers for which version of its entry; 0: it may not.
pub(super) fn allow(ns: &mut Namespace, pid: Pid, id: IpcId) -> u64 {
    let life = ns.processes.get(&pid).map_or(0, |process| process.life());
    if life == 0 || !ns.neighbours(pid).is_empty() {
        return 0;
    }
    let ledgers = &mut ns.states.shm.ledgers;
    if ledgers.read.get(&pid).is_none_or(|reading| reading.life != life) {
        let Some(at) = ns.lives.borrow().ledger(life).map(|ledger| ledger.written()) else { return 0 };
        let held = ledgers.read.get(&pid).map_or(0, |reading| reading.held);
        ledgers.read.insert(pid, Reading { life, at, held });
        ledgers.untold.insert(pid);
    }
    if !ledgers.allowed.contains_key(&(pid, id)) {
        if ledgers.of(pid).take(SEGMENTS).count() == SEGMENTS {
            return 0;
        }
        ledgers.allowed.insert((pid, id), ());
        if let Some(segment) = ns.states.shm.segments.derived_mut(&id) {
            segment.readers.insert(pid);
        }
    }
    ns.version(super::KIND, id)
}

/// A process attaches nothing by itself any more: its image has ended, or it is in another namespace. What its ledger says was read.
pub(super) fn end(ns: &mut Namespace, pid: Pid) {
    let ledgers = &mut ns.states.shm.ledgers;
    if ledgers.read.remove(&pid).is_none() {
        return;
    }
    let ids: Vec<IpcId> = ledgers.of(pid).collect();
    for &id in &ids {
        ns.states.shm.ledgers.allowed.remove(&(pid, id));
        if let Some(segment) = ns.states.shm.segments.derived_mut(&id) {
            segment.readers.remove(&pid);
        }
    }
    ids.into_iter().for_each(|id| rows::publish(ns, id));
}

/// Reads all ledgers (G1).
pub(super) fn read(ns: &mut Namespace) {
    if ns.states.shm.ledgers.read.is_empty() {
        return;
    }
    let events = gather(ns);
    if !events.is_empty() {
        apply(ns, &events);
    }
}

/// The same after something was written into the directory that has whoever attaches by itself ask from now on (G5).
pub(super) fn read_behind(ns: &mut Namespace) {
    cross();
    read(ns);
}

/// The pages say how far they are read (G4). All is committed.
pub(super) fn tell(ns: &mut Namespace) {
    let ledgers = &mut ns.states.shm.ledgers;
    let lives = ns.lives.borrow();
    for pid in std::mem::take(&mut ledgers.untold) {
        let Some(reading) = ledgers.read.get(&pid) else { continue };
        if let Some(ledger) = lives.ledger(reading.life) {
            ledger.set_read(reading.at);
        }
    }
}

/// Takes what can be taken, in the order in which it takes effect (G2).
fn gather(ns: &mut Namespace) -> Vec<(Pid, Event)> {
    let until = monotonic();
    let ledgers = &mut ns.states.shm.ledgers;
    let lives = ns.lives.borrow();
    let mut found = Vec::new();
    let mut news = Vec::new();
    for (&pid, reading) in ledgers.read.iter() {
        let Some(ledger) = lives.ledger(reading.life) else { continue };
        let mut at = reading.at;
        for (behind, event) in ledger.events(reading.at) {
            let stamp = event.map_or(0, |event| event.stamp);
            if stamp > until && stamp - until < AHEAD {
                break;
            }
            at = behind;
            found.extend(event.map(|event| (pid, event)));
        }
        if at != reading.at {
            news.push((pid, at));
        }
    }
    for (pid, at) in news {
        if let Some(reading) = ledgers.read.get_mut(&pid) {
            reading.at = at;
            ledgers.untold.insert(pid);
        }
    }
    // Those of one process are in order already, and stay so.
    found.sort_by_key(|(_, event)| event.stamp);
    found
}

fn apply(ns: &mut Namespace, events: &[(Pid, Event)]) {
    let now = ns.now();
    let mut passed = BTreeMap::new();
    let mut rest = events;
    while let [(pid, event), behind @ ..] = rest {
        rest = behind;
        let time = event.time.clamp(0, now);
        let ends = |(other, next): &&(Pid, Event)| {
            event.deed == Deed::Attach
                && (other, next.token) == (pid, event.token)
                && next.deed != Deed::Attach
        };
        match behind.first().filter(ends) {
            Some((_, next)) => {
                rest = behind.get(1..).unwrap_or_default();
                if next.deed == Deed::Detach && is_allowed(ns, *pid, event) {
                    let segment = ns.states.shm.segments.get_mut(&event.id);
                    segment
                        .into_iter()
                        .for_each(|segment| segment.passed(*pid, time, next.time.clamp(0, now)));
                    passed.insert(event.id, ());
                }
            }
            None => one(ns, *pid, event, time),
        }
    }
    passed.into_keys().for_each(|id| rows::publish(ns, id));
}

fn is_allowed(ns: &Namespace, pid: Pid, event: &Event) -> bool {
    let is_new = event.token & OWN_TOKEN != 0 && !attach::is_held(ns, Holder::Process(pid), event.token);
    is_new && ns.states.shm.ledgers.allowed.contains_key(&(pid, event.id))
}

/// Does what an entry says, if the process may.
fn one(ns: &mut Namespace, pid: Pid, event: &Event, time: i64) {
    match event.deed {
        Deed::Attach => {
            let ledgers = &ns.states.shm.ledgers;
            let has_room = ledgers.read.get(&pid).is_some_and(|reading| reading.held < ATTACHMENTS);
            if has_room && is_allowed(ns, pid, event) {
                count(ns, pid, |held| held + 1);
                attach::attach_as(ns, pid, event.id, event.token, time);
            }
        }
        deed => {
            if attach::end_of(ns, pid, event.token, deed == Deed::Undo, time).is_ok()
                && event.token & OWN_TOKEN != 0
            {
                count(ns, pid, |held| held.saturating_sub(1));
            }
        }
    }
}

fn count(ns: &mut Namespace, pid: Pid, change: impl Fn(u64) -> u64) {
    if let Some(reading) = ns.states.shm.ledgers.read.get_mut(&pid) {
        reading.held = change(reading.held);
    }
}
