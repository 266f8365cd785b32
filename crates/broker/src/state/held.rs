//! Descriptors that the state names. The broker and its lookout have one table of descriptors, so a number means the same file for whoever goes on; but one
//! that is closed may soon be another file's.
//!
//! # Invariants
//! H1. A descriptor that a committed record names is open: one that is dropped is closed when what was done then is committed.

use super::Keep;
use crate::regions;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

thread_local! {
    /// Those that were dropped since the last commit.
    static DROPPED: RefCell<Vec<OwnedFd>> = const { RefCell::new(Vec::new()) };
    /// Those that are to be in drawers (`vault.rs`), if any are.
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept { on: false, numbers: BTreeSet::new(), moved: BTreeSet::new() }) };
    /// Those that records named when they were read.
    static CLAIMED: RefCell<BTreeSet<RawFd>> = const { RefCell::new(BTreeSet::new()) };
}

/// What records name, for the drawers.
struct Kept {
    on: bool,
    numbers: BTreeSet<RawFd>,
    /// Those that have come, or gone, since the drawers were brought up to date.
    moved: BTreeSet<RawFd>,
}

/// From here on it is noted what records name.
pub(super) fn begin_to_keep() {
    KEPT.with_borrow_mut(|kept| *kept = Kept { on: true, numbers: BTreeSet::new(), moved: BTreeSet::new() });
}

/// A record names this descriptor, or is about to.
pub(crate) fn named(fd: RawFd) {
    KEPT.with_borrow_mut(|kept| {
        if kept.on && kept.numbers.insert(fd) {
            kept.moved.insert(fd);
        }
    });
}

/// The drawer that this number is in may have something in it that it should not.
pub(super) fn touch(number: usize) {
    KEPT.with_borrow_mut(|kept| kept.moved.extend(RawFd::try_from(number).ok()));
}

/// The drawers of so many numbers each in which something has changed, and what belongs into each.
pub(super) fn take_moved(room: usize) -> Vec<(usize, Vec<RawFd>)> {
    KEPT.with_borrow_mut(|kept| {
        let drawer = |fd: RawFd| usize::try_from(fd).unwrap_or(0) / room;
        let drawers: BTreeSet<usize> = kept.moved.iter().map(|&fd| drawer(fd)).collect();
        kept.moved.clear();
        let first = |drawer: usize| RawFd::try_from(drawer * room).unwrap_or(RawFd::MAX);
        let of = |drawer: usize| kept.numbers.range(first(drawer)..first(drawer + 1)).copied().collect();
        drawers.into_iter().map(|drawer| (drawer, of(drawer))).collect()
    })
}

/// Closes what was dropped: the state names it no more.
pub(crate) fn close_dropped() {
    DROPPED.with_borrow_mut(|dropped| {
        if !dropped.is_empty() {
            KEPT.with_borrow_mut(|kept| kept.forget(dropped));
        }
        dropped.clear();
    });
}

impl Kept {
    fn forget(&mut self, dropped: &[OwnedFd]) {
        let named = dropped.iter().map(AsRawFd::as_raw_fd).filter(|fd| self.numbers.remove(fd));
        self.moved.extend(named);
    }
}

/// Another broker's records are about to be read. What it has dropped since its last commit is open still, and the state may name it.
pub(crate) fn begin_to_read() {
    DROPPED.with_borrow_mut(|dropped| dropped.drain(..).for_each(std::mem::forget));
    CLAIMED.with_borrow_mut(BTreeSet::clear);
    KEPT.with_borrow_mut(|kept| kept.on = false);
}

/// Whether a record that was read names this descriptor.
pub(crate) fn is_claimed(fd: RawFd) -> bool {
    CLAIMED.with_borrow(|claimed| claimed.contains(&fd))
}

/// The descriptors of this process that no record that was read names, but for these. Nobody else opens or closes one meanwhile.
pub(crate) fn strays(kept: &[RawFd]) -> Vec<OwnedFd> {
    let all = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers: Vec<RawFd> = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let stray = |fd: &RawFd| !is_claimed(*fd) && !kept.contains(fd);
    // What the list was read by is closed now.
    numbers.into_iter().filter(stray).filter_map(regions::inherited).collect()
}

/// A descriptor that is closed after the next commit when it is dropped (H1).
#[derive(Debug)]
pub(crate) struct Held(ManuallyDrop<OwnedFd>);

impl From<OwnedFd> for Held {
    fn from(fd: OwnedFd) -> Held {
        Held(ManuallyDrop::new(fd))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let fd = regions::last_use(&mut self.0);
        // Without the list, this thread ends.
        let _ = DROPPED.try_with(|dropped| dropped.borrow_mut().push(fd));
    }
}

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Held {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Keep for Held {
    fn put(&self, out: &mut Vec<u8>) {
        named(self.as_raw_fd());
        self.as_raw_fd().put(out);
    }

    fn get(from: &mut &[u8]) -> Option<Held> {
        let raw = RawFd::get(from)?;
        // Two owners would close it twice.
        let new = CLAIMED.with_borrow_mut(|claimed| claimed.insert(raw));
        if !new {
            return None;
        }
        named(raw);
        regions::inherited(raw).map(Held::from)
    }
}
