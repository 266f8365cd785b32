//! Opening objects: the broker is asked what this process may map, and the region is mapped.
//!
//! # Invariants
//! O3. A region that is let go is not unmapped but overlaid with zeroed memory of our own, *before* the broker hears that its range is
//!     free. A call that is still inside reads a region that has no state, which is `Spoiled`, and looks here again. A call that could not
//!     look again, because the region holds something of its own (the answer of a served sleeper, a text that is being copied out), pins the
//!     region first (`pin.rs`), and the region is let go when the call has left it.
//!
//! O1, O2 and O4 are in `record.rs`.

use crate::object::record::{Cell, Handle, Object, cell, find, find_in, make_room};
use crate::object::{lease, pin, reclaim};
use crate::process::identity::{self, Home};
use crate::process::{self, connection, credentials, deputy, directory};
use crate::thread::section::{self, Section};
use core::mem::MaybeUninit;
use core::ptr::null_mut;
use core::sync::atomic::{
    Ordering::{Acquire, Release, SeqCst},
    fence,
};
use ring3_abi::ipc::{READ, WRITE, index_of};
use ring3_abi::{Errno, IpcId, Kind};
use ring3_engine::directory::{Directory, Entry};
use ring3_engine::{Region, msg::Queue, sem::Set};
use ring3_os::fd::Fd;
use ring3_os::{map, process as os};
use ring3_wire::Op;
use ring3_wire::reply::Opened;
use ring3_wire::request;
use zerocopy::IntoBytes;

/// The record of an identifier, opened if need be.
///
/// # Errors
/// `EINVAL` if there is no such object, `ENOMEM`, `ENOSYS`.
#[inline]
pub(crate) fn open(kind: Kind, id: IpcId) -> Result<&'static Object, Errno> {
    match find(kind, id, identity::current()) {
        Some(object) if object.serves_thread() => Ok(object),
        _ => deputy::provided(|| open_slow(kind, id)),
    }
}

/// How often an object is opened that is another one each time: it is being moved, or its permission changed, again and again.
const OPENINGS: u32 = 10_000;

#[cold]
fn open_slow(kind: Kind, id: IpcId) -> Result<&'static Object, Errno> {
    let index = index_of(id).ok_or(Errno::EINVAL)?;
    let me = process::ready()?;
    // What the directory does not show is not there.
    lease::settle(kind);
    let home = identity::home()?;
    let bit = home.bit(me);
    let section = section::enter();
    let _held = home.objects.hold(&section);
    make_room(kind, index)?;
    let cell = cell(kind, index).ok_or(Errno::EINVAL)?;
    for n in 0..OPENINGS {
        if n > 0 {
            os::nap();
        }
        let (epoch, apart) = home.epoch_and_apart();
        let found = find_in(kind, id, epoch).filter(|object| object.users & bit != 0);
        if let Some(object) = found.filter(|object| object.serves_thread()) {
            return Ok(object);
        }
        // After the epoch: the process may be on its way into another namespace (`directory.rs`, Y3).
        let (turn, directory) = (directory::turn(), directory::reach(index)?);
        let Some(entry) = entry(directory, kind, index)? else { return Err(Errno::EINVAL) };
        let version = directory.version_word(kind, index).ok_or(Errno::EINVAL)?;
        if entry.id != id {
            return Err(Errno::EINVAL);
        }
        let rights = credentials::granted(&entry);
        let shell = Object {
            kind,
            id,
            epoch,
            image: home.image(),
            users: bit,
            entry,
            granted: if apart { 0 } else { rights },
            direct: false,
            apart,
            mapped: 0,
            base: 0,
            len: 0,
            handle: Handle::Absent,
            version,
            turn,
            lingers: false,
        };
        if let Some(object) = refresh(kind, cell, shell, rights, &section)? {
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

/// Publishes a new record: with the old mapping if that will do for `rights`, else with a new one. `None`: the object changed meanwhile.
fn refresh(
    kind: Kind,
    cell: &Cell,
    mut new: Object,
    rights: u32,
    section: &Section,
) -> Result<Option<&'static Object>, Errno> {
    // ORDERING: Acquire pairs with publish(): the record is whole.
    // SAFETY: null, or a published record (O1).
    if let Some(old) = unsafe { cell.record.load(Acquire).as_ref() } {
        // Threads that are apart need at least so much; a process whose threads are alike keeps no more than it may have.
        let fits = if new.apart { old.maps(rights) } else { old.mapped == rights & (READ | WRITE) };
        let same = old.image == new.image && old.turn == new.turn && old.entry.version == new.entry.version;
        if same && fits && !process::users_abroad() {
            let Object { mapped, base, len, handle, lingers, .. } = *old;
            // A guest's bit is another's in another epoch.
            let known = if old.epoch == new.epoch { old.users } else { old.users & Home::OWNER };
            if known & new.users == 0 && !announce(kind, &new)? {
                return Ok(None);
            }
            new = Object { mapped, base, len, handle, lingers, users: new.users | known, ..new };
            let new = publish(cell, new)?;
            reclaim::retire(core::ptr::from_ref(old) as usize, 0, 0);
            return Ok(Some(new));
        }
        // ORDERING: Release keeps what was read of the record before it is gone; release() orders the rest against pins.
        cell.record.store(null_mut(), Release);
        if same {
            // The rights have changed, or are another thread's, not the object: other threads may be at work in the region, so the mapping stays until
            // nobody can be (reclaim.rs).
            reclaim::retire(core::ptr::from_ref(old) as usize, old.base, old.len);
            new.lingers = true;
        } else {
            release(cell, old);
        }
    }
    if rights & (READ | WRITE) != 0 && !map_region(kind, &mut new, section)? {
        return Ok(None);
    }
    publish(cell, new).map(Some)
}

/// Lets an old record's mapping go (O3). The record is not published any more.
pub(super) fn release(cell: &Cell, old: &'static Object) {
    reclaim::retire(core::ptr::from_ref(old) as usize, old.base, old.len);
    if old.len == 0 {
        return;
    }
    // ORDERING: SeqCst pairs with pin::pin(): we see the pin, or it finds the record gone.
    fence(SeqCst);
    if cell.pins.load(SeqCst) == 0 {
        pin::leave_region(old);
    } else {
        pin::keep_for_now(old);
    }
}

/// What the broker says about an object that is to be used.
enum Answered {
    /// Another object by now.
    Changed,
    /// Nothing that may be mapped; what the caller may do by way of the broker.
    Nothing(u32),
    /// This.
    Region(Opened, Fd),
}

/// Asks the broker for the region; it knows the calling process as a user from then on.
fn ask_region(kind: Kind, new: &Object) -> Result<Answered, Errno> {
    let mut buf: connection::Small = [0; 256];
    let body = request::Open { kind: kind.into(), id: new.id };
    let answer = match connection::fetch(Op::Open, body.as_bytes(), &[], &mut buf) {
        Ok(answer) => answer,
        Err(Errno::EACCES) => return Ok(Answered::Nothing(0)),
        Err(Errno::EINVAL | Errno::EIDRM) => return Ok(Answered::Changed),
        Err(errno) => return Err(errno),
    };
    let opened: Opened = answer.body(&buf)?;
    answer.descriptor_if_any()?;
    Ok(match answer.fd {
        _ if opened.version != new.entry.version => Answered::Changed,
        None => Answered::Nothing(opened.access),
        Some(fd) => Answered::Region(opened, fd),
    })
}

/// The permission bits that the broker's answer decides: all of them, if ids mean something else here than to the broker.
fn broker_decides() -> u32 {
    if process::users_abroad() { READ | WRITE } else { 0 }
}

/// Makes the calling process known as a user of what is mapped already. `false`: the object is another one by now.
fn announce(kind: Kind, new: &Object) -> Result<bool, Errno> {
    ask_region(kind, new).map(|region| !matches!(region, Answered::Changed))
}

/// Asks the broker for the region and maps it. `false`: the object is another one by now.
fn map_region(kind: Kind, new: &mut Object, _section: &Section) -> Result<bool, Errno> {
    let (opened, fd) = match ask_region(kind, new)? {
        Answered::Changed => return Ok(false),
        Answered::Nothing(access) => {
            new.granted &= !broker_decides() | access;
            return Ok(true);
        }
        Answered::Region(opened, fd) => (opened, fd),
    };
    new.granted &= !broker_decides() | opened.access;
    let prot = if opened.access & WRITE != 0 { map::PROT_READ | map::PROT_WRITE } else { map::PROT_READ };
    let len = usize::try_from(opened.len).map_err(|_| Errno::ENOMEM)?;
    let base = match map::shared(fd.raw(), opened.offset, len, prot) {
        Ok(base) => base,
        // No room (RLIMIT_AS, RLIMIT_MEMLOCK): the broker does the calls.
        Err(Errno::ENOMEM | Errno::EAGAIN) => return Ok(true),
        Err(errno) => return Err(errno),
    };
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
fn publish(cell: &Cell, mut object: Object) -> Result<&'static Object, Errno> {
    object.direct = object.is_writable() && object.granted & (READ | WRITE) == READ | WRITE;
    let place = reclaim::place()?;
    // SAFETY: `place` is memory for one record, ours alone until the store below, never given back.
    let object: &'static Object = unsafe {
        place.as_ptr().write(MaybeUninit::new(object));
        place.cast().as_ref()
    };
    // ORDERING: Release: see find().
    cell.record.store(core::ptr::from_ref(object).cast_mut(), Release);
    Ok(object)
}

/// Lets the mapping of an object go that is no more.
pub(crate) fn forget(kind: Kind, id: IpcId) {
    let Some(cell) = index_of(id).and_then(|index| cell(kind, index)) else { return };
    let section = section::enter();
    let Some(home) = identity::known_home() else { return };
    let _held = home.objects.hold(&section);
    // ORDERING: Acquire pairs with publish(), and Release below is as in refresh().
    // SAFETY: null, or a published record (O1).
    let Some(old) = (unsafe { cell.record.load(Acquire).as_ref() }) else { return };
    if old.id == id && !old.is_current() {
        // ORDERING: as in refresh().
        cell.record.store(null_mut(), Release);
        release(cell, old);
    }
}
