//! What the identity page, which fork wipes, says of this process's life (`own_life.rs`).
#![allow(unsafe_code)]

use crate::thread::lock::Lock;
use core::ptr::null_mut;
use core::sync::atomic::{
    AtomicPtr, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use ring3_engine::life::Life;

/// What the identity page says of the life.
#[derive(Debug)]
pub(crate) struct OwnLife {
    /// Guards the rest of this, and the entry.
    pub(super) lock: Lock,
    pub(super) number: AtomicU32,
    /// The thread that has the entry in its list.
    pub(super) holder: AtomicU32,
    word: AtomicPtr<AtomicU32>,
    /// The broker says that an earlier image of this process had one.
    pub(super) inherited: AtomicU32,
}

impl OwnLife {
    pub(super) const fn new() -> OwnLife {
        OwnLife {
            lock: Lock::new(),
            number: AtomicU32::new(0),
            holder: AtomicU32::new(0),
            word: AtomicPtr::new(null_mut()),
            inherited: AtomicU32::new(0),
        }
    }

    /// Its number; 0 none.
    #[inline]
    pub(crate) fn number(&self) -> Life {
        self.number.load(Relaxed)
    }

    /// Takes note of what the broker said when this image introduced itself.
    pub(super) fn inherit(&self, life: Life) {
        self.inherited.store(life, Relaxed);
    }

    #[inline]
    pub(super) fn word(&self) -> Option<&'static AtomicU32> {
        // ORDERING: Acquire pairs with set_word(): the page is mapped.
        // SAFETY: null, or a word of the shared page, which stays mapped as long as this process has this identity.
        unsafe { self.word.load(Acquire).as_ref() }
    }

    /// There is none any more.
    pub(super) fn clear_word(&self) {
        self.word.store(null_mut(), Relaxed);
    }

    /// Says where the word is.
    pub(super) fn set_word(&self, word: &'static AtomicU32) {
        // ORDERING: Release: see word().
        self.word.store(core::ptr::from_ref(word).cast_mut(), Release);
    }
}
