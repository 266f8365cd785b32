//! The namespace's directory, as far as this process has had to do with it.
//!
//! A process maps the beginning, with the first indexes of each kind, and more when it meets an index that is not in it. Old mappings stay: a
//! reader may have one in its hand.
//!
//! # Invariants
//! Y1. `BASE` has at least `LEN` bytes mapped: a longer mapping is published by `BASE` first, then by `LEN`; a reader takes `LEN` first.
//! Y2. Both change in [`keep`] and [`reach`] alone: at registration, under `Identity::rpc`, and under `Home::objects` later.
//! Y3. A process that comes into another namespace gets another directory, which is published before the epoch changes
//!     (`identity.rs`): who reads the epoch first and the directory next has the epoch's own, or an epoch that is over.

use crate::process::identity;
use crate::thread::section;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use ring3_abi::{Errno, Kind};
use ring3_engine::Region;
use ring3_engine::directory::Directory;
use ring3_engine::directory::layout::Head;
use ring3_os::{fd, map};

/// The directory's first byte; null before the first registration of this memory.
static BASE: AtomicPtr<u8> = AtomicPtr::new(null_mut());
static LEN: AtomicUsize = AtomicUsize::new(0);
/// The beginning of some mapping of the directory in use, checked already; null as `BASE`.
static HEAD: AtomicPtr<Head> = AtomicPtr::new(null_mut());

/// How many indexes of each kind are mapped at first.
const FIRST: usize = 64;

/// The namespace's directory, if this memory has it. # Errors: `ENOSYS` before registration.
#[inline]
pub(crate) fn directory() -> Result<Directory<'static>, Errno> {
    // ORDERING: Acquire pairs with publish(): a base that is read after a length is at least as long (Y1).
    let len = LEN.load(Acquire);
    let base = NonNull::new(BASE.load(Acquire)).ok_or(Errno::ENOSYS)?;
    // SAFETY: R1: `len` bytes of a sealed file are mapped there for ever (Y1); R3: we only read.
    let region = unsafe { Region::new(base, len) };
    Directory::new(region).map_err(|_| Errno::ENOSYS)
}

/// The page that begins the directory. # Errors: `ENOSYS` before registration.
#[inline]
pub(crate) fn head() -> Result<&'static Head, Errno> {
    // ORDERING: Acquire pairs with publish(): the page is mapped, for ever.
    // SAFETY: null, or what publish() was given of a directory.
    unsafe { HEAD.load(Acquire).as_ref() }.ok_or(Errno::ENOSYS)
}

/// The directory with every object that there is of a kind. # Errors: `ENOSYS`, `ENOMEM`.
#[inline(always)]
pub(crate) fn whole(kind: Kind) -> Result<Directory<'static>, Errno> {
    let directory = directory()?;
    match directory.usage(kind).1 {
        Some(highest) if highest as usize >= directory.indices() => reach_first(highest as usize),
        _ => Ok(directory),
    }
}

/// [`reach`] for who does not hold `Home::objects`.
#[cold]
#[inline(never)]
fn reach_first(index: usize) -> Result<Directory<'static>, Errno> {
    let section = section::enter();
    let _held = identity::home()?.objects.hold(&section);
    reach(index)
}

/// The directory with an index of each kind. `Home::objects` is held. # Errors: `ENOSYS`, `ENOMEM`.
pub(crate) fn reach(index: usize) -> Result<Directory<'static>, Errno> {
    let old = directory()?;
    if index < old.indices() {
        return Ok(old);
    }
    let indices = index.saturating_add(1).max(old.indices() * 2);
    let len = Directory::len_for(indices).min(Directory::len());
    // ORDERING: Acquire pairs with the Release that published this mapping.
    let base = BASE.load(Acquire);
    // SAFETY: a second mapping of a file of ours, anywhere; the first stays.
    let base = unsafe { map::again(base as usize, len)? };
    publish(base, len);
    directory()
}

/// The inode of the directory's file, and how many directories there were.
static INODE: AtomicU64 = AtomicU64::new(0);
static TURN: AtomicU32 = AtomicU32::new(0);

/// Which directory of all that this memory has had is in use.
pub(crate) fn turn() -> u32 {
    TURN.load(Relaxed)
}

/// Maps the directory that Hello answered, unless it is the one that is mapped. A memory has one: only its owner brings another.
///
/// # Errors
/// `ENOSYS` for a guest that is in another namespace than the memory's owner.
pub(crate) fn keep(fd: i32, len: u64, owner: bool) -> Result<(), Errno> {
    let inode = fd::identify(fd)?.ino;
    // ORDERING: Acquire pairs with the Release that published a mapping.
    let first = BASE.load(Acquire).is_null();
    if !first && INODE.load(Relaxed) == inode {
        return Ok(());
    }
    if !first && !owner {
        return Err(Errno::ENOSYS);
    }
    if len < Directory::len() as u64 {
        return Err(Errno::EPROTO);
    }
    // As much as there was of another namespace's (Y1).
    let len = Directory::len_for(FIRST).max(LEN.load(Relaxed));
    TURN.fetch_add(1, Relaxed);
    INODE.store(inode, Relaxed);
    publish(map::shared(fd, 0, len, map::PROT_READ)?, len);
    Ok(())
}

/// Takes it out of what mlockall has locked.
pub(crate) fn unlock() {
    // ORDERING: Acquire, of both words, pairs with publish().
    let len = LEN.load(Acquire);
    map::unlock(BASE.load(Acquire) as usize, len);
}

fn publish(base: NonNull<u8>, len: usize) {
    // ORDERING: AcqRel and Release publish the mapping (Y1).
    BASE.swap(base.as_ptr(), AcqRel);
    LEN.store(len.max(LEN.load(Relaxed)), Release);
    if let Some(head) = directory().ok().and_then(Directory::head) {
        // ORDERING: Release publishes the mapping.
        HEAD.store(core::ptr::from_ref(head).cast_mut(), Release);
    }
}
