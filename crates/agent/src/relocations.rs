//! The library's own relocations, which the dynamic linker leaves to it (`layout.ld`, and build.rs of the command, which hides them).

use crate::libc;
use core::ffi::c_char;
use ring3_os::arch::late;
use ring3_os::loaded::Objects;

/// Where the library lies: its address less the address it was linked at.
pub(crate) fn base() -> usize {
    ring3_os::late_image!().base
}

/// Where the library lies, and how long it is: its relocations are its end (`layout.ld`). Length 0 where the dynamic linker has them.
pub(crate) fn extent() -> (usize, usize) {
    let image = ring3_os::late_image!();
    let end = image.relocations.as_ptr_range().end as usize;
    (image.base, if image.relocations.is_empty() { 0 } else { end - image.base })
}

/// <link.h>'s `struct dl_phdr_info`.
#[repr(C)]
struct Info {
    addr: usize,
    name: *const c_char,
    headers: *const u8,
    count: u16,
    adds: u64,
    subs: u64,
    tls_modid: usize,
    tls_data: usize,
}

/// What the callback looks for, and finds.
struct Search {
    base: usize,
    tls_data: usize,
}

unsafe extern "C" fn look(info: *const Info, _size: usize, search: *mut Search) -> i32 {
    // SAFETY: dl_iterate_phdr passes its structure, and what it was given.
    let (info, search) = unsafe { (&*info, &mut *search) };
    if info.addr == search.base {
        search.tls_data = info.tls_data;
    }
    i32::from(info.addr == search.base)
}

/// Where this thread's block of the library's thread-local memory lies; 0 if the dynamic linker does not say. dl_iterate_phdr(3).
fn thread_local_block(objects: &Objects, base: usize) -> usize {
    type Look = unsafe extern "C" fn(*const Info, usize, *mut Search) -> i32;
    let Some(iterate) = libc::own_function(objects, b"dl_iterate_phdr") else { return 0 };
    let mut search = Search { base, tls_data: 0 };
    // SAFETY: libc's function of this name, with a callback of the form that it asks for.
    unsafe {
        let iterate: extern "C" fn(Look, *mut Search) -> i32 = core::mem::transmute(iterate);
        iterate(look, &raw mut search);
    }
    search.tls_data
}

/// Carries out the relocations that are left when the door has made addresses of words: where the thread-local block is. Whether that could
/// be done.
pub(crate) fn apply(objects: &Objects) -> bool {
    let image = ring3_os::late_image!();
    let block = thread_local_block(objects, image.base);
    // SAFETY: the library's relocations, as the linker's script bounds them; the door has made its data writable.
    block != 0
        && unsafe {
            late::relocate(image.base, image.relocations, block.wrapping_sub(late::thread_pointer()) as isize)
        }
}
