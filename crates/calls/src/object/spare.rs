//! Spare mappings of segments: a segment that is attached again and again is mapped once more where the program does not look, so that the next attach can
//! double that mapping and needs no descriptor.
//!
//! A spare is no attachment: nobody counts it. It is let go when the directory shows that its segment has changed, at the next call that looks.
//!
//! # Invariants
//! S1. Spares change under `Home::attach` only. One is there if its `base` is not 0, which is stored last and cleared first: a forked child, which has the
//!     mappings too, sees a spare or none.
//! S2. A spare is good in the epoch it was made in (same process, same credentials, same namespace), while the directory's entry has the version that
//!     the broker allowed it for. A child's own calls find none.
#![allow(unsafe_code)]

use crate::process::directory;
use core::ptr::null_mut;
use core::sync::atomic::{
    AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use ring3_abi::ipc::index_of;
use ring3_abi::{Errno, IpcId, Kind};
use ring3_os::fd::Identity as File;
use ring3_os::map;

/// How many segments can have one.
const PLACES: usize = 1024;
/// How much they may map together, bytes: what of it belongs to segments that were removed meanwhile is kept in vain.
const MOST: usize = 32 << 20;

/// A spare mapping of a whole segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spare {
    pub(crate) id: IpcId,
    pub(crate) base: usize,
    /// Whole pages.
    pub(crate) len: usize,
    pub(crate) protection: usize,
    pub(crate) epoch: u32,
    /// The version of the directory's entry (S2).
    pub(crate) version: u64,
    pub(crate) file: File,
}

#[derive(Debug)]
struct Place {
    base: AtomicUsize,
    len: AtomicUsize,
    /// The segment that was attached last of those that have this place, whether it has a spare or not.
    id: AtomicI32,
    protection: AtomicU32,
    epoch: AtomicU32,
    version: AtomicU64,
    dev: AtomicU64,
    ino: AtomicU64,
}

impl Place {
    fn get(&self) -> Option<Spare> {
        // ORDERING: Acquire pairs with set() (S1).
        let base = self.base.load(Acquire);
        (base != 0).then(|| Spare {
            id: self.id.load(Relaxed),
            base,
            len: self.len.load(Relaxed),
            protection: self.protection.load(Relaxed) as usize,
            epoch: self.epoch.load(Relaxed),
            version: self.version.load(Relaxed),
            file: File { dev: self.dev.load(Relaxed), ino: self.ino.load(Relaxed) },
        })
    }

    fn set(&self, new: &Spare) {
        self.len.store(new.len, Relaxed);
        self.id.store(new.id, Relaxed);
        self.protection.store(new.protection as u32, Relaxed);
        self.epoch.store(new.epoch, Relaxed);
        self.version.store(new.version, Relaxed);
        self.dev.store(new.file.dev, Relaxed);
        self.ino.store(new.file.ino, Relaxed);
        // ORDERING: Release: see get().
        self.base.store(new.base, Release);
        MAPPED.fetch_add(new.len, Relaxed);
    }

    fn let_go(&self) {
        let Some(old) = self.get() else { return };
        // ORDERING: Release: see get().
        self.base.store(0, Release);
        MAPPED.fetch_sub(old.len, Relaxed);
        // SAFETY: a mapping of our own that only a call under `Home::attach` uses (S1).
        let _ = unsafe { map::unmap(old.base, old.len) };
    }
}

type Places = [Place; PLACES];

/// Null until something is attached.
static SPARES: AtomicPtr<Places> = AtomicPtr::new(null_mut());
/// Bytes in all spares.
static MAPPED: AtomicUsize = AtomicUsize::new(0);

fn places() -> Option<&'static Places> {
    // ORDERING: Acquire pairs with make_room().
    // SAFETY: null, or what make_room() mapped for ever.
    unsafe { SPARES.load(Acquire).as_ref() }
}

fn place(id: IpcId) -> Option<&'static Place> {
    places()?.get(id as usize % PLACES)
}

/// Makes the places, if nobody has. `Home::attach` is held.
fn make_room() {
    // Zeroes are what no spares are. Without memory there are none.
    if places().is_none()
        && let Ok(memory) = map::anonymous(size_of::<Places>())
    {
        // ORDERING: Release publishes the mapping.
        SPARES.store(memory.as_ptr().cast(), Release);
    }
}

impl Spare {
    /// Whether the directory shows the segment as it was when the broker allowed this (S2).
    pub(crate) fn is_current(&self) -> bool {
        let Some((index, directory)) = index_of(self.id).zip(directory::whole(Kind::Shm).ok()) else {
            return false;
        };
        directory.version(Kind::Shm, index) == self.version
    }
}

/// A segment's spare. `Home::attach` is held.
pub(crate) fn find(id: IpcId) -> Option<Spare> {
    place(id)?.get().filter(|spare| spare.id == id)
}

/// Whether a segment is likely to be attached again: it was attached before, as far as this memory remembers, or another was; it is remembered from now
/// on. `Home::attach` is held.
pub(crate) fn may_come_again(id: IpcId) -> bool {
    make_room();
    let Some(place) = place(id) else { return false };
    let is_usual = MAPPED.load(Relaxed) != 0;
    if place.id.load(Relaxed) == id {
        return true;
    }
    place.let_go();
    place.id.store(id, Relaxed);
    is_usual
}

/// Maps a segment's file once more and keeps that as its spare, if there is room. `Home::attach` is held.
pub(crate) fn keep(fd: i32, new: Spare) {
    let Some(place) = place(new.id) else { return };
    place.let_go();
    if new.len > MOST.saturating_sub(MAPPED.load(Relaxed)) {
        return;
    }
    // SAFETY: no MAP_FIXED.
    let mapped = unsafe { map::map(0, new.len, new.protection, map::MAP_SHARED, fd, 0) };
    if let Ok(base) = mapped {
        place.set(&Spare { base, ..new });
    }
}

/// Attaches by a spare: maps its segment once more, anywhere. `Home::attach` is held. # Errors: `ENOMEM`.
pub(crate) fn double(spare: &Spare) -> Result<usize, Errno> {
    // SAFETY: the spare maps the whole of a file (S1).
    unsafe { map::again(spare.base, spare.len) }.map(|at| at.as_ptr() as usize)
}

/// Takes the table out of what mlockall has locked.
pub(crate) fn unlock() {
    if let Some(places) = places() {
        map::unlock(core::ptr::from_ref(places) as usize, size_of::<Places>());
    }
}

/// Lets those go that are good for nothing any more; `all`: the rest, too. `Home::attach` is held.
pub(crate) fn sweep(all: bool) {
    if MAPPED.load(Relaxed) == 0 {
        return;
    }
    for place in places().into_iter().flatten() {
        if place.get().is_some_and(|spare| all || !spare.is_current()) {
            place.let_go();
        }
    }
}
