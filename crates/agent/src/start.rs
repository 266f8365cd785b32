//! Before main, and after a panic.

use crate::libc;
use core::sync::atomic::Ordering::Relaxed;
use ring3_calls::{env, life, signal, trace};

/// Runs before the program's own constructors, and does as little as it can.
unsafe extern "C" fn start(argc: usize, argv: *const *const u8, envp: *const *const u8) {
    let _ = (argc, argv);
    let environ = libc::environ();
    // glibc may not have set `environ` yet, but passes it; musl passes nothing, but has set it.
    // SAFETY: either is an environment.
    unsafe { env::capture(if environ.is_null() { envp } else { environ }) };
    trace::begin();
    life::begin();
    if libc::is_musl() {
        signal::libc_keeps(34);
    }
    life::CANCELLATION.test.store(libc::test_cancel(), Relaxed);
    life::CANCELLATION.push.store(libc::cleanup_push(), Relaxed);
    life::CANCELLATION.pop.store(libc::cleanup_pop(), Relaxed);
}

#[used]
#[unsafe(link_section = ".init_array")]
static START: unsafe extern "C" fn(usize, *const *const u8, *const *const u8) = start;

/// There is no one to tell: the invariant that broke is ours, the process is a stranger's.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        // SAFETY: ends the process with SIGABRT's status; numbers only.
        unsafe { ring3_os::arch::syscall(ring3_os::arch::nr::EXIT_GROUP, [134, 0, 0, 0, 0, 0]) };
    }
}
