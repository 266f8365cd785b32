//! How the library becomes ready, and how a panic ends.
//!
//! Every program that is started under ring3 has the library loaded, and most never call one of its functions. So loading it does nothing:
//! the dynamic linker maps the file, reads its names, and writes to none of its pages. Where it can be so (`AT_LOAD`), the first call of an
//! exported function relocates the library's data (`door.rs`) and looks for libc.
//!
//! # Invariants
//! S1. Before [`begin`] no Rust runs here: what the compiler makes goes by tables of addresses. Until it has relocated the rest, nothing
//!     uses the thread-local block.
//! S2. Getting ready is the same whoever does it and however often: it stores the same words again, and relocates a word only if it is zero,
//!     as in the file: another may be done and at work by now. So two threads may do it at once, a handler in the middle of it, and a
//!     vfork child for its parent; the last store says that it is done.

use crate::libc::{self, LIBC};
use crate::next;
use crate::relocations;
use core::ffi::CStr;
use core::sync::atomic::{
    AtomicU8,
    Ordering::{Relaxed, Release},
};
use ring3_calls::process::{environment, trace};
use ring3_calls::syscall::usage;
use ring3_calls::thread::{cancel, robust_list, signal};
use ring3_os::arch::late::AT_LOAD;
use ring3_os::loaded::{self, Object};

/// 1: ready.
pub(crate) static READY: AtomicU8 = AtomicU8::new(0);

/// Gets ready (S2).
pub(crate) extern "C" fn begin() {
    let objects = loaded::objects_with(relocations::base());
    if !AT_LOAD && !relocations::apply(&objects) {
        // Without its own data it can serve nothing, nor pass a call on.
        say(b"ring3: this program's libraries cannot be found, so it cannot be served\n");
        end(127);
    }
    let (image, len) = relocations::extent();
    usage::IMAGE.lies_at(image, len);
    libc::find(&objects);
    // The path first: the environment may already be the one that the program has made for another (env(1), a shell).
    if let Some(path) = own_path(objects.clone()) {
        environment::follow(path);
    }
    let environ = Some(libc::environ()).filter(|environ| !environ.is_null());
    // SAFETY: libc's environment, or the program's first.
    unsafe { environment::capture(environ.unwrap_or_else(|| libc::first_environ(&objects))) };
    trace::begin();
    if libc::is_musl() {
        signal::libc_keeps(34);
        robust_list::REGISTER.store(register_robust_list as extern "C" fn() as usize, Relaxed);
    }
    cancel::CANCELLATION.test.store(LIBC.test_cancel(), Relaxed);
    cancel::CANCELLATION.push.store(LIBC.cleanup_push(), Relaxed);
    cancel::CANCELLATION.pop.store(LIBC.cleanup_pop(), Relaxed);
    // ORDERING: Release: whoever finds it 1 and then reads what was stored above on a machine that could turn that round pairs by the
    // address that leads there; x86-64, the only one that looks, does not turn loads round.
    READY.store(1, Release);
}

/// Makes musl register the calling thread's robust list, which it does at a thread's first lock of a mutex that may need it: locks one.
extern "C" fn register_robust_list() {
    const RECURSIVE: i32 = 1;
    let (mut attributes, mut mutex) = ([0usize; 16], [0usize; 16]);
    let (attributes, mutex) = (attributes.as_mut_ptr(), mutex.as_mut_ptr());
    let made = next!(pthread_mutexattr_init(attributes => *mut usize) -> i32) == 0
        && next!(pthread_mutexattr_settype(attributes => *mut usize, RECURSIVE => i32) -> i32) == 0
        && next!(pthread_mutexattr_setpshared(attributes => *mut usize, 1 => i32) -> i32) == 0
        && next!(pthread_mutexattr_setrobust(attributes => *mut usize, 1 => i32) -> i32) == 0
        && next!(pthread_mutex_init(mutex => *mut usize, attributes => *mut usize) -> i32) == 0;
    if made && next!(pthread_mutex_lock(mutex => *mut usize) -> i32) == 0 {
        next!(pthread_mutex_unlock(mutex => *mut usize) -> i32);
    }
}

/// The file that the dynamic linker loaded this library from.
fn own_path(mut objects: impl Iterator<Item = Object>) -> Option<&'static CStr> {
    let own = relocations::base();
    objects.find(|object| object.slide() == own).map(|object| object.name())
}

ring3_os::at_load!(begin);

/// Writes to standard error.
fn say(text: &[u8]) {
    // SAFETY: text that lives.
    unsafe {
        ring3_os::arch::syscall(ring3_os::arch::nr::WRITE, [2, text.as_ptr() as usize, text.len(), 0, 0, 0])
    };
}

/// Ends the process.
fn end(status: usize) -> ! {
    loop {
        // SAFETY: numbers only.
        unsafe { ring3_os::arch::syscall(ring3_os::arch::nr::EXIT_GROUP, [status, 0, 0, 0, 0, 0]) };
    }
}

/// There is no one to tell: the invariant that broke is ours, the process is a stranger's.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SIGABRT's status.
    end(134)
}
