//! Semaphore sets in the broker. semget(2), semctl(2); kernel: newary(), semctl_down(), semctl_stat(), semctl_info(), ipc/sem.c.

pub(crate) mod proxy;
mod sleep;
mod tell;
pub(crate) mod unshare;

use crate::abroad::View;
use crate::life::{End, Which};
use crate::mechanism::{Facts, Mechanism, Row};
use crate::namespace::{Namespace, Trouble};
use crate::object::lease::Room;
use crate::object::open::migrate;
use crate::object::{self, Home, Object, Perm};
use crate::policy::creds::Creds;
use crate::serve::sleepers::Call;
use crate::state::Sheet;
use ring3_abi::{Errno, IpcId, Kind, Pid};
use ring3_engine::directory::Writer;
use ring3_engine::sem::{Geometry, Set, Undo};
use ring3_engine::{Error, Result as Outcome};
use ring3_wire::request::{self, Get, Limit, ProcFile};
use sleep::Operating;

const KIND: Kind = Kind::Sem;

/// What the broker keeps beside the sets' regions.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Semaphores in all sets.
    used: u64,
}

impl State {
    /// The parts of the state: all of it follows from the sets' sizes.
    pub(crate) fn sheets(&mut self) -> [(u8, &mut dyn Sheet); 0] {
        []
    }
}

/// A set's region.
fn set(ns: &Namespace, id: IpcId) -> Outcome<Set<'_>> {
    let (region, geometry) = ns.region(KIND, id)?;
    Set::new(region, Geometry::decode(geometry).ok_or(Error::Spoiled)?)
}

/// How many operations a call may have, as a capacity.
fn semopm(ns: &Namespace) -> u32 {
    u32::try_from(ns.limits().semopm).unwrap_or(0)
}

/// The mechanism.
pub(crate) struct Sem;

impl Mechanism for Sem {
    fn facts(&self) -> &'static Facts {
        &Facts {
            most: Limit::Semmni,
            most_contents: Some(Limit::Semmns),
            next_id: Limit::SemNextId,
            table: ProcFile::SysvipcSem,
            head: tell::HEAD,
        }
    }

    fn check_size(&self, ns: &Namespace, ask: &Get) -> Result<(), Errno> {
        let fits = (0..=ns.limits().semmsl).contains(&ask.size.cast_signed());
        if fits { Ok(()) } else { Err(Errno::EINVAL) }
    }

    fn room(&self, ns: &Namespace) -> Option<Room> {
        let left = ns.limits().semmns.saturating_sub(ns.states.sem.used.cast_signed());
        Some(Room {
            all: u64::try_from(left).unwrap_or(0),
            one: u64::try_from(ns.limits().semmsl).unwrap_or(0),
        })
    }

    fn contents(&self, size: u64) -> u64 {
        size
    }

    fn create(&self, ns: &mut Namespace, creds: &Creds, ask: &Get) -> Result<IpcId, Errno> {
        if ask.size == 0 {
            return Err(Errno::EINVAL);
        }
        let room = ns.limits().semmns.saturating_sub(ns.states.sem.used.cast_signed());
        if ask.size.cast_signed() > room {
            return Err(Errno::ENOSPC);
        }
        let perm = Perm::new(creds, ask);
        let geometry = Geometry::for_set(u32::try_from(ask.size).map_err(|_| Errno::ENOMEM)?, semopm(ns));
        let home = ns.take_home(KIND, perm, geometry.encode(), geometry.len())?;
        let id = ns.add(KIND, creds, perm, ask.size, Some(home))?;
        ns.states.sem.used += ask.size;
        let formatted = set(ns, id).and_then(|set| set.format(id, ns.now()));
        ns.made(KIND, id, formatted)
    }

    fn set(&self, ns: &mut Namespace, _: &Creds, perm: Perm, ask: &request::Set) -> Result<(), Trouble> {
        let perm = perm.changed(ask)?;
        let object = ns.object(KIND, ask.id)?;
        if let Some(home) = object.home
            && object.perm.class(KIND) != perm.class(KIND)
        {
            migrate(ns, KIND, ask.id, perm, home.geometry)?;
        }
        ns.attempt(KIND, ask.id, |ns| set(ns, ask.id)?.set_ctime(&ns.host, ns.host.me, ns.now()))
    }

    fn remove(&self, ns: &mut Namespace, id: IpcId) -> Result<(), Trouble> {
        ns.remove_region(KIND, id, |ns| set(ns, id)?.remove(&ns.host, ns.host.me))
    }

    fn forgotten(&self, ns: &mut Namespace, _: IpcId, object: &Object) {
        ns.states.sem.used -= object.size;
    }

    fn stat(&self, ns: &mut Namespace, id: IpcId, view: &View) -> Result<Vec<u8>, Trouble> {
        tell::stat(ns, id, view)
    }

    fn info(&self, ns: &mut Namespace, usage: bool) -> Result<Vec<u8>, Trouble> {
        Ok(tell::info(ns, usage))
    }

    fn row(&self, ns: &mut Namespace, id: IpcId) -> Result<Row, Trouble> {
        tell::row(ns, id)
    }

    fn line(&self, ns: &mut Namespace, id: IpcId, view: &View) -> Result<String, Trouble> {
        tell::line(ns, id, view)
    }

    fn publish_totals(&self, ns: &Namespace, directory: Writer<'_>) {
        directory.set_used_sems(ns.states.sem.used);
    }

    fn region_len(&self, geometry: object::Geometry) -> Option<usize> {
        Geometry::decode(geometry).map(Geometry::len)
    }

    fn grown(&self, ns: &Namespace, geometry: object::Geometry) -> Option<object::Geometry> {
        Geometry::decode(geometry)?.grown(semopm(ns)).map(Geometry::encode)
    }

    fn move_to(&self, ns: &Namespace, id: IpcId, home: Home) -> Outcome<()> {
        let region = ns.arenas.region(home.range).ok_or(Error::Spoiled)?;
        let new = Set::new(region, Geometry::decode(home.geometry).ok_or(Error::Spoiled)?)?;
        set(ns, id)?.move_to(&ns.host, ns.host.me, new)
    }

    fn end_unlocked(&self, ns: &Namespace, home: Home) {
        let geometry = Geometry::decode(home.geometry).zip(ns.arenas.region(home.range));
        if let Some(Ok(set)) = geometry.map(|(geometry, region)| Set::new(region, geometry)) {
            set.end_unlocked(&ns.host);
        }
    }

    fn call(&self, _: &mut &[u8]) -> Option<Box<dyn Call>> {
        Some(Box::new(Operating))
    }

    /// Semaphores are counted again.
    fn derive(&self, ns: &mut Namespace) -> Option<()> {
        let used = ns.names(KIND).iter().map(|(_, object)| object.size).sum();
        ns.states.sem.used = used;
        Some(())
    }

    /// Adjustments (SEM_UNDO) are a process's: they outlive its image. A row without any counts, too: its owner's end is an operation.
    fn suspects(&self, ns: &Namespace, which: Which) -> Vec<Pid> {
        let ids = match which {
            Which::Id(id) => vec![id],
            _ => ns.names(Kind::Sem).iter().map(|(id, _)| id).filter(|&id| which.is(id)).collect(),
        };
        let sets = ids.into_iter().filter_map(|id| set(ns, id).ok());
        let doubtful = |set: Set<'_>| -> Vec<Pid> {
            set.doubtful(|life| ns.lives.borrow().is_held(life))
                .chain(set.doubtful_in_time(|life| ns.lives.borrow().is_held(life)))
                .collect()
        };
        let mut found: Vec<Pid> = sets.flat_map(doubtful).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    fn settle(&self, ns: &Namespace, id: IpcId, pid: Pid, end: End) -> Outcome<()> {
        let (undo, heir) = match end {
            End::Process => (Undo::Apply, ns.undo_heir(pid)),
            End::Image => (Undo::Keep, None),
        };
        let Some(heir) = heir else { return set(ns, id)?.settle(&ns.host, pid, ns.host.me, undo) };
        set(ns, id)?.settle(&ns.host, pid, ns.host.me, Undo::Keep)?;
        set(ns, id)?.hand_over(&ns.host, pid, heir, ns.host.me)
    }
}
