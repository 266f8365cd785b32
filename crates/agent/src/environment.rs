//! The program's own environment, which libc takes where it starts programs by itself: system(3), popen(3).

use crate::libc;
use crate::next;
use core::ptr::null;
use ring3_calls::preload::environment::{PRELOAD, Strings, bytes, each, same, with_environment};
use ring3_calls::process::environment;
use ring3_calls::thread::memory;

/// Puts our variables into the program's own environment, if they are not there: libc takes that one where it starts programs by itself.
pub(crate) fn repair_own() {
    let own = libc::environ();
    let keep = |envp: Strings| {
        // SAFETY: the environment that with_environment() made.
        for entry in unsafe { each(envp) } {
            // SAFETY: an entry is a string.
            let text = unsafe { bytes(entry) };
            if let Some(variable) = environment::ALL.iter().find(|v| same(v, text)).and_then(|v| v.whole()) {
                next!(putenv(variable.as_ptr() => *const u8) -> i32);
            } else if let Some(list) = text.strip_prefix(PRELOAD) {
                next!(setenv(c"LD_PRELOAD".as_ptr().cast() => *const u8, list.as_ptr() => *const u8, 1 => i32) -> i32);
            }
        }
        0
    };
    let mut look = |envp: Strings| if core::ptr::eq(envp, own) { 0 } else { keep(envp) };
    if !own.is_null() && memory::is_ours() {
        with_environment(None, own, &mut look);
    } else if memory::is_ours() {
        let empty: [*const u8; 1] = [null()];
        with_environment(None, empty.as_ptr(), &mut look);
    }
}
