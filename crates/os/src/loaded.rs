//! The objects of this process, in the dynamic linker's order, as it lists them for debuggers: `struct r_debug` and `struct link_map` of
//! <link.h>, the same in glibc, musl and bionic.
//!
//! The objects that a program starts with come first and stay for ever. An object that dlopen added may go away during the walk: a caller that looks for
//! a thing that only such an object has takes the dynamic linker's own functions.

use crate::auxv::{AT_BASE, AT_PHDR, AT_PHNUM, Vector};
use crate::elf::{Image, Segments};
use crate::map::PAGE;
use core::ffi::{CStr, c_char};
use core::ptr::NonNull;

/// <link.h>'s `struct link_map`, as far as it is public.
#[repr(C)]
struct LinkMap {
    addr: usize,
    name: *const c_char,
    dynamic: usize,
    next: *const LinkMap,
    prev: *const LinkMap,
}

/// <link.h>'s `struct r_debug`, its first two words.
#[repr(C)]
struct Debug {
    version: i32,
    map: *const LinkMap,
}

/// An object that is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Object(NonNull<LinkMap>);

impl Object {
    /// The file that it was loaded from, as the dynamic linker found it; empty for the program itself.
    pub fn name(&self) -> &'static CStr {
        // SAFETY: first() and next() answer entries of the list; the name is a string that lives as long as the object.
        unsafe {
            let name = self.0.as_ref().name;
            if name.is_null() { c"" } else { CStr::from_ptr(name) }
        }
    }

    /// How far behind the addresses it was linked at.
    pub fn slide(&self) -> usize {
        // SAFETY: an entry of the list.
        unsafe { self.0.as_ref() }.addr
    }

    /// Its symbols.
    pub fn image(&self) -> Image {
        // SAFETY: an entry of the list: the dynamic section of an object that is mapped.
        unsafe { Image::new(self.0.as_ref().dynamic, self.0.as_ref().addr) }
    }
}

/// The objects from one on.
#[derive(Clone, Debug)]
pub struct Objects(Option<Object>);

impl Iterator for Objects {
    type Item = Object;

    fn next(&mut self) -> Option<Object> {
        let object = self.0?;
        // SAFETY: an entry of the list.
        self.0 = NonNull::new(unsafe { object.0.as_ref() }.next.cast_mut()).map(Object);
        Some(object)
    }
}

/// All objects, the program first, among them the one that lies `slide` behind where it was linked. None where no dynamic linker is found
/// that has loaded an object there.
pub fn objects_with(slide: usize) -> Objects {
    let lists = Vector::each().map(|vector| Objects(first(&vector)));
    let mut ours = lists.filter(|list| list.clone().any(|object| object.slide() == slide));
    ours.next().unwrap_or(Objects(None))
}

fn first(vector: &Vector) -> Option<Object> {
    let headers = vector.get(AT_PHDR)?;
    // SAFETY: the kernel says where it put the program's headers.
    let program = unsafe { Segments::new(headers, vector.get(AT_PHNUM)?) };
    // A dynamic linker that was started as a program does not say where it is; its headers stand behind its ELF header.
    let image = program.image(None).or_else(|| program.image(Some(headers & !(PAGE - 1))));
    let debug = match image.map_or(0, |image| image.debug()) {
        0 => vouched(vector).or_else(|| image.and_then(told))?,
        debug => debug,
    };
    // SAFETY: the dynamic linker's own structure, which it keeps for debuggers.
    NonNull::new(unsafe { (*(debug as *const Debug)).map }.cast_mut()).map(Object)
}

/// Where the dynamic linker's image has its list, for programs that leave it no room (DT_DEBUG).
fn vouched(vector: &Vector) -> Option<usize> {
    let base = vector.get(AT_BASE).filter(|base| *base != 0)?;
    // SAFETY: the kernel says where it put the dynamic linker.
    told(unsafe { Segments::of(base) }.image(Some(base))?)
}

/// What a dynamic linker's symbols say: glibc's structure, or musl's pointer to it.
fn told(linker: Image) -> Option<usize> {
    linker.symbol(b"_r_debug").or_else(|| {
        let pointer = linker.symbol(b"_dl_debug_addr")?;
        // SAFETY: musl's `struct debug *_dl_debug_addr`.
        Some(unsafe { *(pointer as *const usize) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libc_is_among_them_and_has_its_functions() {
        let objects = || Objects(first(&Vector::read().unwrap()));
        let found = objects().find_map(|object| object.image().symbol(b"getpid")).unwrap();
        // SAFETY: libc's `pid_t getpid(void)`.
        let getpid: extern "C" fn() -> u32 = unsafe { core::mem::transmute(found) };
        assert_eq!(getpid(), std::process::id());
        assert!(objects().all(|object| object.image().symbol(b"ring3_has_no_such_name").is_none()));
    }

    #[test]
    fn the_linker_itself_says_the_same() {
        let vector = Vector::read().unwrap();
        let Some(debug) = vouched(&vector) else { panic!("no _r_debug") };
        // SAFETY: as in first().
        let map = unsafe { (*(debug as *const Debug)).map };
        assert_eq!(map.cast_mut(), first(&vector).unwrap().0.as_ptr());
    }

    #[test]
    fn a_list_without_the_object_is_nobodys() {
        let last = Objects(first(&Vector::read().unwrap())).last().unwrap();
        assert!(objects_with(last.slide()).any(|object| object.slide() == last.slide()));
        assert!(objects_with(1).next().is_none());
    }
}
