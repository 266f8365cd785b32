//! The memory between the driver and its workers: one slot a worker, a state word in it, and a bell for the driver.
//!
//! # Invariants
//! I1. In state IDLE and DONE only the driver touches `call` and `reply`; in COMMAND and TAKEN only the worker does.
//! I2. The mapping is shared, lives as long as the process, and is a memfd that children and successors of exec inherit.
//! I3. Each slot has one worker at a time.

use super::script::{Op, WORKERS};
use super::sys;
use std::cell::UnsafeCell;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes of literals that one call can carry.
pub const DATA: usize = 144 * 1024;
/// Bytes of text that one answer can carry.
pub const TEXT: usize = 64 * 1024;

/// Nothing to do.
pub const IDLE: u32 = 0;
/// The worker works.
pub const COMMAND: u32 = 1;
/// The worker has answered.
pub const DONE: u32 = 2;
/// The worker has seen the call.
pub const TAKEN: u32 = 3;

/// An argument on its way.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Value {
    /// The number, or for a literal where it starts in the data.
    pub number: i64,
    /// The literal's length, -1 for a number.
    pub len: i64,
}

/// A call on its way.
#[repr(C)]
pub struct Call {
    /// An `Op`'s number.
    pub op: u32,
    /// How many arguments.
    pub count: u32,
    /// The arguments.
    pub args: [Value; 8],
    /// Literals.
    pub data: [u8; DATA],
}

/// An answer on its way.
#[repr(C)]
pub struct Reply {
    /// What the call returned.
    pub ret: i64,
    /// The error number, if it returned -1.
    pub errno: i32,
    /// Length of the text.
    pub len: u32,
    /// What else there is to see.
    pub text: [u8; TEXT],
}

/// One worker's part.
#[repr(C)]
pub struct Slot {
    /// IDLE, COMMAND, TAKEN or DONE.
    pub state: AtomicU32,
    /// How many signals the worker handled.
    pub handled: AtomicU32,
    /// The worker's process.
    pub pid: AtomicU32,
    /// The worker's thread; set last.
    pub tid: AtomicU32,
    call: UnsafeCell<Call>,
    reply: UnsafeCell<Reply>,
}

/// All of it.
#[repr(C)]
pub struct Shared {
    /// Counts answers; the driver sleeps on it.
    pub bell: AtomicU32,
    slots: [Slot; WORKERS],
}

// SAFETY: I1 says who may touch the cells, and the state word's Acquire/Release pairs hand them over.
unsafe impl Sync for Shared {}

impl Shared {
    /// Makes the memory; the descriptor stays open over exec.
    pub fn create() -> io::Result<(&'static Shared, i32)> {
        let fd = sys::memfd(size_of::<Shared>())?;
        Ok((Shared::open(fd)?, fd))
    }

    /// Maps it again, after exec.
    pub fn open(fd: i32) -> io::Result<&'static Shared> {
        let at = sys::map_shared(fd, size_of::<Shared>())?;
        // SAFETY: the mapping is page-aligned, long enough and never unmapped (I2); all zero bytes are a valid Shared.
        Ok(unsafe { &*at.cast::<Shared>() })
    }

    /// Worker `who`'s slot.
    pub fn slot(&self, who: usize) -> &Slot {
        &self.slots[who % WORKERS]
    }

    /// Waits at most `micros` for somebody to ring after the bell showed `seen`.
    pub fn wait(&self, seen: u32, micros: u64) {
        sys::futex_wait(&self.bell, seen, Some(micros));
    }
}

impl Slot {
    /// Puts the slot back as new, for the next worker.
    pub fn reset(&self) {
        for word in [&self.state, &self.handled, &self.pid, &self.tid] {
            word.store(0, Ordering::Release);
        }
    }

    /// Driver: hands a call over.
    pub fn command(&self, op: Op, args: &[Value], data: &[u8]) {
        // SAFETY: the state is IDLE here, so the cell is the driver's (I1).
        let call = unsafe { &mut *self.call.get() };
        call.op = op as u32;
        call.count = args.len() as u32;
        for (to, from) in call.args.iter_mut().zip(args) {
            *to = *from;
        }
        call.data[..data.len()].copy_from_slice(data);
        self.state.store(COMMAND, Ordering::Release);
        sys::futex_wake(&self.state);
    }

    /// Driver: whether a call lies there that the worker has not seen yet.
    pub fn unseen(&self) -> bool {
        self.state.load(Ordering::Acquire) == COMMAND
    }

    /// Driver: takes the answer, if there is one.
    pub fn answer(&self) -> Option<(i64, i32, String)> {
        if self.state.load(Ordering::Acquire) != DONE {
            return None;
        }
        // SAFETY: the state is DONE, so the cell is the driver's (I1).
        let reply = unsafe { &*self.reply.get() };
        let text = String::from_utf8_lossy(&reply.text[..(reply.len as usize).min(TEXT)]).into_owned();
        let answer = (reply.ret, reply.errno, text);
        self.state.store(IDLE, Ordering::Release);
        Some(answer)
    }

    /// Worker: waits for a call.
    pub fn next(&self) -> &Call {
        while self.state.load(Ordering::Acquire) != COMMAND {
            let seen = self.state.load(Ordering::Acquire);
            if seen != COMMAND {
                sys::futex_wait(&self.state, seen, None);
            }
        }
        self.state.store(TAKEN, Ordering::Release);
        // SAFETY: the state is TAKEN, so the cell is the worker's, and nobody writes to it until `reply` (I1).
        unsafe { &*self.call.get() }
    }

    /// Worker: answers, and rings.
    pub fn reply(&self, shared: &Shared, ret: i64, errno: i32, text: &str) {
        // SAFETY: the state is TAKEN (after exec too), so the cell is the worker's (I1).
        let reply = unsafe { &mut *self.reply.get() };
        let len = text.len().min(TEXT);
        (reply.ret, reply.errno, reply.len) = (ret, errno, len as u32);
        reply.text[..len].copy_from_slice(&text.as_bytes()[..len]);
        self.state.store(DONE, Ordering::Release);
        shared.bell.fetch_add(1, Ordering::AcqRel);
        sys::futex_wake(&shared.bell);
    }
}
