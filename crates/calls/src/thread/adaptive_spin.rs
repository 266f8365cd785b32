//! What a call does before it parks: being woken by the kernel costs fifty microseconds across CPUs and two on the same one.
//!
//! Whoever waits publishes his CPU beside the word. If the peer was last heard of on another CPU, the word is looked at for a while; if on
//! the same one, the CPU is given to the peer a few times (`turns.rs`). Either goes on only as long as it pays, and is tried again once in a while. A
//! peer that is slow or gone so costs little, and so does a CPU that others keep busy, where giving way means waiting for their
//! turn to end.

use crate::thread::credit::{Credit, look};
use crate::thread::section;
use crate::thread::turns::Turns;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use ring3_engine::WaitWord;
use ring3_os::vdso;

/// How often the word is looked at.
const LOOKS: u32 = 2000;
/// How the CPU is given away.
const TURNS: Turns = Turns { count: 2, own: 50_000, rare: 4096, pause: 24 };

/// What a thread knows of its peer: the CPU + 1 where it was last heard of, and credit for looking.
#[derive(Clone, Copy)]
struct Peer {
    cpu: u32,
    credit: Credit,
}

impl Peer {
    fn load(cell: &AtomicU32) -> Peer {
        let bits = cell.load(Relaxed);
        Peer { cpu: bits >> 16, credit: Credit::of(bits) }
    }

    fn store(self, cell: &AtomicU32) {
        cell.store(self.cpu << 16 | self.credit.bits(), Relaxed);
    }
}

/// Looks for a while, before a call takes its place among the sleepers, whether what it waits for is over, if looking has paid lately and the peer was last heard of on
/// another CPU. Answers whether it was. What two processes do in turn so is a word that goes there and back, where a place costs both of them the lock and the tickets.
pub(crate) fn look_early(over: impl Fn() -> bool) -> bool {
    let cell = &section::thread().credit;
    let mut peer = Peer::load(cell);
    if peer.cpu == 0 || !peer.credit.is_good() || peer.cpu == (vdso::cpu() + 1) & 0xffff {
        return false;
    }
    let paid = look(LOOKS, over);
    peer.credit.settle(paid);
    if !paid {
        peer.cpu = 0;
    }
    peer.store(cell);
    paid
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
        if peer.credit.may() {
            let paid = look(LOOKS, over);
            peer.credit.settle(paid);
            if !paid {
                // The next one to publish will tell.
                peer.cpu = 0;
            }
        }
        peer.store(&thread.credit);
    } else {
        TURNS.give(&thread.turns, over);
    }
    over()
}
