//! What `ring3 run` left for its programs: where the broker is, where the agent is, whether to trace.
//!
//! It is in the environment, and all but the trace follow from the path that the agent was loaded from, which counts: by the time that a
//! program first calls us, its environment may be empty, written over (setproctitle), or another's.
//!
//! # Invariants
//! E1. The strings are copied: programs free and overwrite their environment.
//! E2. Once kept they never change; keeping them again, by two threads at a time even, writes the same bytes.

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

    /// Keeps the parts one behind the other, with a NUL, unless there is something already, or no room.
    fn keep(&self, parts: &[&[u8]]) {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        // ORDERING: Acquire pairs with the Release below: bytes that are published are not written again (E2).
        if self.len.load(Acquire) != 0 || len >= ROOM {
            return;
        }
        let room = self.bytes.get().cast::<u8>();
        for (n, byte) in parts.iter().copied().flatten().enumerate() {
            // SAFETY: n is less than ROOM. len is 0, so nobody reads; who writes at the same time writes the same (E2). The NUL is there:
            // the room was zero.
            unsafe { room.add(n).write_volatile(*byte) };
        }
        // ORDERING: Release publishes the bytes.
        self.len.store(len + 1, Release);
    }
}

/// Keeps our variables of an environment.
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
                variable.keep(&[text.to_bytes()]);
            }
        }
        // SAFETY: not the last entry.
        at = unsafe { at.add(1) };
    }
}

/// The agent's name in a namespace's directory.
const AGENT: &[u8] = b"/libring3.so";

/// Keeps what the agent's own path says. A file elsewhere says nothing.
pub fn follow(path: &CStr) {
    let Some(dir) = path.to_bytes().strip_suffix(AGENT).filter(|dir| dir.starts_with(b"/")) else { return };
    let name = dir.rsplit(|byte| *byte == b'/').next().unwrap_or(dir);
    LIBRARY.keep(&[LIBRARY.name, path.to_bytes()]);
    NAMESPACE.keep(&[NAMESPACE.name, name]);
    SOCKET.keep(&[SOCKET.name, dir, b"/sock"]);
}

/// Path of the broker's socket.
pub fn socket() -> Option<&'static [u8]> {
    SOCKET.value()
}

/// Path of the agent.
pub fn library() -> Option<&'static [u8]> {
    LIBRARY.value()
}

/// The same, with its NUL.
pub fn library_file() -> Option<&'static CStr> {
    let whole = LIBRARY.whole()?;
    CStr::from_bytes_with_nul(whole.get(LIBRARY.name.len()..)?).ok()
}

/// Where to trace, if somebody asked.
pub fn log_file() -> Option<&'static CStr> {
    LOG.value().filter(|level| *level == b"debug")?;
    LOG_FILE.whole().and_then(|whole| CStr::from_bytes_with_nul(whole.get(LOG_FILE.name.len()..)?).ok())
}
