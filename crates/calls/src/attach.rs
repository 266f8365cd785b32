//! The segments this process has attached: where, how long, and by which of the broker's tokens. Forked children inherit it with
//! the mappings.
//!
//! # Invariants
//! A1. A record is in use if `len` is not 0, which is stored last and cleared first. So a child forked in the middle of a
//!     change sees a record or none.
//! A2. Records change under `Identity::attach` only.

use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use ring3_abi::Errno;
use ring3_os::fd::Identity;
use ring3_os::map;

/// One attachment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attachment {
    pub(crate) addr: usize,
    /// Whole pages.
    pub(crate) len: usize,
    pub(crate) token: u64,
    pub(crate) file: Identity,
}

#[derive(Debug, Default)]
struct Record {
    len: AtomicUsize,
    addr: AtomicUsize,
    token: AtomicU64,
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
pub fn any() -> bool {
    COUNT.load(Relaxed) != 0
}

impl Record {
    fn get(&self) -> Option<Attachment> {
        // ORDERING: Acquire pairs with set() (A1).
        let len = self.len.load(Acquire);
        (len != 0).then(|| Attachment {
            addr: self.addr.load(Relaxed),
            len,
            token: self.token.load(Relaxed),
            file: Identity { dev: self.dev.load(Relaxed), ino: self.ino.load(Relaxed) },
        })
    }

    fn set(&self, new: Attachment) {
        self.addr.store(new.addr, Relaxed);
        self.token.store(new.token, Relaxed);
        self.dev.store(new.file.dev, Relaxed);
        self.ino.store(new.file.ino, Relaxed);
        // ORDERING: Release: see get().
        self.len.store(new.len, Release);
    }
}

fn records() -> impl Iterator<Item = &'static Record> {
    let mut chunk = CHUNKS.load(Acquire);
    let chunks = core::iter::from_fn(move || {
        // SAFETY: null, or a chunk that grow() mapped for ever.
        let here: &'static Chunk = unsafe { chunk.as_ref()? };
        chunk = here.next.load(Acquire);
        Some(here)
    });
    chunks.flat_map(|chunk| chunk.records.iter())
}

/// All attachments.
pub(crate) fn all() -> impl Iterator<Item = Attachment> {
    records().filter_map(Record::get)
}

/// Writes an attachment down. `Identity::attach` is held. # Errors: `ENOMEM`.
pub(crate) fn add(new: Attachment) -> Result<(), Errno> {
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

/// Forgets an attachment. `Identity::attach` is held.
pub(crate) fn remove(token: u64) {
    if let Some(record) = records().find(|r| r.get().is_some_and(|a| a.token == token)) {
        record.len.store(0, Release);
        COUNT.store(COUNT.load(Relaxed).saturating_sub(1), Relaxed);
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
