//! What a call does before it takes its place among the sleepers: it looks for a moment, and gives the CPU away once or twice, as if it had come a little later.
//!
//! A place in the queue has a price for everybody: what comes free goes to the first sleeper, and nobody has it until that one runs again. Where many take
//! something for a moment each (a mutex), they would end up asleep all of them, with a switch of processes for every turn. Who has no place yet takes it when
//! it is free, and those who have places are gone sooner. Nobody can tell such a call from one that has not begun: it is not counted, and does not sleep.
//!
//! Where others want the CPU for something else, what is given away is a whole slice, and lost if nothing has happened meanwhile: what is lost so is
//! at most one part in [`SHARE`] + 1 of a thread's time.

use crate::thread::credit::{Credit, look};
use crate::thread::section;
use core::sync::atomic::Ordering::Relaxed;
use ring3_os::{process, time};

/// How often the word is looked at: the other one has it for a moment.
const LOOKS: u32 = 64;
/// How often the CPU is given away.
const TURNS: u32 = 2;
/// How many times as long as what was lost no turn is given.
const SHARE: u64 = 8;

/// What is seen after a turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// What one waits for is there.
    Over,
    /// It is not, but others have gone on.
    Moved,
    /// Nothing has changed.
    Same,
}

/// Looks for a moment, if that has paid lately. Answers whether it has now.
pub(crate) fn looked(over: impl Fn() -> bool) -> bool {
    let cell = &section::thread().early_credit;
    let mut credit = Credit::of(cell.load(Relaxed));
    let mut paid = false;
    if credit.may() {
        paid = look(LOOKS, over);
        credit.settle(paid);
    }
    cell.store(credit.bits(), Relaxed);
    paid
}

/// Gives the CPU away, unless too much was lost so lately. Outside any section.
pub(crate) fn give_way(mut see: impl FnMut() -> Seen) {
    let (cell, began) = (&section::thread().no_turns_until, time::monotonic());
    if began < cell.load(Relaxed) {
        return;
    }
    let mut lost = true;
    for _ in 0..TURNS {
        process::give_way();
        match see() {
            Seen::Over => return,
            Seen::Moved => lost = false,
            Seen::Same => {}
        }
    }
    if lost {
        let now = time::monotonic();
        cell.store(now.saturating_add(now.saturating_sub(began).saturating_mul(SHARE)), Relaxed);
    }
}
