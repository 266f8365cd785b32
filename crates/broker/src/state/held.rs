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
    /// Those that records named when they were read.
    static CLAIMED: RefCell<BTreeSet<RawFd>> = const { RefCell::new(BTreeSet::new()) };
}

/// Closes what was dropped: the state names it no more.
pub(crate) fn close_dropped() {
    DROPPED.with_borrow_mut(Vec::clear);
}

/// Another broker's records are about to be read. What it has dropped since its last commit is open still, and the state may name it.
pub(crate) fn begin_to_read() {
    DROPPED.with_borrow_mut(|dropped| dropped.drain(..).for_each(std::mem::forget));
    CLAIMED.with_borrow_mut(BTreeSet::clear);
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
        self.as_raw_fd().put(out);
    }

    fn get(from: &mut &[u8]) -> Option<Held> {
        let raw = RawFd::get(from)?;
        // Two owners would close it twice.
        let new = CLAIMED.with_borrow_mut(|claimed| claimed.insert(raw));
        if new { regions::inherited(raw).map(Held::from) } else { None }
    }
}
