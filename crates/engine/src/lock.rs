//! The lock of a region: one word, held by a process.
//!
//! # Invariants
//! L1. The word is 0 (free) or the holder's process number, with [`WAITERS`] if somebody may sleep on it.
//! L2. Only a process that is registered with the broker takes it, so a holder that dies is found by its number.
//! L3. A waiter that slept takes it with WAITERS set, since others may sleep still.
//! L4. Besides the holder only waiters write the word: from free to themselves, and WAITERS into the word of a holder that they saw, both by
//!     compare-and-swap. If that holder gave the lock back and took it again meanwhile, the flag costs it one wake-up.
//! L5. The word has no other bits: one with others is spoiled.
//! L6. The holder's swap to 0 finds its own number: nobody takes a lock over from the living.
//!
//! # Death
//! The word keeps the dead holder's number. Only `settle`, which the broker runs for that process, takes the lock over
//! ([`seize`]), and it rolls the journal back before anything else. Waiters that have slept several times in vain ask the broker.
//!
//! # A stop
//! A holder that is stopped keeps the word as it is. The broker, asked in the same way, has it led on to its `release` (docs/stopped.md).

use crate::atomic::{Acquire, AtomicU32, Relaxed, Release};
use crate::error::{Error, Result};
use crate::host::{Caller, Deadline, Host, Parked, WaitWord};
use crate::object::{Header, LIVE, MOVED, REMOVED};
use crate::region::Region;
use core::marker::PhantomData;
use ring3_abi::Pid;

/// Flag in the lock word: somebody may sleep on it.
pub const WAITERS: u32 = 1 << 31;
/// The holder's number in the lock word.
pub const HOLDER: u32 = (1 << 22) - 1;

/// How long a waiter looks at the word before it sleeps, in pauses.
const SPINS: u32 = 200;
/// The longest rest between two looks, in pauses. Each look takes the word's line from the holder, who may do some operations more until the next one: it costs both
/// less to change hands once for many operations than for each.
const REST: u32 = 16;
/// How many sleeps make a waiter doubt the holder. Each is cut short by the holder's wake-up.
const PATIENCE: u32 = 4;
/// How many looks do, whatever they find: whoever may write the word could change it, or wake its waiters, for ever.
const LOOKS: u32 = 1000;

/// A held lock. Dropping it gives it back.
#[derive(Debug)]
pub struct Locked<'r, 'h, H: Host> {
    header: &'r Header,
    host: &'h H,
}

/// Proof, for as long as `'l`, that nobody but the caller is inside a region's lock. What may be written under the lock only asks for it.
#[derive(Clone, Copy, Debug)]
pub struct Held<'l>(PhantomData<&'l ()>);

impl Held<'_> {
    /// For a region that nobody else reaches: one that is being made, or one at rest in a test.
    pub fn alone() -> Held<'static> {
        Held(PhantomData)
    }
}

impl<H: Host> Locked<'_, '_, H> {
    /// The proof that this lock is held. It ends before the lock is given back.
    #[inline]
    pub fn held(&self) -> Held<'_> {
        Held(PhantomData)
    }
}

impl<H: Host> Drop for Locked<'_, '_, H> {
    #[inline]
    fn drop(&mut self) {
        release(self.header, self.host);
    }
}

/// Takes the lock of a live object.
///
/// # Errors
/// `Stuck` after some patience; `Removed`, `Moved` if that is the region's state, `Spoiled` if it has none.
#[inline]
pub fn lock<'r, 'h, H: Host>(header: &'r Header, host: &'h H, who: Caller) -> Result<Locked<'r, 'h, H>> {
    let locked = lock_any(header, host, who)?;
    match header.state.load(Relaxed) {
        LIVE => Ok(locked),
        REMOVED => Err(Error::Removed),
        MOVED => Err(Error::Moved),
        _ => Err(Error::Spoiled),
    }
}

/// Takes the lock of a live object if it is free: for a caller that goes another way otherwise.
#[inline(always)]
pub fn lock_at_once<'r, 'h, H: Host>(
    header: &'r Header,
    host: &'h H,
    who: Caller,
) -> Option<Locked<'r, 'h, H>> {
    // ORDERING: Acquire pairs with release()'s Release, as in lock_any().
    header.lock.compare_exchange(0, who.pid & HOLDER, Acquire, Relaxed).ok()?;
    header.holder.store(who.tid, Relaxed);
    let locked = Locked { header, host };
    if header.state.load(Relaxed) == LIVE { Some(locked) } else { None }
}

/// Takes the lock whatever the object's state.
#[inline]
pub fn lock_any<'r, 'h, H: Host>(header: &'r Header, host: &'h H, who: Caller) -> Result<Locked<'r, 'h, H>> {
    // ORDERING: Acquire pairs with the Release of release() and settle(): what the last holder wrote is seen.
    if header.lock.compare_exchange(0, who.pid & HOLDER, Acquire, Relaxed).is_err() {
        contend(header, host, who)?;
    }
    header.holder.store(who.tid, Relaxed);
    Ok(Locked { header, host })
}

#[cold]
// ORDERING: every Acquire pairs with release()'s Release, as in lock_any().
fn contend<H: Host>(header: &Header, host: &H, who: Caller) -> Result<()> {
    let mine = who.pid & HOLDER;
    let (mut pauses, mut spun) = (1, 0);
    while spun < SPINS {
        if header.lock.load(Relaxed) == 0 && header.lock.compare_exchange(0, mine, Acquire, Relaxed).is_ok() {
            return Ok(());
        }
        (0..pauses).for_each(|_| core::hint::spin_loop());
        (pauses, spun) = ((pauses * 2).min(REST), spun + pauses);
    }
    let mut slices = 0;
    for _ in 0..LOOKS {
        let seen = header.lock.load(Relaxed);
        if seen == 0 {
            if header.lock.compare_exchange(0, mine | WAITERS, Acquire, Relaxed).is_ok() {
                return Ok(());
            }
            continue;
        }
        if seen & HOLDER == 0 || seen & !(HOLDER | WAITERS) != 0 {
            return Err(Error::Spoiled);
        }
        if slices >= PATIENCE {
            return Err(Error::Stuck(seen & HOLDER));
        }
        // The host sets the flag before it sleeps.
        let word = WaitWord {
            word: &header.lock,
            waiting: seen & !WAITERS,
            parked: (seen & HOLDER) | WAITERS,
            cpu: &header.lock_cpu,
        };
        if host.park(word, Deadline::SHORT) != Parked::Woken {
            slices += 1;
        }
    }
    Err(Error::Stuck(header.lock.load(Relaxed) & HOLDER))
}

#[inline]
fn release<H: Host>(header: &Header, host: &H) {
    // ORDERING: Release pairs with lock()'s Acquire.
    if header.lock.swap(0, Release) & WAITERS != 0 {
        host.wake(&header.lock, 1, &header.lock_cpu);
    }
}

/// Takes the lock over from a process that is dead (or whose image is gone), or takes it like anybody else if another holds it.
/// Answers whether it was the dead process's.
///
/// # Errors
/// `Stuck` if a living process keeps it.
pub fn seize<'r, 'h, H: Host>(
    header: &'r Header,
    host: &'h H,
    dead: Pid,
    who: Caller,
) -> Result<(Locked<'r, 'h, H>, bool)> {
    let word = header.lock.load(Relaxed);
    if word & HOLDER == dead & HOLDER && dead != 0 {
        let mine = (who.pid & HOLDER) | WAITERS;
        if swap_holder(&header.lock, word, mine, dead) {
            header.holder.store(who.tid, Relaxed);
            return Ok((Locked { header, host }, true));
        }
    }
    Ok((lock_any(header, host, who)?, false))
}

/// Whom a region's lock names, for somebody who only looks.
#[derive(Clone, Copy, Debug)]
pub struct Named<'r>(&'r Header);

/// Looks at a region's lock. # Errors: `Spoiled` if the region is too short for one.
pub fn named(region: Region<'_>) -> Result<Named<'_>> {
    region.at(0).map(Named)
}

impl Named<'_> {
    /// The process; 0 if the lock is free.
    pub fn process(&self) -> Pid {
        self.0.lock.load(Relaxed) & HOLDER
    }

    /// The thread, as the last holder said.
    pub fn thread(&self) -> Pid {
        self.0.holder.load(Relaxed)
    }

    /// Says that somebody waits, as long as this process is named: it makes a system call once it has given the lock back.
    // ORDERING: Relaxed: a mark in a word that somebody else holds, as a waiter's (L4).
    pub fn mark_waited_for(&self, process: Pid) {
        let mut seen = self.0.lock.load(Relaxed);
        while seen == process & HOLDER {
            match self.0.lock.compare_exchange(seen, seen | WAITERS, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// The word, for a wake-up of those who sleep on it.
    pub fn word(&self) -> *const u32 {
        self.0.lock.as_ptr()
    }
}

/// Swaps the holder while it is `dead`; a waiter may set its flag in between.
// ORDERING: Acquire, as in lock_any(): there is no Release of the dead, whose stores are all visible once the kernel has told of the death.
fn swap_holder(word: &AtomicU32, mut seen: u32, mine: u32, dead: Pid) -> bool {
    while seen & HOLDER == dead & HOLDER {
        match word.compare_exchange(seen, mine, Acquire, Relaxed) {
            Ok(_) => return true,
            Err(now) => seen = now,
        }
    }
    false
}
