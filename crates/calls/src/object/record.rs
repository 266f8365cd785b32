//! What a process keeps of an object it has opened, and where the record of an identifier stands.
//!
//! # Invariants
//! O1. A published record never changes. It, and its region's addresses, are used in a section or while a call sleeps, and they are
//!     given to another object only when nothing of the kind goes on (`reclaim.rs`).
//! O2. A record is good while its identifier is the one asked for, the directory still shows the version it was opened at, and
//!     the process is in the epoch it was opened in (same image, same credentials).
//! O4. Records and mappings change under `Home::objects` only.
//! O5. While threads may have credentials of their own (`credentials.rs`) a record grants nothing by itself: each thread's own decide, and
//!     the mapping is what the strongest thread that came by needs. So it is with the processes that share a memory, each of which has made
//!     itself known to the broker as a user before it uses what is mapped (`users`). A thread that may do less is refused although the region is mapped.

use crate::process::identity::Identity;
use crate::process::{self, connection, credentials};
use core::ptr::null_mut;
use core::sync::atomic::{
    AtomicPtr, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use ring3_abi::ipc::{IPCMNI, READ, WRITE, index_of};
use ring3_abi::{Errno, IpcId, Kind};
use ring3_engine::directory::{Entry, VersionWord};
use ring3_engine::{msg::Queue, sem::Set};
use ring3_os::map;
use ring3_wire::reply::Opened;
use ring3_wire::{Op, request};
use zerocopy::IntoBytes;

/// A handle of the mechanism's own on the region.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Handle {
    /// Not mapped: the broker does the calls.
    Absent,
    /// A queue.
    Queue(Queue<'static>),
    /// A set.
    Set(Set<'static>),
}

/// An opened object (O1).
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) kind: Kind,
    pub(crate) id: IpcId,
    pub(super) epoch: u32,
    pub(super) image: u64,
    /// Which processes of this memory the broker knows as users of the object (`Home::bit`).
    pub(super) users: u32,
    /// As the directory told it.
    pub(crate) entry: Entry,
    /// Permission bits that all threads of this process have; 0 if they are apart.
    pub(super) granted: u32,
    /// Every thread may do everything, and the mapping is made for it.
    pub(crate) direct: bool,
    /// Threads have rights of their own (O5).
    pub(super) apart: bool,
    /// What the mapping allows.
    pub(super) mapped: u32,
    pub(super) base: usize,
    pub(super) len: usize,
    pub(crate) handle: Handle,
    /// Where the directory has the object's version.
    pub(super) version: VersionWord<'static>,
    /// Which of this memory's directories that is (`process/directory.rs`).
    pub(super) turn: u32,
    /// An older mapping of the same region may be there still: the broker is not told that this process has left it.
    pub(super) lingers: bool,
}

/// What there is for an index.
pub(super) struct Cell {
    pub(super) record: AtomicPtr<Object>,
    /// Calls that pin the regions of this index (`pin.rs`).
    pub(super) pins: AtomicU32,
}

/// How many cells are made at one time: a page of them.
const CELLS: usize = map::PAGE / size_of::<Cell>();

type Cells = [Cell; CELLS];

/// The cells of a mechanism's indexes, null until an object is opened whose cell is among them.
type Table = [AtomicPtr<Cells>; IPCMNI / CELLS];

static TABLES: [Table; Kind::ALL.len()] =
    [const { [const { AtomicPtr::new(null_mut()) }; IPCMNI / CELLS] }; Kind::ALL.len()];

impl Object {
    /// Whether both ways of use are mapped.
    #[inline]
    pub(crate) fn is_writable(&self) -> bool {
        self.mapped & (READ | WRITE) == READ | WRITE
    }

    /// Checks permission. # Errors: `EACCES`.
    #[inline]
    pub(crate) fn permit(&self, wanted: u32) -> Result<(), Errno> {
        if self.granted & wanted == wanted || self.permits_thread(wanted) {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }

    /// Whether this thread has rights that the record does not tell of (O5).
    #[cold]
    fn permits_thread(&self, wanted: u32) -> bool {
        if !self.apart {
            return false;
        }
        let abroad = process::users_abroad();
        let rights = if abroad { self.granted_by_broker() } else { credentials::granted(&self.entry) };
        rights & wanted == wanted
    }

    /// What the broker would let this thread map.
    fn granted_by_broker(&self) -> u32 {
        let mut buf: connection::Small = [0; 256];
        let body = request::Open { kind: self.kind.into(), id: self.id };
        let answer = connection::call(Op::Open, body.as_bytes(), &[], &mut buf);
        answer.and_then(|answer| answer.body::<Opened>(&buf)).map_or(0, |opened| opened.access)
    }

    /// Whether the mapping is all that this thread may have (O5).
    #[inline]
    pub(super) fn serves_thread(&self) -> bool {
        !self.apart || self.serves_thread_apart()
    }

    #[cold]
    #[inline(never)]
    fn serves_thread_apart(&self) -> bool {
        // Abroad the broker does what the mapping does not allow.
        process::users_abroad() || self.maps(credentials::granted(&self.entry))
    }

    /// Whether the mapping has what goes by a mapping of certain rights: nothing does without the right to read.
    pub(super) fn maps(&self, rights: u32) -> bool {
        let needed = if rights & READ != 0 { rights & (READ | WRITE) } else { 0 };
        self.mapped & needed == needed
    }

    /// Whether the mapping allows nothing beyond certain rights: without the right to read there is none.
    pub(super) fn is_within(&self, rights: u32) -> bool {
        let allowed = if rights & READ != 0 { rights } else { 0 };
        self.mapped & !allowed == 0
    }

    /// Whether the record is good still (O2).
    #[inline]
    fn is_good(&self, id: IpcId, epoch: u32) -> bool {
        self.id == id && self.epoch == epoch && self.is_current()
    }

    /// Whether the object behind the record is the same still, whatever this process may do with it.
    #[inline]
    pub(crate) fn is_current(&self) -> bool {
        self.version.load() == self.entry.version
    }
}

#[inline]
pub(super) fn cell(kind: Kind, index: usize) -> Option<&'static Cell> {
    cell_at(kind, index / CELLS, index % CELLS)
}

#[inline]
fn cell_at(kind: Kind, page: usize, place: usize) -> Option<&'static Cell> {
    let cells = TABLES.get(kind as usize)?.get(page)?;
    // ORDERING: Acquire pairs with make_room().
    // SAFETY: null, or what make_room() mapped for ever.
    unsafe { cells.load(Acquire).as_ref()? }.get(place)
}

/// How many calls pin the regions of an identifier's index (`pin.rs`).
pub(super) fn pins_at(kind: Kind, id: IpcId) -> Option<&'static AtomicU32> {
    index_of(id).and_then(|index| cell(kind, index)).map(|cell| &cell.pins)
}

/// Makes an index's cell, if nobody has (O4). # Errors: `ENOMEM`.
pub(super) fn make_room(kind: Kind, index: usize) -> Result<(), Errno> {
    let cells = TABLES.get(kind as usize).and_then(|table| table.get(index / CELLS)).ok_or(Errno::EINVAL)?;
    if cells.load(Relaxed).is_null() {
        // Zero is what a null pointer is.
        let memory = map::anonymous(size_of::<Cells>())?;
        // ORDERING: Release publishes the mapping.
        cells.store(memory.as_ptr().cast(), Release);
    }
    Ok(())
}

/// The record of an identifier, if it is good (O2). No lock, no section: nothing here changes.
#[inline]
pub(crate) fn find(kind: Kind, id: IpcId, page: &Identity) -> Option<&'static Object> {
    find_in(kind, id, page.epoch())
}

/// [`find`] in an epoch.
#[inline]
pub(super) fn find_in(kind: Kind, id: IpcId, epoch: u32) -> Option<&'static Object> {
    // Page and place of the index, each from the identifier itself. One below 0 has a cell by this, and no record there is for it.
    let number = id as u32 as usize;
    let cell = cell_at(kind, number / CELLS % (IPCMNI / CELLS), number % CELLS)?;
    // ORDERING: Acquire pairs with publish(): the record is whole.
    let record = cell.record.load(Acquire);
    // SAFETY: null, or a published record, which stays (O1).
    let object = unsafe { record.as_ref()? };
    object.is_good(id, epoch).then_some(object)
}

/// Whether any object has ever been opened in this memory.
pub(super) fn is_any_mapped() -> bool {
    TABLES.iter().flatten().any(|cells| !cells.load(Relaxed).is_null())
}

/// Every page of cells.
fn pages() -> impl Iterator<Item = &'static Cells> {
    // ORDERING: Acquire pairs with make_room(): the cells are mapped.
    // SAFETY: null, or what make_room() mapped for ever.
    TABLES.iter().flatten().filter_map(|cells| unsafe { cells.load(Acquire).as_ref() })
}

/// Calls `each` for every record. `Home::objects` is held.
pub(super) fn each(each: impl Fn(&'static Cell, &'static Object)) {
    for cell in pages().flatten() {
        // ORDERING: Acquire pairs with open::publish(): the record is whole.
        // SAFETY: null, or a published record, which stays (O1).
        if let Some(object) = unsafe { cell.record.load(Acquire).as_ref() } {
            each(cell, object);
        }
    }
}

/// Takes the regions of opened objects, and their cells, out of what mlockall has locked. `Home::objects` is held.
pub(crate) fn unlock() {
    for all in pages() {
        map::unlock(core::ptr::from_ref(all) as usize, size_of::<Cells>());
    }
    each(|_, object| map::unlock(object.base, object.len));
}
