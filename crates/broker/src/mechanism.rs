//! The table of mechanisms, and what the broker asks of each.
//!
//! Names, identifiers, permission, memory and processes are shared; what a mechanism does with them stands in its own folder. A mechanism is
//! added by a folder with a type of its kind's name that implements [`Mechanism`] (and a `State`, if it keeps any), and by one line in the table
//! below.

use crate::abroad::View;
use crate::life::{End, Holder, Which};
use crate::namespace::{Namespace, Trouble};
use crate::object::lease::Room;
use crate::object::{Geometry, Home, Object, Perm};
use crate::policy::creds::Creds;
use crate::serve::sleepers::Call;
use crate::state::Sheet;
use ring3_abi::{Errno, IpcId, Kind, Pid};
use ring3_engine::directory::Writer;
use ring3_engine::ledger::Event;
use ring3_engine::{Error, Result as Outcome};
use ring3_wire::request::{Get, Limit, ProcFile, Set};
use std::collections::BTreeSet;

macro_rules! mechanisms {
    ($($kind:ident => $room:ident $(with $state:ident)?,)*) => {
        /// The mechanism of a kind.
        pub(crate) fn of(kind: Kind) -> &'static dyn Mechanism {
            match kind { $(Kind::$kind => &crate::$room::$kind,)* }
        }

        /// What the mechanisms keep for a namespace beside the names of their objects.
        #[derive(Debug, Default)]
        pub(crate) struct States { $($(pub(crate) $room: crate::$room::$state,)?)* }

        impl States {
            /// Shows the parts of the state, each with its number.
            pub(crate) fn each_sheet(&mut self, each: &mut dyn FnMut(u8, &mut dyn Sheet)) {
                $($(for (number, sheet) in crate::$room::$state::sheets(&mut self.$room) {
                    each(number, sheet);
                })?)*
            }
        }
    };
}

mechanisms! {
    Msg => msg,
    Sem => sem with State,
    Shm => shm with State,
}

/// All mechanisms, in the order of their kinds' numbers.
pub(crate) fn all() -> impl Iterator<Item = (Kind, &'static dyn Mechanism)> {
    Kind::ALL.into_iter().map(|kind| (kind, of(kind)))
}

/// What is fixed about a mechanism.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// The limit of its objects' number.
    pub(crate) most: Limit,
    /// The limit of what is in all of them, if there is any.
    pub(crate) most_contents: Option<Limit>,
    /// The limit that asks for the next object's identifier.
    pub(crate) next_id: Limit,
    /// The file that lists its objects, and that file's first line.
    pub(crate) table: ProcFile,
    pub(crate) head: &'static str,
}

/// What a listing says of an object beside its names.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Row {
    pub(crate) size: u64,
    pub(crate) count: u64,
    pub(crate) last_use: i64,
    pub(crate) ctime: i64,
}

/// A mechanism, as the rest of the broker sees it. What most mechanisms have nothing to say about has a default that does nothing.
pub(crate) trait Mechanism: Sync {
    /// What is fixed.
    fn facts(&self) -> &'static Facts;

    // An object's life.

    /// Checks a get call's size before its key is looked up.
    fn check_size(&self, _: &Namespace, _: &Get) -> Result<(), Errno> {
        Ok(())
    }

    /// How much a process may make of it by itself now; `None`: nothing.
    fn room(&self, _: &Namespace) -> Option<Room> {
        None
    }

    /// How much an object of this size takes of what `Facts::most_contents` limits.
    fn contents(&self, _size: u64) -> u64 {
        0
    }

    /// Makes an object that has its name and its contents, but is not published.
    fn create(&self, ns: &mut Namespace, creds: &Creds, ask: &Get) -> Result<IpcId, Errno>;

    /// Does IPC_SET for a caller who may do it on an object with the permission `perm`.
    fn set(&self, ns: &mut Namespace, creds: &Creds, perm: Perm, ask: &Set) -> Result<(), Trouble>;

    /// Does IPC_RMID for a caller who may do it.
    fn remove(&self, ns: &mut Namespace, id: IpcId) -> Result<(), Trouble>;

    /// Takes an object that lost its name off the mechanism's accounts.
    fn forgotten(&self, _: &mut Namespace, _: IpcId, _: &Object) {}

    // What it tells.

    /// The kernel's structure for IPC_STAT, as its reader sees ids and process numbers.
    fn stat(&self, ns: &mut Namespace, id: IpcId, view: &View) -> Result<Vec<u8>, Trouble>;

    /// The same of an object whose lock does not come free, as far as it can be known.
    fn stat_unlocked(&self, ns: &mut Namespace, id: IpcId, view: &View) -> Result<Vec<u8>, Trouble> {
        self.stat(ns, id, view)
    }

    /// The kernel's structure for IPC_INFO or, with `usage`, for MSG_INFO and its like.
    fn info(&self, ns: &mut Namespace, usage: bool) -> Result<Vec<u8>, Trouble>;

    /// What `ring3 ls` says.
    fn row(&self, ns: &mut Namespace, id: IpcId) -> Result<Row, Trouble>;

    /// The object's line in its file of /proc/sysvipc.
    fn line(&self, ns: &mut Namespace, id: IpcId, view: &View) -> Result<String, Trouble>;

    /// Writes the mechanism's totals into the directory.
    fn publish_totals(&self, _: &Namespace, _: Writer<'_>) {}

    /// The directory's slot of an object is about to change.
    fn publishing(&self, _: Writer<'_>, _index: usize) {}

    /// The directory's slot of an object has changed: what is told of the object beside it is written.
    fn published(&self, _: &Namespace, _: Writer<'_>, _index: usize, _: IpcId) {}

    /// Others know of a process's end in another way than before.
    fn seen_otherwise(&self, _: &Namespace, _: Pid) {}

    // Its regions, if its objects have any.

    /// The length of a region.
    fn region_len(&self, _: Geometry) -> Option<usize> {
        None
    }

    /// About twice the capacities; `None` at the limit.
    fn grown(&self, _: &Namespace, _: Geometry) -> Option<Geometry> {
        None
    }

    /// Moves an object's contents to another region.
    fn move_to(&self, _: &Namespace, _: IpcId, _: Home) -> Outcome<()> {
        Err(Error::Spoiled)
    }

    /// Tells everybody who may sleep in a region that its object is gone, without the region's lock and whatever stands there.
    fn end_unlocked(&self, _: &Namespace, _: Home) {}

    /// Settles in an object's region what a process leaves there.
    fn settle(&self, _: &Namespace, _: IpcId, _: Pid, _: End) -> Outcome<()> {
        Ok(())
    }

    // What processes hold of it.

    /// This is the `number`-th namespace of the broker's: names for what processes hold must differ from those of the others.
    fn number_tokens(&self, _: &mut Namespace, _number: u64) {}

    /// A holder's forked child will have all that it has.
    fn share(&self, _: &mut Namespace, _parent: Pid, _child: Holder) {}

    /// The child of a fork is known, or will never be.
    fn inherit(&self, _: &mut Namespace, _fork: Holder, _child: Option<Pid>) {}

    /// Does what a process's ledger says of an object that is there, and answers whether `next`, which follows it there, is done with it: nobody has seen what
    /// was in between. What is to be shown when all is done is noted.
    fn done_alone(
        &self,
        _: &mut Namespace,
        _: Pid,
        _: &Event,
        _next: Option<&Event>,
        _changed: &mut BTreeSet<(Kind, IpcId)>,
    ) -> bool {
        false
    }

    /// Shows what was noted so.
    fn show(&self, _: &Namespace, _: IpcId) {}

    /// A process is in another namespace from now on; what it has attached here it keeps.
    fn depart(&self, _: &mut Namespace, _: Pid) {}

    /// The processes whose end would show in these objects, and of which their regions do not say that they live.
    fn suspects(&self, _: &Namespace, _: Which) -> Vec<Pid> {
        Vec::new()
    }

    /// A process's image has ended: everything that it had attached goes.
    fn leave(&self, _: &mut Namespace, _: Pid) {}

    /// A process has ended, and its objects' regions are settled or in debt.
    fn orphan(&self, _: &mut Namespace, _: Pid) {}

    // What another broker left.

    /// All that it keeps was read: what follows from it is made again. `None`: it does not fit together.
    fn derive(&self, _: &mut Namespace) -> Option<()> {
        Some(())
    }

    /// A call that sleeps, as it was kept (`Call::keep`).
    fn call(&self, _: &mut &[u8]) -> Option<Box<dyn Call>> {
        None
    }

    // From time to time.

    /// Limits have been set.
    fn limits_changed(&self, _: &mut Namespace) {}

    /// Does what is to be done every second, and answers whether there is any.
    fn refresh(&self, _: &Namespace) -> bool {
        false
    }
}
