//! The file that has the state, and its head. docs/state-format.md is this file and `log.rs` in prose.
//!
//! | at | what |
//! | --- | --- |
//! | 0 | [`Head`] |
//! | one page | [`PLACES`] places for packets in hand (`inbox.rs`) |
//! | 6 MiB | [`DRAWERS`] words: the sockets of drawers for descriptors (`vault.rs`) |
//! | 8 MiB | two halves of the log, of the same length |
//!
//! It has room for much and takes what is used: pages of a memory file that nobody touched are not there.

use super::vault::DRAWERS;
use crate::failure::errno;
use crate::regions::{Mapping, Place, memory_file, seal};
use ring3_abi::Errno;
use ring3_engine::Region;
use ring3_engine::atomic::{AcqRel, Acquire, AtomicU32, AtomicU64, Relaxed, Release};
use ring3_engine::layout;
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::mm::MapFlags;
use rustix::process::{Resource, getrlimit};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// How many halves the log has.
pub(super) const HALVES: usize = 2;
/// How many packets can be in hand.
pub(super) const PLACES: usize = 64;
/// Distance of places.
const STRIDE: usize = 17 * 4096;
/// Where the first place is.
const FIRST: usize = 4096;
/// Where the words of the drawers are.
const TABLE: usize = 6 << 20;
const _: () = assert!(FIRST + PLACES * STRIDE <= TABLE && TABLE + DRAWERS * 8 <= LOG);
/// Where the log is.
const LOG: usize = 8 << 20;
const _: () = assert!(
    FIRST + PLACES * STRIDE <= LOG && size_of::<ring3_os::packet::Place>() + size_of::<Ticket>() <= STRIDE
);
/// The most that a half may have.
const HALF: usize = 1 << 30;
/// The least.
const LEAST_HALF: usize = 16 << 20;
/// First word: "R3S" and the format's version.
pub(super) const MAGIC: u32 = 0x5233_5301;

layout! {
    /// The head.
    Head[128] {
        /// [`MAGIC`], once everything of the first state is there.
        magic: AtomicU32,
        /// How many brokers there were before this one: who takes over counts it up.
        reign: AtomicU32,
        /// The process that serves.
        broker: AtomicU32,
        /// How many have taken over since one has done something.
        takeovers: AtomicU32,
        /// Which half of the log counts.
        half: AtomicU32,
        /// Unused.
        spare: AtomicU32,
        /// Up to where each half is written.
        end: [AtomicU64; 2],
        /// How long each was when it began.
        begun: [AtomicU64; 2],
        /// The object in whose region the broker does something: its namespace's number, kind and index, + 1; 0 none.
        touched: AtomicU64,
        /// The number of the last packet that was received.
        last_packet: AtomicU64,
        /// Unused.
        more: [AtomicU64; 7],
    }
    /// What stands behind a packet's place.
    Ticket[32] {
        /// The connection that it came over.
        conn: AtomicU64,
        /// Its number: they rise.
        number: AtomicU64,
        /// Unused.
        spare: [AtomicU64; 2],
    }
}

/// The state's memory.
#[derive(Debug)]
pub struct Memory {
    mapping: Mapping,
    /// Never closed: it is one for all that go on from here.
    file: ManuallyDrop<OwnedFd>,
    half: usize,
}

impl Memory {
    /// Makes an empty one.
    ///
    /// # Errors
    /// What the machine refuses.
    pub(crate) fn create() -> Result<Memory, Errno> {
        let most = getrlimit(Resource::Fsize).current.map_or(usize::MAX, |most| most as usize);
        let half = (most.saturating_sub(LOG) / HALVES).clamp(LEAST_HALF, HALF) & !4095;
        let file = memory_file("ring3-state", MemfdFlags::empty())?;
        let len = LOG + HALVES * half;
        rustix::fs::ftruncate(&file, len as u64).map_err(errno)?;
        seal(&file, SealFlags::GROW)?;
        let mut mapping = Mapping::new(&file, len, MapFlags::NORESERVE)?;
        mapping.leave();
        Ok(Memory { mapping, file: ManuallyDrop::new(file), half })
    }

    /// One that another process has made, by its descriptor's number.
    ///
    /// # Errors
    /// `EIO` for a file that is none, or has no state; the machine's.
    pub(super) fn found(number: RawFd) -> Result<Memory, Errno> {
        let file = ManuallyDrop::new(crate::regions::inherited(number).ok_or(Errno::EIO)?);
        let len = usize::try_from(rustix::fs::fstat(&*file).map_err(errno)?.st_size).unwrap_or(0);
        let half = len.saturating_sub(LOG) / HALVES;
        if !(LEAST_HALF..=HALF).contains(&half) || !half.is_multiple_of(4096) {
            return Err(Errno::EIO);
        }
        let mut mapping = Mapping::new(&*file, len, MapFlags::NORESERVE)?;
        mapping.leave();
        let memory = Memory { mapping, file, half };
        if memory.is_good() { Ok(memory) } else { Err(Errno::EIO) }
    }

    /// Where the sockets of a drawer stand.
    pub(super) fn drawer(&self, n: usize) -> Option<&AtomicU64> {
        if n < DRAWERS { self.region().at(TABLE + n * 8).ok() } else { None }
    }

    /// Descriptors beside packets in hand that are not among these are gone.
    pub(super) fn keep_beside(&self, is_there: impl Fn(RawFd) -> bool) {
        (0..PLACES).for_each(|n| self.place(n).keep_beside(&is_there));
    }

    /// The same memory for who goes on after this process, in this process or in one that was forked after it was made.
    pub fn again(&self) -> Memory {
        Memory { mapping: self.mapping.again(), file: crate::regions::same(&self.file), half: self.half }
    }

    /// The descriptor's number.
    pub fn descriptor(&self) -> i32 {
        self.file.as_raw_fd()
    }

    pub(super) fn region(&self) -> Region<'_> {
        self.mapping.whole()
    }

    pub(crate) fn head(&self) -> &Head {
        self.mapping.first()
    }

    pub(super) fn half_len(&self) -> usize {
        self.half
    }

    pub(super) fn half_at(&self, half: usize) -> usize {
        LOG + half * self.half
    }

    /// Gives a half's pages back but for the first `kept` bytes. Not given back, they are used again.
    pub(super) fn give_back(&self, half: usize, kept: usize) {
        let used = self.head().end[half % HALVES].load(Relaxed) as usize;
        if used > kept {
            let (at, len) = ((self.half_at(half) + kept) as u64, (used - kept) as u64);
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let _ = rustix::fs::fallocate(&*self.file, hole, at, len);
        }
    }

    /// A place for a packet.
    pub(super) fn place(&self, n: usize) -> Place<'_> {
        self.mapping.place(FIRST + n % PLACES * STRIDE)
    }

    /// What is noted of it.
    pub(super) fn ticket(&self, n: usize) -> Option<&Ticket> {
        let at = FIRST + n % PLACES * STRIDE + STRIDE - size_of::<Ticket>();
        self.region().at(at).ok()
    }

    /// Everything of the first state is there.
    pub(crate) fn make_good(&self) {
        // ORDERING: Release pairs with is_good().
        self.head().magic.store(MAGIC, Release);
    }

    /// Whether a broker can go on from here.
    pub fn is_good(&self) -> bool {
        // ORDERING: Acquire pairs with make_good().
        self.head().magic.load(Acquire) == MAGIC
    }

    /// Which broker this is, from 0: what a lookout remembers, to know later whether somebody has taken over from it.
    pub fn reign(&self) -> u32 {
        self.head().reign.load(Relaxed)
    }

    /// Takes over from the broker of this reign. `false`: somebody else has.
    pub fn take_over(&self, reign: u32) -> bool {
        // ORDERING: AcqRel: one of several lookouts has it, and sees what the dead broker wrote.
        let taken = self.head().reign.compare_exchange(reign, reign.wrapping_add(1), AcqRel, Relaxed).is_ok();
        if taken {
            self.head().takeovers.fetch_add(1, Relaxed);
        }
        taken
    }

    /// How many have taken over since a broker has done something: one that dies of what it has to do will not be followed for ever.
    pub fn takeovers(&self) -> u32 {
        self.head().takeovers.load(Relaxed)
    }
}
