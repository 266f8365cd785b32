//! Functions by name: dlsym(3), dlvsym(3). A program that takes libc by a handle (ctypes, dlopen and dlsym) finds the doors there.
//!
//! What the program finds is what its own dlsym finds, but where that is libc's function behind one of our doors: then it is the door.
//! RTLD_DEFAULT and RTLD_NEXT never come here (`door.rs`): what they find depends on the caller, which dlsym knows by its return address.
//! RTLD_DEFAULT finds a door by itself; RTLD_NEXT finds what is behind the caller.

use crate::libc::{self, DLSYM, DLVSYM};
use core::ffi::CStr;
use core::sync::atomic::Ordering::Relaxed;
use ring3_os::elf::Segments;

/// dlsym(3) with a handle of dlopen's.
pub extern "C" fn dlsym(handle: usize, name: *const u8) -> usize {
    let found = match DLSYM.load(Relaxed) {
        0 => 0,
        // SAFETY: libc's function of this form, with the program's arguments.
        real => unsafe {
            let dlsym: unsafe extern "C" fn(usize, *const u8) -> usize = core::mem::transmute(real);
            dlsym(handle, name)
        },
    };
    // SAFETY: dlsym has found something by this name.
    unsafe { door_for(found, name) }
}

/// dlvsym(3) with a handle of dlopen's.
pub extern "C" fn dlvsym(handle: usize, name: *const u8, version: *const u8) -> usize {
    let found = match DLVSYM.load(Relaxed) {
        0 => 0,
        // SAFETY: libc's function of this form, with the program's arguments.
        real => unsafe {
            let dlvsym: unsafe extern "C" fn(usize, *const u8, *const u8) -> usize =
                core::mem::transmute(real);
            dlvsym(handle, name, version)
        },
    };
    // SAFETY: for the same reason as in dlsym().
    unsafe { door_for(found, name) }
}

/// The door in front of what was found, or what was found.
///
/// # Safety
/// `name` is a string, unless nothing was found.
unsafe fn door_for(found: usize, name: *const u8) -> usize {
    if found == 0 {
        return 0;
    }
    // SAFETY: by the caller's promise.
    let name = unsafe { CStr::from_ptr(name.cast()) }.to_bytes();
    let own = crate::relocations::base();
    // SAFETY: this library's own ELF header.
    let image = unsafe { Segments::of(own) }.image(Some(own));
    match image.and_then(|image| image.symbol(name)) {
        Some(door) if libc::is_behind_door(found, name, passes_on(name)) => door,
        _ => found,
    }
}

/// Whether the function behind this door may call what is behind it: another library there, which wraps that function, would be led back to
/// the door. Those of System V IPC never do.
fn passes_on(name: &[u8]) -> bool {
    let starts = |with: &&[u8]| name.starts_with(with);
    !([b"msg".as_slice(), b"sem", b"shm"].iter().any(starts) || name == b"syscall")
}
