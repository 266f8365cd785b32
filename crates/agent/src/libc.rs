//! The program's own libc: a few of its names, found when the library gets ready, and what lies behind the names that we export, found
//! when it is first called.
//!
//! A libc may lack some of them: their address is 0 then.

use core::ffi::CStr;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use ring3_os::elf::Image;
use ring3_os::loaded::{self, Object, Objects};

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $symbol:literal;)*) => {
        /// Addresses of libc's functions; 0 for what it lacks.
        pub(crate) struct Words {
            $($name: AtomicUsize,)*
        }

        /// The program's.
        pub(crate) static LIBC: Words = Words { $($name: AtomicUsize::new(0),)* };

        impl Words {
            /// Looks for them in the order in which the dynamic linker would for a library where we are: the first object behind us that has a
            /// name has it. So a sanitizer's runtime inside the program, which may not be ready yet, is not asked. Doing it again changes nothing.
            fn find(&self, objects: &Objects) {
                for image in behind_us(objects) {
                    $(if self.$name.load(Relaxed) == 0
                        && let Some(address) = image.symbol($symbol)
                    {
                        self.$name.store(address, Relaxed);
                    })*
                }
            }

            $($(#[$doc])*
            pub(crate) fn $name(&self) -> usize {
                self.$name.load(Relaxed)
            })*
        }
    };
}

words! {
    /// `int *__errno_location(void)`.
    errno_location = b"__errno_location";
    /// `void pthread_testcancel(void)`.
    test_cancel = b"pthread_testcancel";
    /// `void _pthread_cleanup_push(struct _pthread_cleanup_buffer *, void (*)(void *), void *)`.
    cleanup_push = b"_pthread_cleanup_push";
    /// `void _pthread_cleanup_pop(struct _pthread_cleanup_buffer *, int)`.
    cleanup_pop = b"_pthread_cleanup_pop";
    /// `FILE *fdopen(int, const char *)`.
    fdopen = b"fdopen";
    /// `int fileno(FILE *)`.
    fileno = b"fileno";
    /// `const char *gnu_get_libc_version(void)`.
    version = b"gnu_get_libc_version";
}

/// `void *dlsym(void *, const char *)`, and dlvsym, which the doors of these names jump to.
pub(crate) static DLSYM: AtomicUsize = AtomicUsize::new(0);
pub(crate) static DLVSYM: AtomicUsize = AtomicUsize::new(0);
/// `char **environ`, which a program may have a copy of.
static ENVIRON: AtomicUsize = AtomicUsize::new(0);

/// Looks for all of them.
pub(crate) fn find(objects: &Objects) {
    LIBC.find(objects);
    let first = |name: &[u8]| behind_us(objects).find_map(|image| image.symbol(name)).unwrap_or(0);
    DLSYM.store(first(b"dlsym"), Relaxed);
    DLVSYM.store(first(b"dlvsym"), Relaxed);
    let environ = objects.clone().find_map(|object| object.image().symbol(b"environ"));
    ENVIRON.store(environ.unwrap_or(0), Relaxed);
}

/// The symbols of the objects behind us, in the dynamic linker's order.
fn behind_us(objects: &Objects) -> impl Iterator<Item = Image> + use<> {
    let own = crate::relocations::base();
    let behind = objects.clone().skip_while(move |object: &Object| object.slide() != own).skip(1);
    behind.map(|object| object.image())
}

/// libc's own symbols, whatever stands in front of them.
fn libc_image(objects: &Objects) -> Option<Image> {
    behind_us(objects).find(|image| image.symbol(b"__libc_start_main").is_some())
}

/// The address of a function of libc's own.
pub(crate) fn own_function(objects: &Objects, name: &[u8]) -> Option<usize> {
    libc_image(objects)?.symbol(name)
}

/// Whether an address that somebody found for the name of a door is that of libc's function behind the door, and nothing in between
/// (`passes`: that the door may pass a call on to) has a function of that name.
pub(crate) fn is_behind_door(found: usize, name: &[u8], passes: bool) -> bool {
    let objects = loaded::objects_with(crate::relocations::base());
    // Up to libc at most: objects that came later may go.
    own_function(&objects, name) == Some(found)
        && (!passes || behind_us(&objects).find_map(|image| image.symbol(name)) == Some(found))
}

/// Whether the program's libc is musl: it has no gnu_get_libc_version.
pub(crate) fn is_musl() -> bool {
    LIBC.version() == 0
}

/// Sets the thread's errno and answers -1.
pub(crate) fn fail(errno: ring3_abi::Errno) -> isize {
    let at = LIBC.errno_location();
    if at != 0 {
        // SAFETY: libc's function of this form.
        unsafe {
            let location: extern "C" fn() -> *mut i32 = core::mem::transmute(at);
            location().write(i32::from(errno.0));
        }
    }
    -1
}

/// The thread's errno.
pub(crate) fn last_error() -> ring3_abi::Errno {
    match LIBC.errno_location() {
        0 => ring3_abi::Errno::ENOSYS,
        // SAFETY: libc's function of this form.
        at => unsafe {
            let location: extern "C" fn() -> *mut i32 = core::mem::transmute(at);
            ring3_abi::Errno(location().read() as u16)
        },
    }
}

/// The value, or -1 with errno set.
#[inline]
pub(crate) fn answer(result: Result<usize, ring3_abi::Errno>) -> isize {
    match result {
        Ok(value) => value as isize,
        Err(errno) => fail(errno),
    }
}

/// The program's environment now.
pub(crate) fn environ() -> *const *const u8 {
    match ENVIRON.load(Relaxed) {
        0 => core::ptr::null(),
        // SAFETY: the address of libc's variable.
        at => unsafe { *(at as *const *const *const u8) },
    }
}

/// The environment that the program was started with, for a first call that comes before libc knows of one (a sanitizer's runtime asks for
/// names that early): glibc's dynamic linker has its arguments, and the environment lies behind them.
pub(crate) fn first_environ(objects: &Objects) -> *const *const u8 {
    let Some(arguments) = behind_us(objects).find_map(|image| image.symbol(b"_dl_argv")) else {
        return core::ptr::null();
    };
    // SAFETY: the dynamic linker's `char **_dl_argv`, which it sets before it loads anything: the arguments end with a null pointer.
    unsafe {
        let mut at = *(arguments as *const *const *const u8);
        while !at.read().is_null() {
            at = at.add(1);
        }
        at.add(1)
    }
}

/// A function of libc's that we stand in front of.
pub(crate) struct Next {
    name: &'static CStr,
    address: AtomicUsize,
}

impl Next {
    pub(crate) const fn new(name: &'static CStr) -> Next {
        Next { name, address: AtomicUsize::new(0) }
    }

    /// Its address; 0 if there is none.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        match self.address.load(Relaxed) {
            0 => self.find(),
            found => found,
        }
    }

    #[cold]
    fn find(&self) -> usize {
        let found = match DLSYM.load(Relaxed) {
            0 => next_of(self.name),
            // SAFETY: libc's function of this form; the name ends in NUL. It looks behind the object that calls it: us.
            dlsym => unsafe {
                const RTLD_NEXT: usize = usize::MAX;
                let dlsym: extern "C" fn(usize, *const u8) -> usize = core::mem::transmute(dlsym);
                dlsym(RTLD_NEXT, self.name.as_ptr().cast())
            },
        };
        self.address.store(found, Relaxed);
        found
    }
}

/// What dlsym(RTLD_NEXT) would find, for a program that has no dlsym: glibc keeps it in a library of its own before 2.34. 0 if nothing.
fn next_of(name: &CStr) -> usize {
    let objects = loaded::objects_with(crate::relocations::base());
    behind_us(&objects).find_map(|image| image.symbol(name.to_bytes())).unwrap_or(0)
}

/// Calls libc's function of the same name: `next!(fork() -> i32)`, `next!(open(path: *const u8, flags: i32) -> i32)`. Without one: -1, ENOSYS.
#[macro_export]
macro_rules! next {
    ($name:ident($($arg:expr => $ty:ty),*) -> $ret:ty) => {{
        static NEXT: $crate::libc::Next = {
            // SAFETY: a literal that ends in NUL and holds no other.
            $crate::libc::Next::new(unsafe {
                core::ffi::CStr::from_bytes_with_nul_unchecked(concat!(stringify!($name), "\0").as_bytes())
            })
        };
        match NEXT.address() {
            0 => $crate::libc::fail(ring3_abi::Errno::ENOSYS) as $ret,
            address => {
                // SAFETY: libc's function of this name has this form.
                let function: unsafe extern "C-unwind" fn($($ty),*) -> $ret = unsafe { core::mem::transmute(address) };
                // SAFETY: with the program's own arguments.
                unsafe { function($($arg),*) }
            }
        }
    }};
}
