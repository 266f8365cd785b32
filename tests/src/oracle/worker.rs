//! A worker: takes calls from its slot, makes them, answers.

use super::names;
use super::perform;
use super::script::Op;
use super::slot::Shared;
use super::sys;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// Real-time priority of workers when everything shares one CPU: above the driver, below the broker.
pub const PRIORITY: i32 = 10;

/// What a worker knows about itself.
#[derive(Clone, Copy)]
pub struct Worker {
    /// The memory it takes calls from.
    pub shared: &'static Shared,
    /// Its descriptor.
    pub fd: i32,
    /// Which slot.
    pub who: usize,
}

/// Counts this process's handled signals; points into the slot of the process's first worker.
static HANDLED: AtomicPtr<AtomicU32> = AtomicPtr::new(std::ptr::null_mut());

extern "C" fn on_signal(_: libc::c_int) {
    let word = HANDLED.load(Ordering::Acquire);
    if !word.is_null() {
        // SAFETY: set once to a word of the shared mapping, which is never unmapped.
        unsafe { &*word }.fetch_add(1, Ordering::AcqRel);
    }
}

/// Installs the handler of SIGUSR1 with these flags.
pub(crate) fn handle(flags: i32) -> i64 {
    // SAFETY: all zero is a valid sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as usize;
    action.sa_flags = flags;
    // SAFETY: the handler touches atomics only; the structure lives through the call.
    i64::from(unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) })
}

impl Worker {
    /// Becomes the worker: never returns.
    pub fn serve(self) -> ! {
        self.start();
        HANDLED.store(std::ptr::from_ref(&self.shared.slot(self.who).handled).cast_mut(), Ordering::Release);
        handle(0);
        self.publish();
        self.work()
    }

    /// The same for a further thread of a worker's process.
    pub(crate) fn serve_thread(self) -> ! {
        self.start();
        self.publish();
        self.work()
    }

    fn start(self) {
        let base = names::BASE + self.who as i64 * names::STRIDE;
        let (rw, ro) = (libc::PROT_READ | libc::PROT_WRITE, libc::PROT_READ);
        let areas =
            [(0, names::ARGS * names::ROOM, rw), (names::OUT, names::ROOM, rw), (names::READ_ONLY, 4096, ro)];
        for (offset, size, prot) in areas.into_iter().chain([(names::EDGE - 4096, 4096, rw)]) {
            // A slot that an earlier worker of this process's ancestors used is mapped already.
            let _ = sys::map_at(base + offset, size, prot);
        }
    }

    fn publish(self) {
        let slot = self.shared.slot(self.who);
        slot.pid.store(std::process::id(), Ordering::Release);
        slot.tid.store(sys::gettid(), Ordering::Release);
        self.shared.bell.fetch_add(1, Ordering::AcqRel);
        sys::futex_wake(&self.shared.bell);
    }

    /// Tells the driver that the exec it asked for has happened.
    pub fn serve_after_exec(self) -> ! {
        self.start();
        HANDLED.store(std::ptr::from_ref(&self.shared.slot(self.who).handled).cast_mut(), Ordering::Release);
        handle(0);
        self.publish();
        self.shared.slot(self.who).reply(self.shared, 0, 0, "");
        self.work()
    }

    fn work(self) -> ! {
        let slot = self.shared.slot(self.who);
        loop {
            let call = slot.next();
            let outcome = match Op::from_u32(call.op) {
                Some(op) => perform::perform(self, op, call),
                None => perform::Outcome::plain(-1),
            };
            slot.reply(self.shared, outcome.ret, outcome.errno, &outcome.text);
        }
    }
}
