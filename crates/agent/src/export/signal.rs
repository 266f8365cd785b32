//! sigaction and the older functions that set handlers. sigaction(2), signal(2), sigset(3), siginterrupt(3).

use crate::libc::{self, answer, fail};
use crate::next;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use ring3_calls::thread::signal::{self, Action, SA_NODEFER, SA_RESETHAND, SA_RESTART, SIG_IGN};
use ring3_os::user::UserPtr;

const SIG_ERR: usize = usize::MAX;
const SIG_HOLD: usize = 2;

/// sigaction(2).
pub extern "C" fn sigaction(sig: i32, new: usize, old: usize) -> i32 {
    answer(signal::libc_sigaction(sig, UserPtr::claim(new), UserPtr::claim(old)).map(|()| 0)) as i32
}

/// sigaction(2), by the name that other libraries of libc's use.
pub extern "C" fn __sigaction(sig: i32, new: usize, old: usize) -> i32 {
    sigaction(sig, new, old)
}

fn set(sig: i32, handler: usize, flags: u64, mask: u64) -> usize {
    if handler == SIG_ERR {
        return fail(ring3_abi::Errno::EINVAL) as usize;
    }
    match signal::sigaction(sig, Some(&Action { handler, flags, restorer: 0, mask })) {
        Ok(old) => old.handler,
        Err(errno) => fail(errno) as usize,
    }
}

fn only(sig: i32) -> u64 {
    if (1..=64).contains(&sig) { 1 << (sig - 1) } else { 0 }
}

/// Signals that siginterrupt has made interrupt. glibc's signal() keeps to that, musl's does not.
static INTERRUPTING: AtomicU64 = AtomicU64::new(0);

/// signal(2), as BSD has it: the handler stays, calls go on.
pub extern "C" fn signal(sig: i32, handler: usize) -> usize {
    if libc::is_musl() {
        return set(sig, handler, SA_RESTART, 0);
    }
    let restart = if INTERRUPTING.load(Relaxed) & only(sig) == 0 { SA_RESTART } else { 0 };
    set(sig, handler, restart, only(sig))
}

/// signal(2), likewise.
pub extern "C" fn bsd_signal(sig: i32, handler: usize) -> usize {
    signal(sig, handler)
}

/// signal(2), likewise.
pub extern "C" fn ssignal(sig: i32, handler: usize) -> usize {
    signal(sig, handler)
}

/// signal(2), as System V had it: once, and interrupting.
pub extern "C" fn sysv_signal(sig: i32, handler: usize) -> usize {
    set(sig, handler, SA_RESETHAND | SA_NODEFER, 0)
}

/// signal(2), likewise; in musl only the name is System V's.
pub extern "C" fn __sysv_signal(sig: i32, handler: usize) -> usize {
    if libc::is_musl() { signal(sig, handler) } else { sysv_signal(sig, handler) }
}

/// sigignore(3).
pub extern "C" fn sigignore(sig: i32) -> i32 {
    if set(sig, SIG_IGN, 0, 0) == SIG_ERR { -1 } else { 0 }
}

/// sigset(3).
pub extern "C" fn sigset(sig: i32, handler: usize) -> usize {
    const SIG_BLOCK: i32 = 0;
    const SIG_UNBLOCK: i32 = 1;
    let mut mask = [0u64; 16];
    let mut before = [0u64; 16];
    mask[0] = only(sig);
    let how = if handler == SIG_HOLD { SIG_BLOCK } else { SIG_UNBLOCK };
    let old = if handler == SIG_HOLD {
        match signal::sigaction(sig, None) {
            Ok(old) => old.handler,
            Err(errno) => return fail(errno) as usize,
        }
    } else {
        set(sig, handler, 0, 0)
    };
    if old == SIG_ERR {
        return SIG_ERR;
    }
    let done =
        next!(sigprocmask(how => i32, mask.as_ptr() => *const u64, before.as_mut_ptr() => *mut u64) -> i32);
    match done {
        0 if before[0] & only(sig) != 0 => SIG_HOLD,
        0 => old,
        _ => SIG_ERR,
    }
}

/// siginterrupt(3).
pub extern "C" fn siginterrupt(sig: i32, interrupts: i32) -> i32 {
    match interrupts {
        0 => INTERRUPTING.fetch_and(!only(sig), Relaxed),
        _ => INTERRUPTING.fetch_or(only(sig), Relaxed),
    };
    let changed = signal::sigaction(sig, None).and_then(|old| {
        let flags = if interrupts != 0 { old.flags & !SA_RESTART } else { old.flags | SA_RESTART };
        signal::sigaction(sig, Some(&Action { flags, ..old }))
    });
    answer(changed.map(|_| 0)) as i32
}
