//! The namespaces that one broker serves: the root, and one for each IPC namespace of the kernel's that its processes have made.
//! ipc_namespaces(7); kernel: create_ipc_ns(), put_ipc_ns().
//!
//! Which one a process is in follows from the kernel's namespace of its first thread, so unshare, setns and clone with CLONE_NEWIPC mean here
//! what they mean there, however the program made the call.
//!
//! # Invariants
//! M1. A process is in the namespace that it was found in when it introduced itself last, and before that in its parent's, or the root.
//! M2. It may be known in others as well: what it has attached there stays until it is detached or the image ends.
//! M3. A namespace other than the root is there while a process is known in it, or the broker can see that one is in the kernel's namespace that
//!     it belongs to. What it holds goes with it, and nobody is told, as in the kernel.
//! M4. A namespace of the kernel's is one with the root for everybody who comes if a process says so that may administer it (CAP_SYS_ADMIN in the
//!     user namespace that owns it). Any other process says so for the processes of its own effective user alone.

use crate::abroad::place::{self, Kind, Place};
use crate::host::BrokerHost;
use crate::namespace::Namespace;
use crate::policy::creds::{Capability, Creds};
use crate::policy::quota::Quota;
use crate::regions::owned;
use crate::state::part::{self, BROKER};
use crate::state::{Held, Keep, Noted, Records, Sheet, Table, keep};
use ring3_abi::limits::Limits;
use ring3_abi::{Errno, Pid, Uid};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Names a namespace of this broker's: the root, or the one that belongs to a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Space {
    #[default]
    Root,
    At(Place),
}

/// A namespace other than the root.
#[derive(Debug)]
struct Room {
    ns: Namespace,
    /// Nobody was known in it when it was looked at last.
    vacant: bool,
}

/// What the state says of it.
#[derive(Debug)]
struct Lease {
    number: u64,
    /// Keeps the place's inode from naming another (place.rs, L1).
    file: Held,
}
keep!(Lease { number, file });

/// A namespace of the kernel's that the root stands for.
#[derive(Debug)]
struct Joined {
    /// Keeps the place's inode from naming another (place.rs, L1).
    file: Held,
    /// For everybody, not for some users alone (M4).
    everybody: bool,
    users: BTreeSet<Uid>,
}
keep!(Joined { file, everybody, users });

impl Keep for Space {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Space::Root => None,
            Space::At(place) => Some(*place),
        }
        .put(out);
    }

    fn get(from: &mut &[u8]) -> Option<Space> {
        Some(Option::get(from)?.map_or(Space::Root, Space::At))
    }
}

/// The namespaces.
#[derive(Debug)]
pub(crate) struct Spaces {
    root: Namespace,
    rooms: BTreeMap<Place, Room>,
    /// The same rooms, as the state has them.
    leases: Table<Place, Lease>,
    /// The kernel's namespaces that the root stands for, beside the broker's own.
    joined: Table<Place, Joined>,
    /// Processes that are not in the root.
    elsewhere: Table<Pid, Place>,
    made: Noted<u64>,
}

impl Spaces {
    /// Just the root.
    pub(crate) fn new(limits: Limits, host: BrokerHost) -> Result<Spaces, Errno> {
        // Before the broker goes anywhere to find the kernel's files of limits (`policy/kernel_limits.rs`).
        let _ = place::own(Kind::Ipc);
        Ok(Spaces::around(Namespace::new(limits, host, 0, None)?))
    }

    fn around(root: Namespace) -> Spaces {
        let (rooms, leases, joined, elsewhere, made) = Default::default();
        Spaces { root, rooms, leases, joined, elsewhere, made }
    }

    /// The namespaces of a state, as far as it says which there are.
    pub(crate) fn restore(records: &Records, host: &BrokerHost) -> Option<Spaces> {
        let _ = place::own(Kind::Ipc);
        let mut spaces = Spaces::around(Namespace::restore(records, host, 0)?);
        for (number, sheet) in spaces.sheets() {
            records.fill(BROKER, number, sheet)?;
        }
        for (&place, lease) in spaces.leases.iter() {
            let mut ns = Namespace::restore(records, host, lease.number)?;
            ns.lives = Rc::clone(&spaces.root.lives);
            spaces.rooms.insert(place, Room { ns, vacant: false });
        }
        Some(spaces)
    }

    /// The parts of the state, each with its number.
    pub(crate) fn sheets(&mut self) -> [(u8, &mut dyn Sheet); 4] {
        let Spaces { leases, joined, elsewhere, made, .. } = self;
        [(part::ROOMS, leases), (part::JOINED, joined), (part::ELSEWHERE, elsewhere), (part::COUNTS, made)]
    }

    /// How many namespaces have been made.
    pub(crate) fn made(&self) -> u64 {
        *self.made
    }

    /// What one user may have.
    pub(crate) fn quota(&self) -> Quota {
        self.root.host.quota
    }

    /// The root.
    pub(crate) fn root(&mut self) -> &mut Namespace {
        &mut self.root
    }

    /// Where a process is (M1).
    pub(crate) fn space(&self, pid: Pid) -> Space {
        self.elsewhere.get(&pid).map_or(Space::Root, |&place| Space::At(place))
    }

    /// A namespace; the root in the place of one that is gone.
    pub(crate) fn at(&self, space: Space) -> &Namespace {
        match space {
            Space::At(place) => self.rooms.get(&place).map_or(&self.root, |room| &room.ns),
            Space::Root => &self.root,
        }
    }

    /// The same, to be changed.
    pub(crate) fn at_mut(&mut self, space: Space) -> &mut Namespace {
        match space {
            Space::At(place) => self.rooms.get_mut(&place).map_or(&mut self.root, |room| &mut room.ns),
            Space::Root => &mut self.root,
        }
    }

    /// The namespace that a process is in.
    pub(crate) fn of(&self, pid: Pid) -> &Namespace {
        self.at(self.space(pid))
    }

    /// The same, to be changed.
    pub(crate) fn of_mut(&mut self, pid: Pid) -> &mut Namespace {
        self.at_mut(self.space(pid))
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Space, &Namespace)> {
        let rooms = self.rooms.iter().map(|(&place, room)| (Space::At(place), &room.ns));
        std::iter::once((Space::Root, &self.root)).chain(rooms)
    }

    /// The same, to be changed.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = (Space, &mut Namespace)> {
        let rooms = self.rooms.iter_mut().map(|(&place, room)| (Space::At(place), &mut room.ns));
        std::iter::once((Space::Root, &mut self.root)).chain(rooms)
    }

    /// Those in which a process is known (M2).
    pub(crate) fn knowing(&self, pid: Pid) -> impl Iterator<Item = (Space, &Namespace)> {
        self.all().filter(move |(_, ns)| ns.processes.contains_key(&pid))
    }

    /// The same, to be changed.
    pub(crate) fn knowing_mut(&mut self, pid: Pid) -> impl Iterator<Item = (Space, &mut Namespace)> {
        self.all_mut().filter(move |(_, ns)| ns.processes.contains_key(&pid))
    }

    /// The namespace that a process belongs in now, which is made if need be. Of a process that may not be looked at nothing is known, and it
    /// stays where it is.
    pub(crate) fn find(&mut self, pid: Pid, user: Uid) -> Result<Space, Errno> {
        let Some(place) = place::place(Kind::Ipc, pid) else { return Ok(self.space(pid)) };
        if Some(place) == place::own(Kind::Ipc) || self.is_joined(place, user) {
            return Ok(Space::Root);
        }
        if !self.rooms.contains_key(&place) {
            // The process may have gone on to another meanwhile: what is open counts.
            let Some((place, file)) = place::open(Kind::Ipc, pid) else { return Ok(self.space(pid)) };
            if self.rooms.contains_key(&place) {
                return Ok(Space::At(place));
            }
            *self.made.change() += 1;
            let number = *self.made;
            let ns = Namespace::below(&self.root, number, place::owners(&file))?;
            self.rooms.insert(place, Room { ns, vacant: false });
            self.leases.insert(place, Lease { number, file: owned(file).into() });
            return Ok(Space::At(place));
        }
        Ok(Space::At(place))
    }

    /// Notes where a process is.
    pub(crate) fn put(&mut self, pid: Pid, space: Space) {
        match space {
            Space::Root => _ = self.elsewhere.remove(&pid),
            Space::At(place) if self.elsewhere.get(&pid) == Some(&place) => {}
            Space::At(place) => _ = self.elsewhere.insert(pid, place),
        }
    }

    /// A process has ended.
    pub(crate) fn forget(&mut self, pid: Pid) {
        if self.knowing(pid).next().is_none() {
            self.elsewhere.remove(&pid);
        }
    }

    /// Whether the root stands for a namespace of the kernel's, as far as a user's processes are concerned.
    fn is_joined(&self, place: Place, user: Uid) -> bool {
        self.joined.get(&place).is_some_and(|joined| joined.everybody || joined.users.contains(&user))
    }

    /// The kernel's namespace of a request's sender is the root from now on, for those who come (M4).
    pub(crate) fn join(&mut self, mut sender: Creds) {
        let Some((place, file)) = place::open(Kind::Ipc, sender.pid) else { return };
        if Some(place) == place::own(Kind::Ipc) {
            return;
        }
        sender.authority = Some(place::owners(&file).into());
        if !self.joined.contains_key(&place) {
            let fresh = Joined { file: owned(file).into(), everybody: false, users: BTreeSet::new() };
            self.joined.insert(place, fresh);
        }
        let Some(joined) = self.joined.get_mut(&place) else { return };
        if sender.capable(Capability::SysAdmin) {
            joined.everybody = true;
        } else {
            joined.users.insert(sender.uid);
        }
    }

    /// Lets namespaces go that nobody is in (M3). The machine's processes are looked through only when one has become empty.
    pub(crate) fn clear(&mut self) {
        let mut emptied = false;
        for room in self.rooms.values_mut() {
            let vacant = room.ns.is_vacant();
            emptied |= vacant && !room.vacant;
            room.vacant = vacant;
        }
        if emptied {
            let inhabited = place::inhabited(Kind::Ipc);
            let gone: Vec<Place> = self
                .rooms
                .iter()
                .filter(|(place, room)| room.vacant && !inhabited.contains(place))
                .map(|(place, _)| *place)
                .collect();
            for place in gone {
                self.rooms.remove(&place);
                self.leases.remove(&place);
            }
            self.joined.take(|place, _| !inhabited.contains(place));
        }
    }
}
