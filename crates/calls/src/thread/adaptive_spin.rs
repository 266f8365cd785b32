//! What a call does before it parks: being woken by the kernel costs fifty microseconds across CPUs and two on the same one.
//!
//! Whoever waits publishes his CPU beside the word. If the peer was last heard of on another CPU, the word is looked at for a while; if on
//! the same one, the CPU is given to the peer a few times. Either goes on only as long as it pays, and is tried again once in a while. A
//! peer that is slow or gone so costs little, and so does a CPU that others keep busy, where giving way means waiting for their
//! turn to end.

use crate::thread::section;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use ring3_engine::WaitWord;
use ring3_os::{process, time, vdso};

/// How often the word is looked at.
const LOOKS: u32 = 2000;
/// How often the CPU is given away.
const TURNS: u32 = 2;
/// A turn that takes longer, nanoseconds, was somebody else's.
const TURN: u64 = 50_000;

/// Credit for looking: 0 unknown; up to [`PROBE`] none, and counting down to the next trial; above it, so many failures may come.
const PROBE: u32 = 24;
const MOST: u32 = PROBE + 6;

/// What a thread knows of its peer: the CPU + 1 where it was last heard of, and credit for looking.
#[derive(Clone, Copy)]
struct Peer {
    cpu: u32,
    credit: u32,
}

impl Peer {
    fn load(cell: &AtomicU32) -> Peer {
        let bits = cell.load(Relaxed);
        Peer { cpu: bits >> 16, credit: bits & 0xffff }
    }

    fn store(self, cell: &AtomicU32) {
        cell.store(self.cpu << 16 | self.credit, Relaxed);
    }

    /// Whether there is credit; counts down if there is none.
    fn may(&mut self) -> bool {
        match self.credit {
            0 => self.credit = PROBE + 1,
            n if n <= PROBE => {
                self.credit = n - 1;
                return false;
            }
            _ => {}
        }
        true
    }

    fn settle(&mut self, paid: bool) {
        if paid {
            self.credit = (self.credit + 1).min(MOST);
        } else {
            self.credit -= 1;
            // The next one to publish will tell.
            self.cpu = 0;
        }
    }
}

/// What a thread knows of giving way. One turn that goes to a stranger costs as much as some thousand that go to the peer gain, so each
/// makes the next trial rarer, and only as many successes make up for it.
#[derive(Clone, Copy)]
struct Turns {
    /// Sleeps until the next trial.
    pause: u32,
    /// How rare trials have become.
    rarity: u32,
    /// Successes since.
    paid: u32,
}

/// Sleeps before the next trial after a turn that went to a stranger: doubled each time, so many times at most.
const RARE: u32 = 4096;
const RAREST: u32 = 8;
/// Successes that take one doubling back.
const ENOUGH: u32 = 4096;
/// Sleeps before the next trial after turns that went to nobody.
const PAUSE: u32 = 24;

/// How giving way ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Paid,
    Idle,
    Stranger,
}

impl Turns {
    fn load(cell: &AtomicU64) -> Turns {
        let bits = cell.load(Relaxed);
        Turns { pause: bits as u32, rarity: (bits >> 32) as u32 & 0xff, paid: (bits >> 40) as u32 & 0xffff }
    }

    fn store(self, cell: &AtomicU64) {
        let bits = u64::from(self.pause) | u64::from(self.rarity) << 32 | u64::from(self.paid) << 40;
        cell.store(bits, Relaxed);
    }

    fn may(&mut self) -> bool {
        self.pause = self.pause.saturating_sub(1);
        self.pause == 0
    }

    fn settle(&mut self, turn: Turn) {
        match turn {
            Turn::Paid => {
                self.paid += 1;
                if self.paid >= ENOUGH {
                    (self.paid, self.rarity) = (0, self.rarity.saturating_sub(1));
                }
            }
            Turn::Idle => self.pause = PAUSE,
            Turn::Stranger => {
                self.pause = RARE << self.rarity;
                (self.paid, self.rarity) = (0, (self.rarity + 1).min(RAREST));
            }
        }
    }
}

/// Waits a little for the word to change. Answers whether it did, or the call was concluded.
pub(crate) fn wait(word: &WaitWord<'_>, concluded: &AtomicU32) -> bool {
    let thread = section::thread();
    let mut peer = Peer::load(&thread.credit);
    let mine = (vdso::cpu() + 1) & 0xffff;
    let published = word.cpu().load(Relaxed);
    word.cpu().store(mine, Relaxed);
    if published != 0 && published != mine {
        peer.cpu = published & 0xffff;
    }
    let over = || word.has_changed() || concluded.load(Relaxed) != 0;
    if peer.cpu != 0 && peer.cpu != mine {
        if peer.may() {
            peer.settle(look(over));
        }
        peer.store(&thread.credit);
    } else {
        let mut turns = Turns::load(&thread.turns);
        if turns.may() {
            turns.settle(give_turns(over));
        }
        turns.store(&thread.turns);
    }
    over()
}

fn look(over: impl Fn() -> bool) -> bool {
    for _ in 0..LOOKS {
        if over() {
            return true;
        }
        core::hint::spin_loop();
    }
    false
}

fn give_turns(over: impl Fn() -> bool) -> Turn {
    let start = time::monotonic();
    for _ in 0..TURNS {
        process::give_way();
        if time::monotonic().wrapping_sub(start) > TURN {
            return Turn::Stranger;
        }
        if over() {
            return Turn::Paid;
        }
    }
    Turn::Idle
}
