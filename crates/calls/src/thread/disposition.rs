//! What the program wants of its signals: the table behind the wrapper. sigaction(2); kernel: struct sighand_struct.
//!
//! # Invariants
//! D1. A disposition is read whole: its version is odd while it is written, and a reader that saw it odd, or changed, reads again.
//! D2. It is written in a section, so that no handler of the writing thread finds it half written.
//!
//! # Death
//! A writer that another thread's fork left behind leaves its version odd in the child: both sides go on after [`SPINS`] turns.

use crate::thread::section;
use core::sync::atomic::{
    AtomicI32, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use ring3_abi::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The first signal that a libc keeps for itself.
const LIBC_FIRST: i32 = 32;
/// The last one: musl keeps one more than glibc.
static LIBC_LAST: AtomicI32 = AtomicI32::new(33);
const SIGNALS: usize = 65;

/// The kernel's `struct sigaction`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Action {
    /// SIG_DFL, SIG_IGN or a function.
    pub handler: usize,
    /// SA_*.
    pub flags: u64,
    /// Where the handler returns to; libc's own business.
    pub restorer: usize,
    /// Blocked while the handler runs.
    pub mask: u64,
}

/// What the program wants of one signal.
pub(super) struct Disposition {
    /// Even: stable; odd: being written.
    version: AtomicU32,
    known: AtomicU32,
    handler: AtomicUsize,
    flags: AtomicU64,
    restorer: AtomicUsize,
    mask: AtomicU64,
}

static DISPOSITIONS: [Disposition; SIGNALS] = [const {
    Disposition {
        version: AtomicU32::new(0),
        known: AtomicU32::new(0),
        handler: AtomicUsize::new(0),
        flags: AtomicU64::new(0),
        restorer: AtomicUsize::new(0),
        mask: AtomicU64::new(0),
    }
}; SIGNALS];

/// How long a reader waits for a writer. A writer that takes longer is another thread that fork left behind.
const SPINS: u32 = 1 << 20;

impl Disposition {
    pub(super) fn read(&self) -> Option<Action> {
        let mut spins = 0;
        loop {
            // ORDERING: Acquire pairs with write(): the fields belong to the version.
            let version = self.version.load(Acquire);
            let action = Action {
                handler: self.handler.load(Relaxed),
                flags: self.flags.load(Relaxed),
                restorer: self.restorer.load(Relaxed),
                mask: self.mask.load(Relaxed),
            };
            let known = self.known.load(Relaxed) != 0;
            // ORDERING: the fence pairs with write(): the fields are read before the version is read again.
            core::sync::atomic::fence(Acquire);
            if (version & 1 == 0 && self.version.load(Relaxed) == version) || spins > SPINS {
                return known.then_some(action);
            }
            spins += 1;
            core::hint::spin_loop();
        }
    }

    /// Writes the disposition. In a section, so that no handler of this thread finds it half written.
    pub(super) fn write(&self, action: &Action) {
        let _section = section::enter();
        // ORDERING: AcqRel orders the odd version before the fields, Release the fields before the even one.
        let mut spins = 0;
        while self.version.fetch_or(1, core::sync::atomic::Ordering::AcqRel) & 1 == 1 && spins < SPINS {
            spins += 1;
            core::hint::spin_loop();
        }
        self.handler.store(action.handler, Relaxed);
        self.flags.store(action.flags, Relaxed);
        self.restorer.store(action.restorer, Relaxed);
        self.mask.store(action.mask, Relaxed);
        self.known.store(1, Relaxed);
        // ORDERING: Release pairs with read(): the fields are written before the version is even.
        self.version.fetch_add(1, Release);
    }
}

/// Says which libc the program has: musl keeps signal 34 too.
pub fn libc_keeps(last: i32) {
    LIBC_LAST.store(last, Relaxed);
}

/// Whether a libc keeps this signal for itself.
pub(super) fn is_libc_signal(sig: i32) -> bool {
    (LIBC_FIRST..=LIBC_LAST.load(Relaxed)).contains(&sig)
}

/// What the program wants of a signal; `EINVAL` for those that are no signals to a program.
pub(super) fn disposition(sig: i32) -> Result<&'static Disposition, Errno> {
    if is_libc_signal(sig) {
        return Err(Errno::EINVAL);
    }
    usize::try_from(sig).ok().filter(|&n| n > 0).and_then(|n| DISPOSITIONS.get(n)).ok_or(Errno::EINVAL)
}
