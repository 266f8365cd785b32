//! What processes do without asking, as their ledgers say (`engine/src/ledger.rs`): attaching and detaching (`Mechanism::done_alone`), making and removing private
//! objects (`object/lease.rs`).
//!
//! # Invariants
//! G1. A process's ledger is read before anything is done that could show what it says: before a request, but for those that have to do with a region alone, a
//!     fork, an exec, an end, a removal. So [`read`] comes first in each of these.
//! G2. Entries of several processes take effect in the order of their stamps. Those with a stamp after the moment when reading began wait for the next
//!     time: nobody who was heard before that moment can know of them, and another that they follow from may have been missed.
//! G3. How far a ledger is read is committed with what was read. The page says so after the commit: an entry is written over only when no broker needs it.
//! G4. Who does something alone writes first and looks then whether the directory allows it still, and takes it back if not. The broker changes the directory
//!     first and reads then ([`read_behind`]). So nothing is done against a directory that had changed before.
//!
//! # Death
//! Of the broker, before the commit: the next one reads the same entries. Of the process: what it has written comes before its end.

use crate::host::monotonic;
use crate::mechanism;
use crate::namespace::Namespace;
use crate::object::{ctl, lease};
use crate::state::{Sheet, Table, keep};
use ring3_abi::{IpcId, Kind, Pid};
use ring3_engine::ledger::{Deed, Event, cross};
use ring3_engine::life::Life;
use std::collections::{BTreeMap, BTreeSet};

/// A stamp so far ahead is not of the broker's clock (time namespaces), and says nothing; nanoseconds.
const AHEAD: u64 = 1_000_000_000;

/// The ledgers that are read.
#[derive(Debug, Default)]
pub(crate) struct Ledgers {
    read: Table<Pid, Reading>,
    /// Whose pages do not say yet how far they are read (G3).
    untold: BTreeSet<Pid>,
    /// What is to be removed when all that was gathered has taken effect: that may read ledgers itself.
    due: Vec<(Kind, IpcId)>,
}

/// How a ledger is read.
#[derive(Clone, Copy, Debug)]
struct Reading {
    life: Life,
    /// Entries read.
    at: u64,
}
keep!(Reading { life, at });

impl Ledgers {
    /// The part of the state.
    pub(crate) fn sheet(&mut self) -> &mut dyn Sheet {
        &mut self.read
    }

    /// All pages have to be told: another broker may not have come to it.
    pub(crate) fn derive(&mut self) {
        self.untold.extend(self.read.keys());
    }

    /// An entry says that an object was removed.
    pub(crate) fn remove_soon(&mut self, kind: Kind, id: IpcId) {
        self.due.push((kind, id));
    }
}

/// Sees to it that a process's ledger is read, and answers its life; `None`: nobody could know whether it is.
pub(crate) fn begin(ns: &mut Namespace, pid: Pid) -> Option<Life> {
    let life = ns.processes.get(&pid).map_or(0, |process| process.life());
    if life == 0 || !ns.neighbours(pid).is_empty() {
        return None;
    }
    let ledgers = &mut ns.ledgers;
    if ledgers.read.get(&pid).is_none_or(|reading| reading.life != life) {
        let at = ns.lives.borrow().ledger(life)?.written();
        ledgers.read.insert(pid, Reading { life, at });
        ledgers.untold.insert(pid);
    }
    Some(life)
}

/// A process does nothing alone any more: its image has ended, or it is in another namespace. What its ledger says was read.
pub(crate) fn end(ns: &mut Namespace, pid: Pid) {
    ns.ledgers.read.remove(&pid);
}

/// Reads all ledgers (G1).
pub(crate) fn read(ns: &mut Namespace) {
    if ns.ledgers.read.is_empty() {
        return;
    }
    let events = gather(ns);
    if !events.is_empty() {
        apply(ns, &events);
    }
}

/// The same after the directory was changed (G4).
pub(crate) fn read_behind(ns: &mut Namespace) {
    cross();
    read(ns);
}

/// The pages say how far they are read (G3). All is committed.
pub(crate) fn tell(ns: &mut Namespace) {
    let lives = ns.lives.borrow();
    for pid in std::mem::take(&mut ns.ledgers.untold) {
        let Some(reading) = ns.ledgers.read.get(&pid) else { continue };
        if let Some(ledger) = lives.ledger(reading.life) {
            ledger.set_read(reading.at);
        }
    }
}

/// Takes what can be taken, in the order in which it takes effect (G2).
fn gather(ns: &mut Namespace) -> Vec<(Pid, Event)> {
    let until = monotonic();
    let ledgers = &mut ns.ledgers;
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
    let passing = passing(events);
    let mut changed = BTreeSet::new();
    let mut rest = events;
    while let [(pid, event), behind @ ..] = rest {
        rest = behind;
        let name = (*pid, event.kind, event.id);
        ns.as_of = Some(event.time.clamp(0, ns.host_now()));
        match event.deed {
            Deed::Attach | Deed::Detach | Deed::Undo => {
                let next = behind.first().filter(|(other, _)| other == pid).map(|(_, next)| next);
                if mechanism::of(event.kind).done_alone(ns, *pid, event, next, &mut changed) {
                    rest = behind.get(1..).unwrap_or_default();
                }
            }
            Deed::Make => match passing.get(&name) {
                None => lease::made(ns, *pid, event),
                Some(Deed::Unmake) => {}
                Some(_) => lease::passed(ns, *pid, event),
            },
            _ if passing.contains_key(&name) => {}
            _ => lease::removed(ns, *pid, event),
        }
        ns.as_of = None;
    }
    changed.into_iter().for_each(|(kind, id)| mechanism::of(kind).show(ns, id));
    for (kind, id) in std::mem::take(&mut ns.ledgers.due) {
        ctl::remove_at_once(ns, kind, id);
    }
}

/// What was made and removed again, or taken back, and nobody has seen: with the second deed.
fn passing(events: &[(Pid, Event)]) -> BTreeMap<(Pid, Kind, IpcId), Deed> {
    let name = |(pid, event): &(Pid, Event)| (*pid, event.kind, event.id);
    let gone = events.iter().filter(|(_, event)| matches!(event.deed, Deed::Remove | Deed::Unmake));
    let mut gone: BTreeMap<_, _> = gone.map(|entry| (name(entry), entry.1.deed)).collect();
    if !gone.is_empty() {
        let made = events.iter().filter(|(_, event)| event.deed == Deed::Make);
        let made: BTreeSet<_> = made.map(name).collect();
        gone.retain(|name, _| made.contains(name));
    }
    gone
}
