//! The directory's layout: one page of settings, one of process bits, for each kind the heads of its keys, then the slots: a page of each kind's
//! first ones and a page of the first segments' rows, a page of each kind's next ones and of the next rows, and so on.
//!
//! All numbers are atomics; all links are index + 1, so that zeroed memory is an empty directory.

use crate::atomic::{AtomicU32, AtomicU64};
use crate::error::{Error, Result};
use crate::layout;
use crate::region::{Region, Table};
use ring3_abi::Kind;
use ring3_abi::ipc::IPCMNI;
use ring3_abi::limits::Limit;

/// First word of a directory: "R3d" and the format's version.
pub const MAGIC: u32 = 0x5233_6404;

/// How many fields `Limits` has.
pub const LIMITS: usize = Limit::ALL.len();

/// How many kinds there are.
pub const KINDS: usize = Kind::ALL.len();

/// What the head's fields leave of its 256 bytes, in words of 32 bits.
const SPARE: usize = (256 - 8 - 8 * LIMITS - 8 * KINDS - 24 - 12 * KINDS) / 4;

/// How many words hold a bit for each process number modulo 32768.
pub const PID_WORDS: usize = IPCMNI / 64;

/// How many chains the keys of a kind are spread over.
pub const CHAINS: u32 = 4096;

layout! {
    /// The first 256 bytes.
    Head[256] {
        /// [`MAGIC`].
        magic: AtomicU32,
        /// The user that the broker runs as, who owns the namespace.
        owner: AtomicU32,
        /// The fields of `Limits`, in their order.
        limits: [AtomicU64; LIMITS],
        /// Objects in use, by kind.
        in_use: [AtomicU32; KINDS],
        /// Highest index in use + 1, by kind; 0 none.
        highest: [AtomicU32; KINDS],
        /// Semaphores in all sets.
        used_sems: AtomicU64,
        /// Pages in all segments.
        shm_pages: AtomicU64,
        /// Files of limits that somebody has open for writing: while there are any, only the broker knows the limits.
        limit_writers: AtomicU64,
        /// Rises when a lease of a kind's identifiers is given or taken back.
        lease_turns: [AtomicU64; KINDS],
        /// The lives of those who have them; 0 nobody.
        lessees: [AtomicU32; KINDS],
        /// Unused.
        spare: [AtomicU32; SPARE],
    }
    /// One object: a line of its own, so that no two objects share one.
    Slot[64] {
        /// Odd while the rest is being written; rises with every change.
        version: AtomicU64,
        /// msg: 0; sem: semaphores; shm: size as asked for.
        size: AtomicU64,
        /// The identifier.
        id: AtomicU32,
        /// The key.
        key: AtomicU32,
        /// Owner's user.
        uid: AtomicU32,
        /// Owner's group.
        gid: AtomicU32,
        /// Creator's user.
        cuid: AtomicU32,
        /// Creator's group.
        cgid: AtomicU32,
        /// Permission bits; for segments also SHM_DEST and SHM_LOCKED.
        mode: AtomicU32,
        /// 1: there is such an object.
        present: AtomicU32,
        /// Index + 1 of the next object whose key is in the same chain.
        next: AtomicU32,
        /// Unused.
        spare: [AtomicU32; 3],
    }
    /// What is told of a segment beside its slot (`segment.rs`).
    SegmentRow[64] {
        /// Odd while the rest, or the segment's slot, is being written; rises with every change.
        version: AtomicU64,
        /// Mappings.
        nattch: AtomicU64,
        /// Last shmat, seconds.
        atime: AtomicU64,
        /// Last shmdt, seconds.
        dtime: AtomicU64,
        /// Creation or last change, seconds.
        ctime: AtomicU64,
        /// Creator's process.
        cpid: AtomicU32,
        /// Process of the last shmat or shmdt.
        lpid: AtomicU32,
        /// Lives of the processes that have it attached; 0 none.
        holders: [AtomicU32; HOLDERS],
        /// 1: there are holders whose lives are not told.
        more: AtomicU32,
    }
}

/// How many lives a segment's row has room for.
pub const HOLDERS: usize = 3;

const PAGE: usize = 4096;
const HEADS: usize = CHAINS as usize * 4;
/// Where the slots begin: behind everything that each process maps.
const SLOTS: usize = 2 * PAGE + KINDS * HEADS;
/// How many slots of one kind, or rows, lie side by side: a page of them.
const BLOCK: usize = PAGE / size_of::<Slot>();
const _: () = assert!(size_of::<Slot>() == size_of::<SegmentRow>());
/// Pages of a block: one for each kind, and one of rows.
const PAGES: usize = KINDS + 1;

/// Length of a directory, bytes.
pub const LEN: usize = len_for(IPCMNI);

/// How much of a directory has the objects with the first `indices` indexes, bytes. Indexes in use are low, so a process need not map it all.
pub const fn len_for(indices: usize) -> usize {
    SLOTS + indices.div_ceil(BLOCK) * PAGES * PAGE
}

/// How many indexes of each kind lie in the first `len` bytes.
pub(super) const fn indices_in(len: usize) -> usize {
    len.saturating_sub(SLOTS) / (PAGES * PAGE) * BLOCK
}

/// The bits of processes.
pub(super) const PIDS: Table<AtomicU64> = Table::new(PAGE, PID_WORDS as u32);

/// The heads of a kind's key chains.
pub(super) const fn heads(kind: Kind) -> Table<AtomicU32> {
    Table::new(2 * PAGE + kind as usize * HEADS, CHAINS)
}

/// The slot at an index of a kind.
#[inline]
pub(super) fn slot(region: Region<'_>, kind: Kind, index: usize) -> Result<&Slot> {
    region.at(place(index, kind as usize)?)
}

/// The row of the segment at an index.
pub(super) fn segment(region: Region<'_>, index: usize) -> Result<&SegmentRow> {
    region.at(place(index, KINDS)?)
}

/// Where the 64 bytes of an index are in the `page`-th page of its block.
#[inline(always)]
fn place(index: usize, page: usize) -> Result<usize> {
    if index >= IPCMNI {
        return Err(Error::Spoiled);
    }
    Ok(SLOTS + (index / BLOCK * PAGES + page) * PAGE + index % BLOCK * size_of::<Slot>())
}

/// The chain that a key is in.
pub(super) fn chain(key: i32) -> u32 {
    // Fibonacci hashing: the top bits of the product.
    (key as u32).wrapping_mul(0x9E37_79B9) >> (32 - CHAINS.ilog2())
}
