//! The memory of records: where the next one goes, and what becomes of records and address ranges of objects that no call finds any
//! more, but that a call may have found before (`record.rs`, O1).
//!
//! # Invariants
//! R1. `RETIRED` holds what may be in use still; its ranges hold zeroes. `REUSABLE` holds records whose range is unmapped. Both change
//!     under `Home::objects`.
//! R2. Retired records become reusable at a moment when nothing can use one: the process has one thread and no guest, no call of it is asleep, and no region
//!     is kept by a pin. A call that a handler jumped out of counts as asleep for ever; then nothing is given back any more, which costs
//!     addresses, not memory.

use crate::object::pin;
use crate::object::record::Object;
use crate::process::identity;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use ring3_abi::Errno;
use ring3_os::{map, process};

/// A record's address, and its range; length 0 for none.
struct Retired {
    record: AtomicUsize,
    base: AtomicUsize,
    len: AtomicUsize,
}

/// How many are kept. What is retired beyond that is left where it is for good.
const ROOM: usize = 64;
/// How many make a look at the process's threads worth its price.
const WORTH: usize = 32;

static RETIRED: [Retired; ROOM] =
    [const { Retired { record: AtomicUsize::new(0), base: AtomicUsize::new(0), len: AtomicUsize::new(0) } };
        ROOM];
static RETIRED_COUNT: AtomicUsize = AtomicUsize::new(0);
static REUSABLE: [AtomicUsize; ROOM] = [const { AtomicUsize::new(0) }; ROOM];
static REUSABLE_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Calls that sleep, or that a handler jumped out of.
static ASLEEP: AtomicUsize = AtomicUsize::new(0);

/// A call that sleeps: while it does, nothing is given back.
#[derive(Debug)]
pub(crate) struct Asleep(());

/// Marks a sleeping call. In a section.
pub(crate) fn asleep() -> Asleep {
    // ORDERING: Acquire keeps the call's looks at regions behind this; reclaim() runs in the same thread or finds several.
    ASLEEP.fetch_add(1, Acquire);
    Asleep(())
}

impl Drop for Asleep {
    fn drop(&mut self) {
        // ORDERING: Release pairs with reuse(): the call's last look at a region is over.
        ASLEEP.fetch_sub(1, Release);
    }
}

/// Keeps a record that is not published any more, and its range, for later.
pub(crate) fn retire(record: usize, base: usize, len: usize) {
    let mut n = RETIRED_COUNT.load(Relaxed);
    if n >= ROOM {
        n = 0;
    }
    if let Some(retired) = RETIRED.get(n) {
        retired.record.store(record, Relaxed);
        retired.base.store(base, Relaxed);
        retired.len.store(len, Relaxed);
        RETIRED_COUNT.store(n + 1, Relaxed);
    }
}

/// A record's memory to use again.
fn reuse() -> Option<usize> {
    if REUSABLE_COUNT.load(Relaxed) == 0 {
        reclaim(WORTH);
    }
    let n = REUSABLE_COUNT.load(Relaxed).checked_sub(1)?;
    REUSABLE_COUNT.store(n, Relaxed);
    REUSABLE.get(n).map(|record| record.load(Relaxed))
}

/// Gives back what addresses it can, for a program that has none left. `Home::objects` is held.
pub(crate) fn make_room() {
    // A batch of records to use again is used up before there is another.
    if REUSABLE_COUNT.load(Relaxed) == 0 {
        reclaim(1);
    }
}

/// Whether nothing can be using a region, other than the caller (R2).
pub(super) fn is_idle() -> bool {
    // ORDERING: Acquire pairs with Asleep's drop (R2).
    let in_use = ASLEEP.load(Acquire) != 0 || pin::some_kept() || identity::in_company();
    !in_use && process::is_single_threaded()
}

fn reclaim(worth: usize) {
    let retired = RETIRED_COUNT.load(Relaxed);
    if retired < worth || !is_idle() {
        return;
    }
    for (retired, spare) in RETIRED.iter().zip(&REUSABLE).take(retired) {
        let len = retired.len.load(Relaxed);
        if len != 0 {
            // SAFETY: R1, R2: zeroes of our own that nobody can be looking at.
            let _ = unsafe { map::unmap(retired.base.load(Relaxed), len) };
        }
        spare.store(retired.record.load(Relaxed), Relaxed);
    }
    REUSABLE_COUNT.store(retired, Relaxed);
    RETIRED_COUNT.store(0, Relaxed);
}

/// Where the next record goes, and how many more fit. Changed under `Home::objects` (O4); atomics because fork may copy them at any time.
static NEXT: AtomicUsize = AtomicUsize::new(0);
static LEFT: AtomicUsize = AtomicUsize::new(0);
/// Records mapped at one time: a page of them.
const BATCH: usize = map::PAGE / size_of::<Object>();

pub(super) fn place() -> Result<NonNull<MaybeUninit<Object>>, Errno> {
    if let Some(record) = reuse().and_then(|at| NonNull::new(at as *mut MaybeUninit<Object>)) {
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
