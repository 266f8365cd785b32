//! The segments this process has attached: where, how much of them, and by which of the broker's tokens. Forked children inherit it
//! with the mappings.
//!
//! A record is what the kernel has one mapping for: an attachment, or a part of one that the program has cut (`parts.rs`, `cuts.rs`).
//!
//! # Invariants
//! A1. A record is in use if `len` is not 0, which is stored last and cleared first. So a child forked in the middle of a
//!     change sees a record or none.
//! A2. Records change under `Home::attach` only.

use crate::object::flags::Flags;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{
    AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use ring3_abi::{Errno, IpcId};
use ring3_os::fd::Identity;
use ring3_os::map;

/// An attachment, or a part of one. No two overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) addr: usize,
    /// Whole pages.
    pub(crate) len: usize,
    /// Where in the segment it starts.
    pub(crate) offset: usize,
    /// The broker's name for it; 0 if the broker does not count it.
    pub(crate) token: u64,
    /// The shmat it comes from: that one's token.
    pub(crate) origin: u64,
    /// The segment's length, whole pages.
    pub(crate) size: usize,
    /// The segment.
    pub(crate) id: IpcId,
    /// What the kernel keeps of the mapping's use (`flags.rs`).
    pub(crate) flags: Flags,
    pub(crate) file: Identity,
}

impl Part {
    /// The first address behind it.
    pub(crate) fn end(&self) -> usize {
        self.addr.saturating_add(self.len)
    }

    /// The part of it in a range, which must overlap it.
    pub(crate) fn cut(self, from: usize, to: usize) -> Part {
        let (addr, end) = (self.addr.max(from), self.end().min(to));
        let offset = self.offset + (addr - self.addr);
        Part { addr, len: end.saturating_sub(addr), offset, ..self }
    }
}

#[derive(Debug, Default)]
struct Record {
    len: AtomicUsize,
    addr: AtomicUsize,
    offset: AtomicUsize,
    size: AtomicUsize,
    flags: AtomicU64,
    token: AtomicU64,
    origin: AtomicU64,
    id: AtomicI32,
    dev: AtomicU64,
    ino: AtomicU64,
}

/// Records in one page, beside the link to the next page.
const RECORDS: usize = (map::PAGE - 8) / size_of::<Record>();

#[derive(Debug)]
struct Chunk {
    next: AtomicPtr<Chunk>,
    records: [Record; RECORDS],
}

static CHUNKS: AtomicPtr<Chunk> = AtomicPtr::new(null_mut());
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Whether this process may have attachments.
#[inline]
pub(crate) fn any() -> bool {
    COUNT.load(Relaxed) != 0
}

impl Record {
    fn get(&self) -> Option<Part> {
        // ORDERING: Acquire pairs with set() (A1).
        let len = self.len.load(Acquire);
        (len != 0).then(|| Part {
            addr: self.addr.load(Relaxed),
            len,
            offset: self.offset.load(Relaxed),
            token: self.token.load(Relaxed),
            origin: self.origin.load(Relaxed),
            size: self.size.load(Relaxed),
            id: self.id.load(Relaxed),
            flags: Flags(self.flags.load(Relaxed)),
            file: Identity { dev: self.dev.load(Relaxed), ino: self.ino.load(Relaxed) },
        })
    }

    fn set(&self, new: Part) {
        self.addr.store(new.addr, Relaxed);
        self.offset.store(new.offset, Relaxed);
        self.size.store(new.size, Relaxed);
        self.id.store(new.id, Relaxed);
        self.flags.store(new.flags.0, Relaxed);
        self.origin.store(new.origin, Relaxed);
        self.token.store(new.token, Relaxed);
        self.dev.store(new.file.dev, Relaxed);
        self.ino.store(new.file.ino, Relaxed);
        // ORDERING: Release: see get().
        self.len.store(new.len, Release);
    }
}

fn records() -> impl Iterator<Item = &'static Record> {
    // ORDERING: Acquire, here and of each link, pairs with grow(): the chunk is zeroed before it is found.
    let mut chunk = CHUNKS.load(Acquire);
    let chunks = core::iter::from_fn(move || {
        // SAFETY: null, or a chunk that grow() mapped for ever.
        let here: &'static Chunk = unsafe { chunk.as_ref()? };
        // ORDERING: as the head above.
        chunk = here.next.load(Acquire);
        Some(here)
    });
    chunks.flat_map(|chunk| chunk.records.iter())
}

/// All parts.
pub(crate) fn all() -> impl Iterator<Item = Part> {
    records().filter_map(Record::get)
}

/// Writes a part down. `Home::attach` is held. # Errors: `ENOMEM`.
pub(crate) fn add(new: Part) -> Result<(), Errno> {
    let free = |r: &&Record| r.len.load(Relaxed) == 0;
    let place = match records().find(free) {
        Some(place) => place,
        None => {
            grow()?;
            records().find(free).ok_or(Errno::ENOMEM)?
        }
    };
    place.set(new);
    COUNT.store(COUNT.load(Relaxed) + 1, Relaxed);
    Ok(())
}

/// Writes down what the part at an address is now. `Home::attach` is held.
pub(crate) fn replace(addr: usize, new: Part) {
    if let Some(record) = records().find(|r| r.get().is_some_and(|a| a.addr == addr)) {
        // ORDERING: Release pairs with get(): a record that is read as in use still has its old fields (A1).
        record.len.store(0, Release);
        record.set(new);
    }
}

/// Forgets the part at an address. `Home::attach` is held.
pub(crate) fn remove(addr: usize) {
    if let Some(record) = records().find(|r| r.get().is_some_and(|a| a.addr == addr)) {
        // ORDERING: Release pairs with get(), as in replace().
        record.len.store(0, Release);
        COUNT.store(COUNT.load(Relaxed).saturating_sub(1), Relaxed);
    }
}

/// Accounts, in a forked child, for what fork has not copied.
pub(crate) fn forked() {
    for record in records() {
        let Some(part) = record.get() else { continue };
        if part.flags.stays_behind() {
            remove(part.addr);
        } else if part.flags != part.flags.forked() {
            replace(part.addr, Part { flags: part.flags.forked(), ..part });
        }
    }
}

fn grow() -> Result<(), Errno> {
    let chunk: NonNull<Chunk> = map::anonymous(map::PAGE)?.cast();
    const { assert!(size_of::<Chunk>() <= map::PAGE) };
    // SAFETY: a page of zeroes, which is a chunk without records; nobody else has it yet.
    unsafe { chunk.as_ref() }.next.store(CHUNKS.load(Relaxed), Relaxed);
    // ORDERING: Release publishes the chunk.
    CHUNKS.store(chunk.as_ptr(), Release);
    Ok(())
}
