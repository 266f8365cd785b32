//! Records and address ranges of objects that nobody finds any more, but that somebody may have found before (`objects.rs`, O1).
//!
//! # Invariants
//! R1. `DEAD` holds what may be in use still; its ranges hold zeroes. `FREE` holds records whose range is unmapped. Both change under
//!     `Identity::objects`.
//! R2. The dead become free at a moment when nobody can be using any: one thread, no call of it asleep, and no region left behind. A call that a
//!     handler jumped out of counts as asleep for ever; then nothing is given back any more, which costs addresses, not memory.

use core::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use ring3_os::{map, process};

/// A record's address, and its range; length 0 for none.
struct Grave {
    record: AtomicUsize,
    base: AtomicUsize,
    len: AtomicUsize,
}

/// How many are kept. What dies beyond that is left where it is for good.
const ROOM: usize = 64;
/// How many make a look at the process's threads worth its price.
const WORTH: usize = 32;

static GRAVES: [Grave; ROOM] =
    [const { Grave { record: AtomicUsize::new(0), base: AtomicUsize::new(0), len: AtomicUsize::new(0) } };
        ROOM];
static DEAD: AtomicUsize = AtomicUsize::new(0);
static SPARE: [AtomicUsize; ROOM] = [const { AtomicUsize::new(0) }; ROOM];
static FREE: AtomicUsize = AtomicUsize::new(0);

/// Calls that sleep, or that a handler jumped out of.
static ASLEEP: AtomicUsize = AtomicUsize::new(0);

/// A call that sleeps: while it does, nothing is given back.
#[derive(Debug)]
pub(crate) struct Stay(());

/// Marks a sleeping call. In a section.
pub(crate) fn stay() -> Stay {
    ASLEEP.fetch_add(1, Acquire);
    Stay(())
}

impl Drop for Stay {
    fn drop(&mut self) {
        // ORDERING: Release pairs with exhume(): the call's last look at a region is over.
        ASLEEP.fetch_sub(1, Release);
    }
}

/// Keeps a record that is not published any more, and its range, for later.
pub(crate) fn bury(record: usize, base: usize, len: usize) {
    let mut n = DEAD.load(Relaxed);
    if n >= ROOM {
        n = 0;
    }
    if let Some(grave) = GRAVES.get(n) {
        grave.record.store(record, Relaxed);
        grave.base.store(base, Relaxed);
        grave.len.store(len, Relaxed);
        DEAD.store(n + 1, Relaxed);
    }
}

/// A record's memory to use again.
pub(crate) fn exhume() -> Option<usize> {
    if FREE.load(Relaxed) == 0 {
        free_the_dead();
    }
    let n = FREE.load(Relaxed).checked_sub(1)?;
    FREE.store(n, Relaxed);
    SPARE.get(n).map(|record| record.load(Relaxed))
}

fn free_the_dead() {
    let dead = DEAD.load(Relaxed);
    // ORDERING: Acquire pairs with Stay's drop (R2).
    let in_use = ASLEEP.load(Acquire) != 0 || crate::stays::some_left_behind();
    if dead < WORTH || in_use || !process::is_single_threaded() {
        return;
    }
    for (grave, spare) in GRAVES.iter().zip(&SPARE).take(dead) {
        let len = grave.len.load(Relaxed);
        if len != 0 {
            // SAFETY: R1, R2: zeroes of our own that nobody can be looking at.
            let _ = unsafe { map::unmap(grave.base.load(Relaxed), len) };
        }
        spare.store(grave.record.load(Relaxed), Relaxed);
    }
    FREE.store(dead, Relaxed);
    DEAD.store(0, Relaxed);
}
