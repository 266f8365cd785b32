//! A namespace's state, and the few operations that every handler needs.
//!
//! # Invariants
//! S1. The directory says what `names` says; whoever changes an object publishes it before anybody is answered.

use crate::abroad::Pids;
use crate::abroad::place::Place;
use crate::failure::errno;
use crate::host::BrokerHost;
use crate::ledgers::{self, Ledgers};
use crate::life::lives::Lives;
use crate::life::{End, PendingFork, Process};
use crate::mechanism::{self, States};
use crate::object::arena::Arenas;
use crate::object::lease::{self, Lease};
use crate::object::names::Names;
use crate::object::{Geometry, Object};
use crate::policy::creds::Authority;
use crate::policy::kernel_limits::KernelLimits;
use crate::policy::quota::{Account, Part};
use crate::regions::{Mapping, memory_file, read_only, seal};
use crate::state::{Held, Noted, Records, Sheet, Table, keep, part, whole};
use ring3_abi::ipc::index_of;
use ring3_abi::limits::Limits;
use ring3_abi::{Errno, IpcId, Kind, Pid, Uid};
use ring3_engine::directory::{Directory, Writer};
use ring3_engine::object::Receipt;
use ring3_engine::{Error, Host, Region};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::MapFlags;
use std::cell::RefCell;
use std::rc::Rc;

/// Name of the directory's file, as /proc/PID/maps shows it.
pub(crate) const DIRECTORY_NAME: &str = "ring3-directory";

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// This is the answer.
    Errno(Errno),
    /// A region's lock does not come free: the request is tried again soon. It has changed nothing yet.
    Later,
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Trouble {
        Trouble::Errno(errno)
    }
}

/// A settlement that waits for a region's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Debt {
    pub(crate) pid: Pid,
    pub(crate) kind: Kind,
    pub(crate) id: IpcId,
    pub(crate) end: End,
}
keep!(Debt { pid, kind, id, end });

/// What a namespace is made with.
#[derive(Debug)]
struct Core {
    /// Its number in its broker; the root's is 0.
    number: u64,
    owner: Uid,
    authority: Option<Vec<Place>>,
    /// The directory, for reading.
    directory: Held,
    inode: u64,
    /// Where it is mapped for writing: nobody can map it so any more, but who has the next.
    address: u64,
    /// The directory, for writing: for a process that has no mapping from another broker.
    writer: Option<Held>,
}
keep!(Core { number, owner, authority, directory, inode, address, writer });

/// The last of the numbers that a namespace gives.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastNames {
    pub(crate) fork: u64,
    pub(crate) memory: u64,
}
keep!(LastNames { fork, memory });

/// The namespace.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) host: BrokerHost,
    pub(crate) owner: Uid,
    /// The user namespaces whose capabilities count here; `None`: the broker's own.
    pub(crate) authority: Authority,
    core: Noted<Core>,
    limits: Noted<Limits>,
    /// Made when a program first opens a file of limits; `None` then if the machine cannot have them.
    kernel_limits: Noted<Option<Option<KernelLimits>>>,
    directory: Mapping,
    /// By kind.
    names: [Names<Object>; Kind::ALL.len()],
    /// Whose objects these are.
    pub(crate) account: Account<Part>,
    pub(crate) states: States,
    pub(crate) arenas: Arenas,
    pub(crate) lives: Rc<RefCell<Lives>>,
    pub(crate) processes: Table<Pid, Process>,
    /// Who has opened which object (`Process::objects`, `Object::users`).
    opened: Table<(Kind, IpcId, Pid), ()>,
    /// What those of them are called that are in PID namespaces of their own.
    pub(crate) pids: Pids,
    /// By the number that each has as a holder.
    pub(crate) forks: Table<u64, PendingFork>,
    pub(crate) debts: Table<Debt, ()>,
    /// Behind which debt the next try begins.
    pub(crate) tried: Option<Debt>,
    pub(crate) last: Noted<LastNames>,
    pub(crate) ledgers: Ledgers,
    /// By kind's number.
    pub(crate) leases: Table<u8, Lease>,
    /// When what is being done was done, if that was before now: a ledger says so.
    pub(crate) as_of: Option<i64>,
}

impl Namespace {
    /// An empty one for a new IPC namespace of the kernel's, the `number`-th of this broker, with the kernel's defaults.
    pub(crate) fn below(root: &Namespace, number: u64, authority: Vec<Place>) -> Result<Namespace, Errno> {
        let mut ns = Namespace::new(Limits::default(), root.host.clone(), number, Some(authority))?;
        ns.lives = Rc::clone(&root.lives);
        for (_, mechanism) in mechanism::all() {
            mechanism.number_tokens(&mut ns, number);
        }
        Ok(ns)
    }

    /// Whether nothing is known of anybody in it.
    pub(crate) fn is_vacant(&self) -> bool {
        self.processes.is_empty() && self.forks.is_empty() && self.debts.is_empty()
    }

    /// An empty namespace.
    pub(crate) fn new(
        limits: Limits,
        host: BrokerHost,
        number: u64,
        authority: Option<Vec<Place>>,
    ) -> Result<Namespace, Errno> {
        let file = memory_file(DIRECTORY_NAME, MemfdFlags::empty())?;
        rustix::fs::ftruncate(&file, Directory::len() as u64).map_err(errno)?;
        let directory = Mapping::new(&file, Directory::len(), MapFlags::empty())?;
        let kept = host.hand.is_keeping();
        // A mapping dies with the last process that was forked with it.
        seal(&file, if kept { SealFlags::GROW } else { SealFlags::GROW | SealFlags::FUTURE_WRITE })?;
        let inode = rustix::fs::fstat(&file).map_err(errno)?.st_ino;
        let owner = rustix::process::geteuid().as_raw();
        let region = directory.region(0, Directory::len()).ok_or(Errno::ENOMEM)?;
        Writer::format(region, owner, &limits).map_err(|_| Errno::ENOMEM)?;
        let address = directory.address();
        let directory_file = read_only(&file)?.into();
        let writer = kept.then(|| file.into());
        let core = Core { number, owner, authority, directory: directory_file, inode, address, writer };
        let mut ns = Namespace::around(core, directory, host);
        *ns.limits.change() = limits;
        Ok(ns)
    }

    /// One with nothing in it, around what it is made with.
    fn around(core: Core, directory: Mapping, host: BrokerHost) -> Namespace {
        Namespace {
            host,
            owner: core.owner,
            authority: core.authority.clone().map(Into::into),
            core: Noted::new(core),
            limits: Noted::default(),
            kernel_limits: Noted::default(),
            directory,
            names: Default::default(),
            account: Account::default(),
            states: States::default(),
            arenas: Arenas::default(),
            lives: Rc::default(),
            processes: Table::default(),
            opened: Table::default(),
            pids: Pids::default(),
            forks: Table::default(),
            debts: Table::default(),
            tried: None,
            last: Noted::default(),
            ledgers: Ledgers::default(),
            leases: Table::default(),
            as_of: None,
        }
    }

    /// One that the state has, with everything that its records say.
    pub(crate) fn restore(records: &Records, host: &BrokerHost, number: u64) -> Option<Namespace> {
        let core: Core = whole(records.single(number, part::CORE)?)?;
        let directory = match &core.writer {
            Some(file) => Mapping::new(file, Directory::len(), MapFlags::empty()).ok()?,
            None => Mapping::inherited(core.address, Directory::len())?,
        };
        let mut ns = Namespace::around(core, directory, host.clone());
        let mut whole = Some(());
        ns.each_sheet(&mut |part, sheet| {
            // What it is made with was read already.
            if part != part::CORE {
                whole = whole.and_then(|()| records.fill(number, part, sheet));
            }
        });
        whole?;
        ns.derive()?;
        Some(ns)
    }

    /// Makes again what follows from records.
    fn derive(&mut self) -> Option<()> {
        for &(kind, id, pid) in self.opened.keys() {
            // A removed object's users may have something to settle no more.
            self.processes.derived_mut(&pid)?.objects.insert((kind, id));
            self.names[kind as usize].derived_mut(id)?.users.insert(pid);
        }
        for (range, pid) in self.arenas.derive()? {
            self.processes.derived_mut(&pid)?.ranges.insert(range);
        }
        self.count_again();
        self.pids.derive();
        self.ledgers.derive();
        for (_, mechanism) in mechanism::all() {
            mechanism.derive(self)?;
        }
        Some(())
    }

    /// Shows the parts of the state, each with its number. What it was made with is the first.
    pub(crate) fn each_sheet(&mut self, each: &mut dyn FnMut(u8, &mut dyn Sheet)) {
        each(part::CORE, &mut self.core);
        each(part::LIMITS, &mut self.limits);
        each(part::KERNEL_LIMITS, &mut self.kernel_limits);
        each(part::PROCESSES, &mut self.processes);
        each(part::OPENED, &mut self.opened);
        each(part::FORKS, &mut self.forks);
        each(part::DEBTS, &mut self.debts);
        each(part::NUMBERS, self.pids.sheet());
        each(part::LAST_NAMES, &mut self.last);
        each(part::LEDGERS, self.ledgers.sheet());
        each(part::LEASES, &mut self.leases);
        for (number, names) in (part::NAMES..).zip(&mut self.names) {
            each(number, names);
        }
        for (number, sheet) in self.arenas.sheets() {
            each(number, sheet);
        }
        self.states.each_sheet(each);
    }

    /// Its number in its broker.
    pub(crate) fn number(&self) -> u64 {
        self.core.number
    }

    /// Seconds since 1970, at the moment of what is being done.
    pub(crate) fn now(&self) -> i64 {
        self.as_of.unwrap_or_else(|| self.host.now())
    }

    /// Seconds since 1970.
    pub(crate) fn host_now(&self) -> i64 {
        self.host.now()
    }

    /// The directory, for writing. `None` cannot be: it was formatted when it was made.
    pub(crate) fn directory(&self) -> Option<Writer<'_>> {
        Writer::open(self.directory.region(0, Directory::len())?).ok()
    }

    /// A read-only descriptor of the directory, and its inode.
    pub(crate) fn directory_file(&self) -> (&Held, u64) {
        (&self.core.directory, self.core.inode)
    }

    /// The limits.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The kernel's files of limits, if the machine can have them.
    pub(crate) fn kernel_limits(&mut self) -> Option<&mut KernelLimits> {
        let (owner, limits) = (self.owner, *self.limits);
        self.kernel_limits.change().get_or_insert_with(|| KernelLimits::new(owner, &limits).ok()).as_mut()
    }

    /// The same, if they were opened.
    pub(crate) fn opened_limits(&self) -> Option<&KernelLimits> {
        self.kernel_limits.as_ref()?.as_ref()
    }

    /// The limits as they stand in the kernel's files, if these were opened.
    pub(crate) fn standing_limits(&mut self) -> Option<Limits> {
        self.opened_limits()?;
        let limits = *self.limits;
        self.kernel_limits.change().as_mut().and_then(Option::as_mut).map(|files| files.standing(&limits))
    }

    /// Puts in force what was written to the kernel's files of limits.
    pub(crate) fn take_up_limits(&mut self) {
        if self.opened_limits().is_none_or(|files| !files.have_news()) {
            return;
        }
        let limits = *self.limits;
        let files = self.kernel_limits.change().as_mut().and_then(Option::as_mut);
        if let Some(new) = files.and_then(|files| files.changed(&limits)) {
            // They stand in the files: nothing is to be stored there.
            *self.limits.change() = new;
            self.apply_limits(new);
        }
    }

    /// Sets limits and tells everybody.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        let old = std::mem::replace(self.limits.change(), limits);
        if self.opened_limits().is_some_and(|files| files.store(&old, &limits).is_err()) {
            *self.kernel_limits.change() = Some(None);
        }
        if let Some(directory) = self.directory() {
            directory.set_limits(&limits);
        }
    }

    /// Puts new limits in force, with what follows from them.
    pub(crate) fn apply_limits(&mut self, limits: Limits) {
        Kind::ALL.into_iter().for_each(|kind| lease::take_back(self, kind));
        self.set_limits(limits);
        for (_, mechanism) in mechanism::all() {
            mechanism.limits_changed(self);
        }
    }

    /// The objects of a kind.
    pub(crate) fn names(&self, kind: Kind) -> &Names<Object> {
        &self.names[kind as usize]
    }

    /// The same, to be changed. Whoever does publishes it (S1).
    pub(crate) fn names_mut(&mut self, kind: Kind) -> &mut Names<Object> {
        &mut self.names[kind as usize]
    }

    /// An object.
    ///
    /// # Errors
    /// `EINVAL` if there is none with this identifier. kernel: ipc_obtain_object_check().
    pub(crate) fn object(&self, kind: Kind, id: IpcId) -> Result<&Object, Errno> {
        self.names(kind).get(id).ok_or(Errno::EINVAL)
    }

    /// The same, to be changed.
    pub(crate) fn object_mut(&mut self, kind: Kind, id: IpcId) -> Result<&mut Object, Errno> {
        self.names_mut(kind).get_mut(id).ok_or(Errno::EINVAL)
    }

    /// Writes into the directory what there is at an identifier's index now, and answers the version.
    pub(crate) fn publish(&self, kind: Kind, id: IpcId) -> u64 {
        let Some((directory, index)) = self.directory().zip(index_of(id)) else { return 0 };
        let names = self.names(kind);
        directory.set_usage(kind, names.in_use() as u32, names.highest().map(|index| index as u32));
        mechanism::of(kind).publish_totals(self, directory);
        let entry = names.get(id).map(Object::entry);
        mechanism::of(kind).publishing(directory, index);
        let version = directory.put(kind, index, entry.as_ref()).unwrap_or(0);
        mechanism::of(kind).published(self, directory, index, id);
        version
    }

    /// The version that the directory gives an object.
    pub(crate) fn version(&self, kind: Kind, id: IpcId) -> u64 {
        self.directory()
            .zip(index_of(id))
            .map_or(0, |(directory, index)| directory.reader().version(kind, index))
    }

    /// A process's note with this number is done (0: it was not counted): whoever waits for that may look for himself.
    pub(crate) fn note_done(&self, pid: Pid, number: u32) {
        if let Some(process) = self.processes.get(&pid).filter(|_| number != 0) {
            self.lives.borrow().note_done(process.life(), number);
        }
    }

    /// Others know of a process's end in another way than before.
    pub(crate) fn seen_otherwise(&self, pid: Pid) {
        mechanism::all().for_each(|(_, mechanism)| mechanism.seen_otherwise(self, pid));
    }

    /// Takes in what processes have done without asking.
    pub(crate) fn catch_up(&mut self) {
        ledgers::read(self);
    }

    /// All changes are committed.
    pub(crate) fn committed(&mut self) {
        ledgers::tell(self);
    }

    /// An object's region and its capacities.
    ///
    /// # Errors
    /// `Removed` if there is none; `Spoiled` if it does not lie where it should.
    pub(crate) fn region(&self, kind: Kind, id: IpcId) -> Result<(Region<'_>, Geometry), Error> {
        let home = self.names(kind).get(id).and_then(|object| object.home).ok_or(Error::Removed)?;
        self.host.hand.touch(self.core.number, kind, id);
        let region = self.arenas.region(home.range).ok_or(Error::Spoiled)?;
        Ok((region, home.geometry))
    }

    /// What an object's region says of the last call that was done in it on somebody's behalf.
    fn receipt(&self, kind: Kind, id: IpcId) -> Option<Receipt> {
        Receipt::in_region(self.region(kind, id).ok()?.0).ok()
    }

    /// Whether a call of this number has been done before, by the last broker, and what came of it.
    pub(crate) fn done_before(&self, kind: Kind, id: IpcId, number: u64) -> Option<Result<(), Errno>> {
        let receipt = self.receipt(kind, id).filter(|receipt| number != 0 && receipt.number == number)?;
        Some(if receipt.result == 0 { Ok(()) } else { Err(Errno(receipt.result)) })
    }

    /// Notes that a process has a region from now on.
    pub(crate) fn note_user(&mut self, kind: Kind, id: IpcId, pid: Pid) {
        let Some(process) = self.processes.derived_mut(&pid) else { return };
        let Some(object) = self.names[kind as usize].derived_mut(id) else { return };
        let known = process.objects.insert((kind, id)) as u8 + object.users.insert(pid) as u8;
        if known != 0 {
            self.opened.insert((kind, id, pid), ());
        }
    }

    /// A process has nothing to do with an object any more.
    pub(crate) fn forget_user(&mut self, kind: Kind, id: IpcId, pid: Pid) {
        if let Some(object) = self.names[kind as usize].derived_mut(id) {
            object.users.remove(&pid);
        }
        if let Some(process) = self.processes.derived_mut(&pid) {
            process.objects.remove(&(kind, id));
        }
        self.opened.remove(&(kind, id, pid));
    }

    /// The same, and that it may reach the range.
    pub(crate) fn note_opened(&mut self, kind: Kind, id: IpcId, pid: Pid) {
        self.note_user(kind, id, pid);
        let range = self.names(kind).get(id).and_then(Object::range);
        if let Some((range, process)) = range.zip(self.processes.derived_mut(&pid)) {
            process.ranges.insert(range);
            self.arenas.opened(range, id, pid);
        }
    }

    /// Takes an object out of the world: its names, its counts, its memory.
    pub(crate) fn forget(&mut self, kind: Kind, id: IpcId) {
        let Some(object) = self.names_mut(kind).remove(id) else { return };
        self.uncount(kind, &object);
        mechanism::of(kind).forgotten(self, id, &object);
        self.publish(kind, id);
        for pid in &object.users {
            self.forget_user(kind, id, *pid);
        }
        if let Some(range) = object.range() {
            self.arenas.retire(range);
        }
    }
}
