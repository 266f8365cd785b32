//! What `ring3 run` left in the environment: where the broker is, where the agent is, whether to trace.
//!
//! # Invariants
//! E1. The strings are copied before main: programs write over the memory their environment came in (setproctitle).
//! E2. After [`capture`] they never change.

use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Release},
};

/// Room for one variable, its name and its NUL included.
const ROOM: usize = 512;

/// One variable of ours, whole: `NAME=value`, NUL.
#[derive(Debug)]
pub struct Variable {
    name: &'static [u8],
    bytes: UnsafeCell<[u8; ROOM]>,
    /// Length with the NUL; 0 not there.
    len: AtomicUsize,
}

// SAFETY: `bytes` is written once, before `len` is published, and only read after that (E2).
unsafe impl Sync for Variable {}

const fn variable(name: &'static [u8]) -> Variable {
    Variable { name, bytes: UnsafeCell::new([0; ROOM]), len: AtomicUsize::new(0) }
}

/// Path of the broker's socket.
pub static SOCKET: Variable = variable(b"RING3_SOCKET=");
/// Path of the agent.
pub static LIBRARY: Variable = variable(b"RING3_LIB=");
/// The namespace's name, for people.
pub static NAMESPACE: Variable = variable(b"RING3_NS=");
/// `debug`: trace.
pub static LOG: Variable = variable(b"RING3_LOG=");
/// Where traces go.
pub static LOG_FILE: Variable = variable(b"RING3_LOG_FILE=");

/// All of them: what exec puts back.
pub static ALL: [&Variable; 5] = [&SOCKET, &LIBRARY, &NAMESPACE, &LOG, &LOG_FILE];

impl Variable {
    /// The name with its `=`.
    pub fn name(&self) -> &'static [u8] {
        self.name
    }

    /// `NAME=value` with its NUL, if it was there.
    pub fn whole(&self) -> Option<&'static [u8]> {
        // ORDERING: Acquire pairs with keep().
        let len = self.len.load(Acquire);
        // SAFETY: the bytes are not written any more (E2), and variables are statics: len is set once, by keep(), to at most ROOM.
        let bytes: &'static [u8] = unsafe { core::slice::from_raw_parts(self.bytes.get().cast::<u8>(), len) };
        (len > 0).then_some(bytes)
    }

    /// The value, without its NUL.
    pub fn value(&self) -> Option<&'static [u8]> {
        let whole = self.whole()?;
        whole.get(self.name.len()..whole.len().checked_sub(1)?)
    }

    fn keep(&self, text: &CStr) {
        let bytes = text.to_bytes_with_nul();
        if self.len.load(Acquire) != 0 || bytes.len() > ROOM {
            return;
        }
        // SAFETY: len is 0, so nobody reads; capture() runs on one thread, before main.
        let room = unsafe { &mut *self.bytes.get() };
        if let Some(to) = room.get_mut(..bytes.len()) {
            to.copy_from_slice(bytes);
            // ORDERING: Release publishes the bytes.
            self.len.store(bytes.len(), Release);
        }
    }
}

/// Keeps our variables of an environment. Called before main.
///
/// # Safety
/// `envp` is null or an environment: pointers to strings, ended by a null pointer.
pub unsafe fn capture(envp: *const *const u8) {
    if envp.is_null() {
        return;
    }
    let mut at = envp;
    loop {
        // SAFETY: before the null pointer that ends the environment.
        let entry = unsafe { at.read() };
        if entry.is_null() {
            return;
        }
        // SAFETY: an entry is a string. The first byte decides for most.
        if unsafe { entry.read() } == b'R' {
            // SAFETY: for the same reason as the block above.
            let text = unsafe { CStr::from_ptr(entry.cast()) };
            if let Some(variable) = ALL.iter().find(|v| text.to_bytes().starts_with(v.name)) {
                variable.keep(text);
            }
        }
        // SAFETY: not the last entry.
        at = unsafe { at.add(1) };
    }
}

/// Path of the broker's socket.
pub fn socket() -> Option<&'static [u8]> {
    SOCKET.value()
}

/// Path of the agent.
pub fn library() -> Option<&'static [u8]> {
    LIBRARY.value()
}

/// Where to trace, if somebody asked.
pub fn log_file() -> Option<&'static CStr> {
    LOG.value().filter(|level| *level == b"debug")?;
    LOG_FILE.whole().and_then(|whole| CStr::from_bytes_with_nul(whole.get(LOG_FILE.name.len()..)?).ok())
}
