//! A namespace's state, and the few operations that every handler needs.
//!
//! # Invariants
//! S1. The directory says what `names` says; whoever changes an object publishes it before anybody is answered.

use crate::abroad::Pids;
use crate::abroad::place::Place;
use crate::failure::errno;
use crate::host::BrokerHost;
use crate::life::lives::Lives;
use crate::life::{End, PendingFork, Process};
use crate::mechanism::{self, States};
use crate::object::arena::Arenas;
use crate::object::names::Names;
use crate::object::{Geometry, Object};
use crate::policy::creds::Authority;
use crate::policy::kernel_limits::KernelLimits;
use crate::regions::{Mapping, memory_file, read_only, seal};
use ring3_abi::ipc::index_of;
use ring3_abi::limits::Limits;
use ring3_abi::{Errno, IpcId, Kind, Pid, Uid};
use ring3_engine::directory::{Directory, Writer};
use ring3_engine::{Error, Host, Region};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::MapFlags;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
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
#[derive(Debug)]
pub(crate) struct Debt {
    pub(crate) pid: Pid,
    pub(crate) kind: Kind,
    pub(crate) id: IpcId,
    pub(crate) end: End,
}

/// The namespace.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) host: BrokerHost,
    pub(crate) owner: Uid,
    /// The user namespaces whose capabilities count here; `None`: the broker's own.
    pub(crate) authority: Authority,
    limits: Limits,
    /// Made when a program first opens a file of limits; `None` then if the machine cannot have them.
    kernel_limits: Option<Option<KernelLimits>>,
    directory: Mapping,
    directory_file: OwnedFd,
    directory_inode: u64,
    /// By kind.
    names: [Names<Object>; Kind::ALL.len()],
    pub(crate) states: States,
    pub(crate) arenas: Arenas,
    pub(crate) lives: Rc<RefCell<Lives>>,
    pub(crate) processes: BTreeMap<Pid, Process>,
    /// What those of them are called that are in PID namespaces of their own.
    pub(crate) pids: Pids,
    pub(crate) forks: Vec<PendingFork>,
    pub(crate) debts: Vec<Debt>,
    pub(crate) last_fork: u64,
    pub(crate) last_memory: u64,
}

impl Namespace {
    /// An empty one for a new IPC namespace of the kernel's, the `number`-th of this broker, with the kernel's defaults.
    pub(crate) fn below(root: &Namespace, number: u64, authority: Vec<Place>) -> Result<Namespace, Errno> {
        let mut ns = Namespace::new(Limits::default())?;
        ns.lives = Rc::clone(&root.lives);
        ns.host = root.host.clone();
        ns.authority = Some(authority.into());
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
    pub(crate) fn new(limits: Limits) -> Result<Namespace, Errno> {
        let file = memory_file(DIRECTORY_NAME, MemfdFlags::empty())?;
        rustix::fs::ftruncate(&file, Directory::len() as u64).map_err(errno)?;
        let directory = Mapping::new(&file, Directory::len(), MapFlags::empty())?;
        seal(&file, SealFlags::GROW | SealFlags::FUTURE_WRITE)?;
        let directory_inode = rustix::fs::fstat(&file).map_err(errno)?.st_ino;
        let owner = rustix::process::geteuid().as_raw();
        let region = directory.region(0, Directory::len()).ok_or(Errno::ENOMEM)?;
        Writer::format(region, owner, &limits).map_err(|_| Errno::ENOMEM)?;
        Ok(Namespace {
            host: BrokerHost::new(),
            owner,
            authority: None,
            limits,
            kernel_limits: None,
            directory,
            directory_file: read_only(&file)?,
            directory_inode,
            names: Default::default(),
            states: States::default(),
            arenas: Arenas::default(),
            lives: Rc::default(),
            processes: BTreeMap::new(),
            pids: Pids::default(),
            forks: Vec::new(),
            debts: Vec::new(),
            last_fork: 0,
            last_memory: 0,
        })
    }

    /// Seconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        self.host.now()
    }

    /// The directory, for writing. `None` cannot be: it was formatted when it was made.
    pub(crate) fn directory(&self) -> Option<Writer<'_>> {
        Writer::open(self.directory.region(0, Directory::len())?).ok()
    }

    /// A read-only descriptor of the directory, and its inode.
    pub(crate) fn directory_file(&self) -> (&OwnedFd, u64) {
        (&self.directory_file, self.directory_inode)
    }

    /// The limits.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The kernel's files of limits, if the machine can have them.
    pub(crate) fn kernel_limits(&mut self) -> Option<&mut KernelLimits> {
        let (owner, limits) = (self.owner, &self.limits);
        self.kernel_limits.get_or_insert_with(|| KernelLimits::new(owner, limits).ok()).as_mut()
    }

    /// The same, if they were opened.
    pub(crate) fn opened_limits(&self) -> Option<&KernelLimits> {
        self.kernel_limits.as_ref()?.as_ref()
    }

    /// Puts in force what was written to the kernel's files of limits.
    pub(crate) fn take_up_limits(&mut self) {
        let limits = self.limits;
        let files = self.kernel_limits.as_mut().and_then(Option::as_mut);
        if let Some(new) = files.and_then(|files| files.changed(&limits)) {
            // They stand in the files: nothing is to be stored there.
            self.limits = new;
            self.apply_limits(new);
        }
    }

    /// Sets limits and tells everybody.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        let old = std::mem::replace(&mut self.limits, limits);
        if self
            .kernel_limits
            .as_mut()
            .and_then(Option::as_mut)
            .is_some_and(|files| files.store(&old, &limits).is_err())
        {
            self.kernel_limits = Some(None);
        }
        if let Some(directory) = self.directory() {
            directory.set_limits(&limits);
        }
    }

    /// Puts new limits in force, with what follows from them.
    pub(crate) fn apply_limits(&mut self, limits: Limits) {
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

    /// An object's region and its capacities.
    ///
    /// # Errors
    /// `Removed` if there is none; `Spoiled` if it does not lie where it should.
    pub(crate) fn region(&self, kind: Kind, id: IpcId) -> Result<(Region<'_>, Geometry), Error> {
        let home = self.names(kind).get(id).and_then(|object| object.home).ok_or(Error::Removed)?;
        let region = self.arenas.region(home.range).ok_or(Error::Spoiled)?;
        Ok((region, home.geometry))
    }

    /// Notes that a process has a region from now on.
    pub(crate) fn note_user(&mut self, kind: Kind, id: IpcId, pid: Pid) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let Some(object) = self.names[kind as usize].get_mut(id) else { return };
        process.objects.insert((kind, id));
        object.users.insert(pid);
    }

    /// The same, and that it may reach the range.
    pub(crate) fn note_opened(&mut self, kind: Kind, id: IpcId, pid: Pid) {
        self.note_user(kind, id, pid);
        let range = self.names(kind).get(id).and_then(Object::range);
        if let Some((range, process)) = range.zip(self.processes.get_mut(&pid)) {
            process.ranges.insert(range);
            self.arenas.opened(range, id, pid);
        }
    }

    /// Takes an object out of the world: its names, its counts, its memory.
    pub(crate) fn forget(&mut self, kind: Kind, id: IpcId) {
        let Some(object) = self.names_mut(kind).remove(id) else { return };
        mechanism::of(kind).forgotten(self, id, &object);
        self.publish(kind, id);
        for pid in &object.users {
            if let Some(process) = self.processes.get_mut(pid) {
                process.objects.remove(&(kind, id));
            }
        }
        if let Some(range) = object.range() {
            self.arenas.retire(range);
        }
    }
}
