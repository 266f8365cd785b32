//! For tests: a host whose thread can end, and the kernel's part in that: the word that the thread watched is marked.

use crate::atomic::{AtomicU32, AtomicU64, Relaxed};
use crate::host::{Caller, Deadline, Host, Parked, WaitWord};
use crate::region::Region;

/// kernel: FUTEX_OWNER_DIED.
const MARK: u32 = 0x4000_0000;

/// One thread's host. Where the word lies that it watches, as an offset + 1, stands in `named`: what of it a death leaves is seen there.
pub(crate) struct Mortal<'a, H> {
    pub(crate) host: &'a H,
    pub(crate) region: Region<'a>,
    pub(crate) named: &'a AtomicU64,
}

impl<H: Host> Host for Mortal<'_, H> {
    fn now(&self) -> i64 {
        self.host.now()
    }

    fn park(&self, word: WaitWord<'_>, until: Deadline) -> Parked {
        self.host.park(word, until)
    }

    fn watch(&self, word: &AtomicU32) {
        self.named.store(self.region.offset_of(word).unwrap() as u64 + 1, Relaxed);
    }

    fn watch_no_more(&self) {
        self.named.store(0, Relaxed);
    }

    fn wake(&self, word: &AtomicU32, count: u32, cpu: &AtomicU32) {
        self.host.wake(word, count, cpu);
    }
}

/// The thread ends: the kernel marks the word that it named, if it holds the thread's number.
pub(crate) fn end(region: Region<'_>, named: &AtomicU64, who: Caller) {
    if let Some(offset) = named.load(Relaxed).checked_sub(1) {
        let word: &AtomicU32 = region.at(offset as usize).unwrap();
        let _ = word.compare_exchange(who.tid, MARK, Relaxed, Relaxed);
    }
}
