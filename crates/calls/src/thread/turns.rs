//! Giving the CPU away a few times instead of sleeping: what one waits for is done by whoever gets it, perhaps, and a sleep and a wake-up are saved.
//!
//! Where others want the CPU, too, it is a stranger who gets it, for a whole slice, and the kernel takes what was given away for spent. One such turn costs as
//! much as some thousand that go to the right one gain, so each makes the next trial rarer, and only as many successes make up for it.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use ring3_os::{process, time};

/// How the CPU is given away for something.
#[derive(Clone, Copy)]
pub(crate) struct Turns {
    /// How often at most.
    pub(crate) count: u32,
    /// A turn that takes longer, nanoseconds, was a stranger's.
    pub(crate) own: u64,
    /// Waits before the next trial after a stranger's turn: doubled each time, [`RAREST`] times at most.
    pub(crate) rare: u32,
    /// Waits before the next trial after turns that went to nobody.
    pub(crate) pause: u32,
}

/// No more doublings than these.
const RAREST: u32 = 8;
/// Successes that take one doubling back.
const ENOUGH: u32 = 4096;

/// What a thread knows of giving way.
#[derive(Clone, Copy)]
struct Known {
    /// Waits until the next trial.
    pause: u32,
    /// How rare trials have become.
    rarity: u32,
    /// Successes since.
    paid: u32,
}

impl Known {
    fn load(cell: &AtomicU64) -> Known {
        let bits = cell.load(Relaxed);
        Known { pause: bits as u32, rarity: (bits >> 32) as u32 & 0xff, paid: (bits >> 40) as u32 & 0xffff }
    }

    fn store(self, cell: &AtomicU64) {
        let bits = u64::from(self.pause) | u64::from(self.rarity) << 32 | u64::from(self.paid) << 40;
        cell.store(bits, Relaxed);
    }
}

/// How giving way ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Paid,
    Idle,
    Stranger,
}

impl Turns {
    /// Gives the CPU away until `over`, if that has paid lately; what is known of that stands in `cell`.
    pub(crate) fn give(self, cell: &AtomicU64, over: impl FnMut() -> bool) {
        let mut known = Known::load(cell);
        known.pause = known.pause.saturating_sub(1);
        if known.pause == 0 {
            let turn = self.run(over);
            self.settle(&mut known, turn);
        }
        known.store(cell);
    }

    fn run(self, mut over: impl FnMut() -> bool) -> Turn {
        let mut start = time::monotonic();
        for _ in 0..self.count {
            process::give_way();
            let done = over();
            let now = time::monotonic();
            if now.wrapping_sub(start) > self.own {
                return Turn::Stranger;
            }
            if done {
                return Turn::Paid;
            }
            start = now;
        }
        Turn::Idle
    }

    fn settle(self, known: &mut Known, turn: Turn) {
        match turn {
            Turn::Paid => {
                known.paid += 1;
                if known.paid >= ENOUGH {
                    (known.paid, known.rarity) = (0, known.rarity.saturating_sub(1));
                }
            }
            Turn::Idle => known.pause = self.pause,
            Turn::Stranger => {
                known.pause = self.rare << known.rarity;
                (known.paid, known.rarity) = (0, (known.rarity + 1).min(RAREST));
            }
        }
    }
}
