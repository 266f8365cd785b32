//! What every process of the storm writes down, in memory that no System V call is needed for.
//!
//! A memory file that is inherited by fork and exec. A process writes here what it is about to do and what came of it, so that after its
//! death it is known what was answered, what had not begun and what is in doubt: one call at most.
//!
//! # Invariants
//! L1. A slot is written by its process while that lives, and by the conductor between its death and its successor's birth.
//! L2. `marks` of a message: `INTENT` is there before msgsnd is called, `SENT` after it has answered, one `RECEIVED` for each receipt.
//! L3. `phase` is RECEIVING while msgrcv may take a message, and then GOT with its number until its mark is there.
//!
//! # Death
//! RECEIVING: the queue may have lost one message to the dead; the conductor counts it as in doubt. GOT: it sets the mark if that is not there.

use std::io;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering::SeqCst};

/// Most workers.
pub(super) const WORKERS: usize = 32;
/// Each worker's child has a slot, too.
pub(super) const SLOTS: usize = 2 * WORKERS;
/// Messages of one sender in one round.
pub(super) const CAPACITY: usize = 1 << 20;

/// A message is about to be sent.
pub(super) const INTENT: u8 = 1;
/// It was sent.
pub(super) const SENT: u8 = 2;
/// It was received, once.
pub(super) const RECEIVED: u8 = 4;

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// What was answered is not there.
    Lost,
    /// What was done once is there twice.
    Doubled,
    /// Half of something.
    Torn,
    /// Somebody does not go on.
    Stuck,
    /// A call failed that may not, or a process crashed.
    Failed,
}

impl Wrong {
    /// All, in the order of the report.
    pub(super) const ALL: [Wrong; 5] =
        [Wrong::Lost, Wrong::Doubled, Wrong::Torn, Wrong::Stuck, Wrong::Failed];

    /// Its word.
    pub(super) fn word(self) -> &'static str {
        ["lost", "doubled", "torn", "stuck", "failed"][self as usize]
    }
}

/// What a receiver is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing.
    Idle,
    /// Perhaps taking a message of this lane.
    Receiving(usize),
    /// It has this message.
    Got(u64),
}

impl Phase {
    fn word(self) -> u64 {
        match self {
            Phase::Idle => 0,
            Phase::Receiving(lane) => 1 << 56 | lane as u64,
            Phase::Got(number) => 2 << 56 | number,
        }
    }

    fn of(word: u64) -> Phase {
        let rest = word & ((1 << 56) - 1);
        match word >> 56 {
            1 => Phase::Receiving(rest as usize),
            2 => Phase::Got(rest),
            _ => Phase::Idle,
        }
    }
}

/// What is known of an object with a key of a slot's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// It is not there.
    Gone,
    /// It is being made or removed.
    Doubtful,
    /// It is there.
    There(i32),
}

impl Named {
    fn word(self) -> u64 {
        match self {
            Named::Gone => 0,
            Named::Doubtful => 1,
            Named::There(id) => 2 | u64::from(id as u32) << 8,
        }
    }
}

/// One process.
#[repr(C, align(64))]
#[derive(Debug)]
pub(super) struct Slot {
    /// Its number; 0: none.
    pub(super) pid: AtomicI32,
    /// Which life of this slot it is.
    pub(super) generation: AtomicU32,
    /// The life that the conductor has begun to kill.
    pub(super) killed: AtomicU32,
    /// Where it is, for a report: an index of `worker::STATIONS`.
    pub(super) station: AtomicU32,
    /// Calls that were answered, over all lives.
    pub(super) operations: AtomicU64,
    phase: AtomicU64,
    /// The next message's number.
    pub(super) next: AtomicU64,
    /// Changes of pages that were finished.
    pub(super) counted: AtomicU64,
    /// A page is being changed.
    pub(super) paging: AtomicU32,
    /// One and the number of a semaphore that the program before an exec took a token of.
    pub(super) carried: AtomicU32,
    names: [AtomicU64; 3],
}

impl Slot {
    /// What it is receiving.
    pub(super) fn phase(&self) -> Phase {
        Phase::of(self.phase.load(SeqCst))
    }

    /// Says what it is receiving.
    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase.word(), SeqCst);
    }

    /// What is known of its object of a kind.
    pub(super) fn named(&self, kind: usize) -> Named {
        let word = self.names[kind].load(SeqCst);
        match word & 0xff {
            0 => Named::Gone,
            2 => Named::There((word >> 8) as u32 as i32),
            _ => Named::Doubtful,
        }
    }

    /// Says what is known of it.
    pub(super) fn set_named(&self, kind: usize, named: Named) {
        self.names[kind].store(named.word(), SeqCst);
    }

    /// One more answer.
    pub(super) fn done(&self) {
        self.operations.fetch_add(1, SeqCst);
    }

    /// Who works here: a word that names this life among all.
    pub(super) fn life(&self, slot: usize) -> u64 {
        u64::from(self.generation.load(SeqCst)) << 16 | (slot as u64 + 1)
    }
}

/// All of it.
#[repr(C)]
pub(super) struct Ledger {
    /// Workers, of `WORKERS`.
    pub(super) workers: AtomicU32,
    /// The round ends: 1 for all but receivers, 2 for all.
    pub(super) closing: AtomicU32,
    /// What was found wrong, by `Wrong`.
    pub(super) wrong: [AtomicU64; 5],
    /// Two queues of lanes, and the one that everybody receives from.
    pub(super) queues: [AtomicI32; 3],
    /// Tokens that come back with SEM_UNDO.
    pub(super) lent: AtomicI32,
    /// Tokens that wander.
    pub(super) moved: AtomicI32,
    /// A mutex for each page.
    pub(super) mutexes: AtomicI32,
    /// The pages.
    pub(super) pages: AtomicI32,
    /// The processes.
    pub(super) slots: [Slot; SLOTS],
    marks: [[AtomicU8; CAPACITY]; WORKERS],
}

impl Ledger {
    /// Makes one, and returns its descriptor, too.
    pub(super) fn create() -> io::Result<(&'static Ledger, i32)> {
        // SAFETY: the name is a C string.
        let fd = unsafe { libc::memfd_create(c"storm".as_ptr(), 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is this process's own.
        if unsafe { libc::ftruncate(fd, size_of::<Ledger>() as i64) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ledger::open(fd).map(|ledger| (ledger, fd))
    }

    /// Maps one that was inherited.
    pub(super) fn open(fd: i32) -> io::Result<&'static Ledger> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe {
            libc::mmap(std::ptr::null_mut(), size_of::<Ledger>(), protection, libc::MAP_SHARED, fd, 0)
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the file is as large as a ledger, atomics may hold any value, and nobody makes it smaller.
        Ok(unsafe { &*at.cast::<Ledger>() })
    }

    /// Unmaps it, when its round is over.
    pub(super) fn close(&'static self, fd: i32) {
        // SAFETY: the conductor maps a ledger of its own for each round, and nothing refers to it after its report.
        unsafe {
            libc::munmap(std::ptr::from_ref(self).cast_mut().cast(), size_of::<Ledger>());
            libc::close(fd);
        }
    }

    /// How many workers there are.
    pub(super) fn count(&self) -> usize {
        self.workers.load(SeqCst) as usize
    }

    /// Whether the round ends for a slot.
    pub(super) fn closes(&self, at: usize) -> bool {
        self.closing.load(SeqCst) > u32::from(super::messages::receives(at))
    }

    /// The mark of a message, if there is such a number.
    pub(super) fn mark(&self, number: u64) -> Option<&AtomicU8> {
        self.marks.get((number >> 32) as usize)?.get((number & 0xffff_ffff) as usize)
    }

    /// Counts something wrong and says what.
    pub(super) fn report(&self, wrong: Wrong, what: &str) {
        let before = self.wrong[wrong as usize].fetch_add(1, SeqCst);
        if before < 10 {
            eprintln!("storm: {}: {what}", wrong.word());
        }
    }
}
