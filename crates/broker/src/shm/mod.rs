//! Shared memory segments in the broker. shmget(2), shmctl(2); kernel: newseg(), shmctl_down(), do_shm_rmid(), ipc/shm.c.
//!
//! # Invariants
//! S1. `segments` has an entry for each segment that has a name, and for no other.

pub(crate) mod again;
pub(crate) mod attach;
pub(crate) mod lock;
mod rows;
mod segment;
mod tell;

use crate::abroad::View;
use crate::ledgers;
use crate::life::{Holder, Which};
use crate::mechanism::{Facts, Mechanism, Row};
use crate::namespace::{Namespace, Trouble};
use crate::object::lease::Room;
use crate::object::{Object, Perm};
use crate::policy::creds::Creds;
use crate::state::{Sheet, Table, part};
use ring3_abi::shm::SHM_DEST;
use ring3_abi::{Errno, IpcId, Kind, Pid};
use ring3_engine::directory::Writer;
use ring3_engine::ledger::Event;
use ring3_wire::request::{Get, Limit, ProcFile, Set};
use segment::{PAGE, Segment, pages_in};
use std::collections::BTreeSet;

const KIND: Kind = Kind::Shm;

/// What the broker keeps of segments: nobody else knows anything of them.
#[derive(Debug, Default)]
pub(crate) struct State {
    segments: Table<IpcId, Segment>,
    attachments: attach::Attachments,
    again: again::Again,
    /// Pages of all segments.
    pages: u64,
    locked: lock::LockedPages,
}

impl State {
    /// The parts of the state, each with its number.
    pub(crate) fn sheets(&mut self) -> impl Iterator<Item = (u8, &mut dyn Sheet)> {
        let State { segments, attachments, again, .. } = self;
        let segments: &mut dyn Sheet = segments;
        std::iter::once((part::SEGMENTS, segments)).chain(attachments.sheets()).chain(again.sheets())
    }
}

/// The mechanism.
pub(crate) struct Shm;

impl Mechanism for Shm {
    fn facts(&self) -> &'static Facts {
        &Facts {
            most: Limit::Shmmni,
            most_contents: Some(Limit::Shmall),
            next_id: Limit::ShmNextId,
            table: ProcFile::SysvipcShm,
            head: tell::HEAD,
        }
    }

    fn contents(&self, size: u64) -> u64 {
        pages_in(size)
    }

    fn create(&self, ns: &mut Namespace, creds: &Creds, ask: &Get) -> Result<IpcId, Errno> {
        let limits = ns.limits();
        if ask.size < 1 || ask.size > limits.shmmax {
            return Err(Errno::EINVAL);
        }
        let total = ns.states.shm.pages.checked_add(pages_in(ask.size));
        let total = total.filter(|&total| total <= limits.shmall).ok_or(Errno::ENOSPC)?;
        if ask.size.checked_next_multiple_of(PAGE).is_none() {
            return Err(Errno::ENOSPC);
        }
        let segment = Segment::create(ask.key, ask.size, ask.flags, creds, ns.now())?;
        let id = ns.add(KIND, creds, Perm::new(creds, ask), ask.size, None)?;
        ns.states.shm.segments.insert(id, segment);
        ns.states.shm.pages = total;
        Ok(id)
    }

    fn set(&self, ns: &mut Namespace, _: &Creds, perm: Perm, ask: &Set) -> Result<(), Trouble> {
        let (perm, now) = (perm.changed(ask)?, ns.now());
        ns.object_mut(KIND, ask.id)?.perm = perm;
        if let Some(segment) = ns.states.shm.segments.get_mut(&ask.id) {
            segment.ctime = now;
        }
        ns.publish(KIND, ask.id);
        Ok(())
    }

    /// A segment goes with its last attachment. kernel: do_shm_rmid().
    fn remove(&self, ns: &mut Namespace, id: IpcId) -> Result<(), Trouble> {
        let object = ns.object_mut(KIND, id)?;
        object.perm.mode |= SHM_DEST;
        object.perm.key = ring3_abi::ipc::IPC_PRIVATE;
        ns.names_mut(KIND).forget_key(id);
        ns.publish(KIND, id);
        ledgers::read_behind(ns);
        attach::destroy_if_due(ns, id);
        Ok(())
    }

    fn forgotten(&self, ns: &mut Namespace, id: IpcId, _: &Object) {
        let shm = &mut ns.states.shm;
        let Some(segment) = shm.segments.remove(&id) else { return };
        let pages = pages_in(segment.size);
        shm.pages -= pages;
        shm.again.forget_segment(id, &segment.readers);
        if let Some(locked) = &segment.locked {
            shm.locked.give_back(locked.user, pages);
        }
    }

    fn stat(&self, ns: &mut Namespace, id: IpcId, view: &View) -> Result<Vec<u8>, Trouble> {
        Ok(tell::stat(ns, id, view)?)
    }

    fn info(&self, ns: &mut Namespace, usage: bool) -> Result<Vec<u8>, Trouble> {
        Ok(if usage { tell::usage(ns) } else { tell::limits(ns) })
    }

    fn row(&self, ns: &mut Namespace, id: IpcId) -> Result<Row, Trouble> {
        Ok(tell::row(ns, id)?)
    }

    fn line(&self, ns: &mut Namespace, id: IpcId, view: &View) -> Result<String, Trouble> {
        Ok(tell::line(ns, id, view)?)
    }

    fn publish_totals(&self, ns: &Namespace, directory: Writer<'_>) {
        directory.set_shm_pages(ns.states.shm.pages);
    }

    fn publishing(&self, directory: Writer<'_>, index: usize) {
        // No index is beyond the directory's end.
        let _ = directory.hold_segment(index);
    }

    fn published(&self, ns: &Namespace, directory: Writer<'_>, index: usize, id: IpcId) {
        rows::put(ns, directory, index, id);
    }

    fn seen_otherwise(&self, ns: &Namespace, pid: Pid) {
        rows::publish_of(ns, pid);
    }

    /// Pages and holders are counted again, and pages under SHM_LOCK kept again.
    fn derive(&self, ns: &mut Namespace) -> Option<()> {
        let shm = &mut ns.states.shm;
        for (holder, id) in shm.attachments.each() {
            *shm.segments.derived_mut(&id)?.holders.entry(holder).or_default() += 1;
        }
        for (pid, id) in shm.again.each() {
            shm.segments.derived_mut(&id)?.readers.insert(pid);
        }
        for (_, segment) in shm.segments.all_derived_mut() {
            let pages = pages_in(segment.size);
            shm.pages += pages;
            if let Some(user) = segment.lock_again() {
                shm.locked.take(user, pages);
            }
        }
        Some(())
    }

    fn done_alone(
        &self,
        ns: &mut Namespace,
        pid: Pid,
        event: &Event,
        next: Option<&Event>,
        changed: &mut BTreeSet<(Kind, IpcId)>,
    ) -> bool {
        again::apply(ns, pid, event, next, changed)
    }

    fn show(&self, ns: &Namespace, id: IpcId) {
        rows::publish(ns, id);
    }

    fn depart(&self, ns: &mut Namespace, pid: Pid) {
        again::end(ns, pid);
    }

    /// Segments that the machine would not refuse for their size alone.
    fn room(&self, ns: &Namespace) -> Option<Room> {
        const LARGEST: u64 = 1 << 20;
        let left = ns.limits().shmall.saturating_sub(ns.states.shm.pages);
        Some(Room { all: left.min(LARGEST / PAGE), one: ns.limits().shmmax.min(LARGEST) })
    }

    fn suspects(&self, ns: &Namespace, which: Which) -> Vec<Pid> {
        let shm = &ns.states.shm;
        let one = match which {
            Which::Id(id) => Some(id),
            Which::Index(index) => i32::try_from(index).ok().and_then(|index| ns.names(KIND).at(index)),
            Which::All => return shm.attachments.processes(),
        };
        // Who asks about one need not look at what all have.
        one.and_then(|id| shm.segments.get(&id)).map_or_else(Vec::new, Segment::processes)
    }

    fn number_tokens(&self, ns: &mut Namespace, number: u64) {
        ns.states.shm.attachments.number(number);
    }

    fn share(&self, ns: &mut Namespace, parent: Pid, fork: Holder) {
        attach::share(ns, parent, fork);
    }

    fn inherit(&self, ns: &mut Namespace, fork: Holder, child: Option<Pid>) {
        attach::inherit(ns, fork, child);
    }

    fn leave(&self, ns: &mut Namespace, pid: Pid) {
        attach::leave(ns, pid);
    }

    fn orphan(&self, ns: &mut Namespace, pid: Pid) {
        attach::orphan(ns, pid);
    }

    fn limits_changed(&self, ns: &mut Namespace) {
        if ns.limits().shm_rmid_forced != 0 {
            ledgers::read_behind(ns);
            ns.processes.keys().for_each(|&pid| ns.await_end(pid));
            attach::destroy_orphans(ns);
        }
    }

    /// Keeps the pages that segments under SHM_LOCK got since.
    fn refresh(&self, ns: &Namespace) -> bool {
        let any = ns.states.shm.locked.any();
        if any {
            ns.states.shm.segments.values().for_each(Segment::refresh);
        }
        any
    }
}
