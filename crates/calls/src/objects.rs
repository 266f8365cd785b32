//! The objects this process has opened, by index: what an identifier means here and now.
//!
//! # Invariants
//! O1. A published record never changes. It, and its region's addresses, are used in a section or while a call sleeps, and they are
//!     given to another object only when nothing of the kind goes on: the process has one thread, that thread is here, and it has no
//!     sleeping call behind it (a handler may have interrupted one). With more threads they are not given back at all.
//! O2. A record is good while its identifier is the one asked for, the directory still shows the version it was opened at, and
//!     the process is in the epoch it was opened in (same image, same credentials).
//! O3. A region that is let go is not unmapped but overlaid with zeroed memory of our own, *before* the broker hears that its range is
//!     free. Whoever is still inside reads a region that has no state, which is `Spoiled`, and looks here again. Who could not look
//!     again, because the region has what is his alone (a served sleeper, a text that is being copied out), says so first (`stays.rs`), and
//!     then the region is let go when he has left.
//! O4. Records and mappings change under `Identity::objects` only.

use crate::identity::Identity;
use crate::section::Section;
use crate::{broker, creds, graves, process, section, stays};
use core::mem::MaybeUninit;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    fence,
};
use ring3_abi::ipc::{IPCMNI, READ, WRITE, index_of};
use ring3_abi::{Errno, IpcId, Kind};
use ring3_engine::directory::{Directory, Entry};
use ring3_engine::{Region, msg::Queue, sem::Set};
use ring3_os::{map, process as os};
use ring3_wire::Op;
use ring3_wire::reply::Opened;
use ring3_wire::request;
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
    pub(crate) id: IpcId,
    epoch: u32,
    image: u64,
    /// As the directory told it.
    pub(crate) entry: Entry,
    /// Permission bits this process has.
    pub(crate) granted: u32,
    /// What the mapping allows.
    mapped: u32,
    base: usize,
    len: usize,
    pub(crate) handle: Handle,
    directory: Directory<'static>,
    /// An older mapping of the same region may be there still: the broker is not told that this process has left it.
    lingers: bool,
}

/// Two kinds have regions: msg and sem.
const KINDS: usize = 2;

/// What there is for an index.
struct Cell {
    record: AtomicPtr<Object>,
    /// Calls that stay in a region of this index (O3, `stays.rs`).
    stays: AtomicU32,
}

type Table = [Cell; IPCMNI];

/// Null until something is opened: made at a program's start, a MiB of nothing would cost it a mapping.
static TABLES: AtomicPtr<[Table; KINDS]> = AtomicPtr::new(null_mut());

impl Object {
    /// Whether both ways of use are mapped.
    #[inline]
    pub(crate) fn is_writable(&self) -> bool {
        self.mapped & (READ | WRITE) == READ | WRITE
    }

    /// Checks permission. # Errors: `EACCES`.
    #[inline]
    pub(crate) fn permit(&self, wanted: u32) -> Result<(), Errno> {
        if self.granted & wanted == wanted { Ok(()) } else { Err(Errno::EACCES) }
    }

    /// Whether the record is good still (O2).
    #[inline]
    fn is_good(&self, kind: Kind, index: usize, id: IpcId, page: &Identity) -> bool {
        self.id == id
            && self.epoch == page.epoch()
            && self.directory.version(kind, index) == self.entry.version
    }

    /// Whether the object behind the record is the same still, whoever may use it.
    pub(crate) fn is_current(&self, kind: Kind) -> bool {
        index_of(self.id).is_some_and(|index| self.directory.version(kind, index) == self.entry.version)
    }
}

#[inline]
fn cell(kind: Kind, index: usize) -> Option<&'static Cell> {
    // ORDERING: Acquire pairs with make_tables().
    // SAFETY: null, or what make_tables() mapped for ever.
    let tables = unsafe { TABLES.load(Acquire).as_ref()? };
    tables.get(kind as usize)?.get(index)
}

/// How many calls stay in the regions of an identifier's index (`stays.rs`).
pub(crate) fn stays_at(kind: Kind, id: IpcId) -> Option<&'static AtomicU32> {
    index_of(id).and_then(|index| cell(kind, index)).map(|cell| &cell.stays)
}

/// Makes the tables, if nobody has (O4). # Errors: `ENOMEM`.
fn make_tables() -> Result<(), Errno> {
    if TABLES.load(Relaxed).is_null() {
        // Zero is what a null pointer is.
        let memory = map::anonymous(size_of::<[Table; KINDS]>())?;
        // ORDERING: Release publishes the mapping.
        TABLES.store(memory.as_ptr().cast(), Release);
    }
    Ok(())
}

/// The record of an identifier, if it is good (O2). No lock, no section: nothing here changes.
#[inline]
pub(crate) fn find(kind: Kind, id: IpcId, page: &Identity) -> Option<&'static Object> {
    let index = index_of(id)?;
    // ORDERING: Acquire pairs with publish(): the record is whole.
    let record = cell(kind, index)?.record.load(Acquire);
    // SAFETY: null, or a published record, which stays (O1).
    let object = unsafe { record.as_ref()? };
    object.is_good(kind, index, id, page).then_some(object)
}

/// The record of an identifier, opened if need be.
///
/// # Errors
/// `EINVAL` if there is no such object, `ENOMEM`, `ENOSYS`.
#[inline]
pub(crate) fn open(kind: Kind, id: IpcId) -> Result<&'static Object, Errno> {
    match find(kind, id, crate::identity::current()) {
        Some(object) => Ok(object),
        None => open_slow(kind, id),
    }
}

/// How often an object is opened that is another one each time: it is being moved, or its permission changed, again and again.
const OPENINGS: u32 = 10_000;

#[cold]
fn open_slow(kind: Kind, id: IpcId) -> Result<&'static Object, Errno> {
    let index = index_of(id).ok_or(Errno::EINVAL)?;
    let page = process::ready()?;
    let section = section::enter();
    let _held = page.objects.hold(&section);
    make_tables()?;
    let cell = cell(kind, index).ok_or(Errno::EINVAL)?;
    let directory = process::directory()?;
    for n in 0..OPENINGS {
        if n > 0 {
            os::nap();
        }
        if let Some(object) = find(kind, id, page) {
            return Ok(object);
        }
        let epoch = page.epoch();
        let Some(entry) = entry(directory, kind, index)? else { return Err(Errno::EINVAL) };
        if entry.id != id {
            return Err(Errno::EINVAL);
        }
        let shell = Object {
            id,
            epoch,
            image: page.image(),
            entry,
            granted: creds::granted(&entry),
            mapped: 0,
            base: 0,
            len: 0,
            handle: Handle::Absent,
            directory,
            lingers: false,
        };
        if let Some(object) = refresh(kind, cell, shell, &section)? {
            return Ok(object);
        }
    }
    Err(Errno::EINVAL)
}

/// The directory's entry at an index, once nobody writes it. # Errors: `ENOSYS` if that never ends.
fn entry(directory: Directory<'_>, kind: Kind, index: usize) -> Result<Option<Entry>, Errno> {
    for _ in 0..20_000 {
        let before = directory.version(kind, index);
        match directory.entry(kind, index) {
            Some(entry) => return Ok(Some(entry)),
            None if before.is_multiple_of(2) && directory.version(kind, index) == before => return Ok(None),
            None => os::nap(),
        }
    }
    Err(Errno::ENOSYS)
}

/// Publishes a new record: with the old mapping if only the epoch changed, else with a new one. `None`: the object changed meanwhile.
fn refresh(
    kind: Kind,
    cell: &Cell,
    mut new: Object,
    section: &Section,
) -> Result<Option<&'static Object>, Errno> {
    // SAFETY: null, or a published record (O1).
    if let Some(old) = unsafe { cell.record.load(Acquire).as_ref() } {
        let usable = old.mapped & !new.granted & (READ | WRITE) == 0;
        let as_much = old.mapped == new.granted & (READ | WRITE);
        if old.image == new.image && old.entry.version == new.entry.version && usable && as_much {
            let Object { mapped, base, len, handle, lingers, .. } = *old;
            new = Object { mapped, base, len, handle, lingers, ..new };
            let new = publish(cell, new)?;
            graves::bury(core::ptr::from_ref(old) as usize, 0, 0);
            return Ok(Some(new));
        }
        cell.record.store(null_mut(), Release);
        if old.image == new.image && old.entry.version == new.entry.version {
            // The process's own rights have changed, not the object: other threads may be at work in the region, so the mapping stays until
            // nobody can be (graves.rs).
            graves::bury(core::ptr::from_ref(old) as usize, old.base, old.len);
            new.lingers = true;
        } else {
            retire(kind, cell, old);
        }
    }
    if new.granted & (READ | WRITE) != 0 && !map_region(kind, &mut new, section)? {
        return Ok(None);
    }
    publish(cell, new).map(Some)
}

/// Lets an old record's mapping go (O3). The record is not published any more.
fn retire(kind: Kind, cell: &Cell, old: &'static Object) {
    graves::bury(core::ptr::from_ref(old) as usize, old.base, old.len);
    if old.len == 0 {
        return;
    }
    // ORDERING: SeqCst pairs with stays::stay(): we see the stay, or it finds the record gone.
    fence(SeqCst);
    if cell.stays.load(SeqCst) == 0 {
        leave_region(kind, old);
    } else {
        stays::leave_behind(kind, old);
    }
}

/// Puts zeroes in the region's place and says that we have left it.
pub(crate) fn leave_region(kind: Kind, old: &'static Object) {
    // SAFETY: the range is the record's own mapping, which is named by nothing else; what still reads there copes (O3).
    if unsafe { map::blank(old.base, old.len) }.is_ok() && !old.lingers {
        broker::notify(Op::Close, &request::Object { kind: kind as u32, id: old.id });
    }
}

/// Asks the broker for the region and maps it. `false`: the object is another one by now.
fn map_region(kind: Kind, new: &mut Object, _section: &Section) -> Result<bool, Errno> {
    let mut buf: broker::Small = [0; 256];
    let body = request::Open { kind: kind as u32, id: new.id };
    let answer = match broker::call(Op::Open, body.as_bytes(), &[], &mut buf) {
        Ok(answer) => answer,
        Err(Errno::EACCES) => return Ok(true),
        Err(Errno::EINVAL | Errno::EIDRM) => return Ok(false),
        Err(errno) => return Err(errno),
    };
    let opened: Opened = answer.body(&buf)?;
    if opened.version != new.entry.version {
        return Ok(false);
    }
    let Some(fd) = answer.fd else { return Ok(true) };
    let prot = if opened.access & WRITE != 0 { map::PROT_READ | map::PROT_WRITE } else { map::PROT_READ };
    let len = usize::try_from(opened.len).map_err(|_| Errno::ENOMEM)?;
    let base = map::shared(fd.raw(), opened.offset, len, prot)?;
    new.mapped = opened.access & (READ | WRITE);
    (new.base, new.len) = (base.as_ptr() as usize, len);
    // SAFETY: R1: mapped above and never unmapped, only overlaid with zeroes (O3); its file is sealed against shrinking. R3: `mapped` says
    // whether it may be written, and callers ask is_writable().
    let region = unsafe { Region::new(base, len) };
    new.handle = handle(kind, region, opened.geometry)?;
    Ok(true)
}

fn handle(kind: Kind, region: Region<'static>, geometry: [u32; 8]) -> Result<Handle, Errno> {
    match kind {
        Kind::Msg => ring3_engine::msg::Geometry::decode(geometry)
            .and_then(|geometry| Queue::new(region, geometry).ok())
            .map(Handle::Queue),
        Kind::Sem => ring3_engine::sem::Geometry::decode(geometry)
            .and_then(|geometry| Set::new(region, geometry).ok())
            .map(Handle::Set),
        Kind::Shm => None,
    }
    .ok_or(Errno::EIDRM)
}

/// Puts a record where everybody finds it (O1).
fn publish(cell: &Cell, object: Object) -> Result<&'static Object, Errno> {
    let place = place()?;
    // SAFETY: `place` is memory for one record, ours alone until the store below, never given back.
    let object: &'static Object = unsafe {
        place.as_ptr().write(MaybeUninit::new(object));
        place.cast().as_ref()
    };
    // ORDERING: Release: see find().
    cell.record.store(core::ptr::from_ref(object).cast_mut(), Release);
    Ok(object)
}

/// Where the next record goes, and how many more fit. Changed under `Identity::objects` (O4); atomics because fork may copy them at any time.
static NEXT: AtomicUsize = AtomicUsize::new(0);
static LEFT: AtomicUsize = AtomicUsize::new(0);
/// Records mapped at one time.
const BATCH: usize = 256;

fn place() -> Result<NonNull<MaybeUninit<Object>>, Errno> {
    if let Some(record) = graves::exhume().and_then(|at| NonNull::new(at as *mut MaybeUninit<Object>)) {
        return Ok(record);
    }
    if LEFT.load(Relaxed) == 0 {
        let memory = map::anonymous(BATCH * size_of::<Object>())?;
        NEXT.store(memory.as_ptr() as usize, Relaxed);
        LEFT.store(BATCH, Relaxed);
    }
    let at = NEXT.load(Relaxed);
    LEFT.store(LEFT.load(Relaxed) - 1, Relaxed);
    NEXT.store(at + size_of::<Object>(), Relaxed);
    NonNull::new(at as *mut MaybeUninit<Object>).ok_or(Errno::ENOMEM)
}

/// Lets the mapping of an object go that is no more.
pub(crate) fn forget(kind: Kind, id: IpcId) {
    let Some(cell) = index_of(id).and_then(|index| cell(kind, index)) else { return };
    let section = section::enter();
    let page = crate::identity::current();
    let _held = page.objects.hold(&section);
    // SAFETY: null, or a published record (O1).
    let Some(old) = (unsafe { cell.record.load(Acquire).as_ref() }) else { return };
    if old.id == id && !old.is_current(kind) {
        cell.record.store(null_mut(), Release);
        retire(kind, cell, old);
    }
}
