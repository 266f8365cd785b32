//! The program's own libc: a few of its names, found when the library gets ready, and what lies behind the names that we export, found
//! when it is first called.
//!
//! A libc may lack some of them: their address is 0 then.

use core::ffi::CStr;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use ring3_os::loaded::{self, Object, Objects};

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $symbol:literal;)*) => {
        /// Addresses of libc's functions and variables; 0 for what it lacks.
        pub(crate) struct Words {
            $($name: AtomicUsize,)*
        }

        /// The program's.
        pub(crate) static LIBC: Words = Words { $($name: AtomicUsize::new(0),)* };

        impl Words {
            /// Looks for them in the order in which the dynamic linker would: the first object that has a name has it. Doing it again
            /// changes nothing.
            pub(crate) fn find(&self, objects: Objects) {
                for image in objects.map(|object| object.image()) {
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
    /// `void *dlsym(void *, const char *)`.
    dlsym = b"dlsym";
    /// `char **environ`.
    environ = b"environ";
    /// `void pthread_testcancel(void)`.
    test_cancel = b"pthread_testcancel";
    /// `void _pthread_cleanup_push(struct _pthread_cleanup_buffer *, void (*)(void *), void *)`.
    cleanup_push = b"_pthread_cleanup_push";
    /// `void _pthread_cleanup_pop(struct _pthread_cleanup_buffer *, int)`.
    cleanup_pop = b"_pthread_cleanup_pop";
    /// `FILE *fdopen(int, const char *)`.
    fdopen = b"fdopen";
    /// `const char *gnu_get_libc_version(void)`.
    version = b"gnu_get_libc_version";
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
    match LIBC.environ() {
        0 => core::ptr::null(),
        // SAFETY: the address of libc's variable.
        at => unsafe { *(at as *const *const *const u8) },
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
        let found = match LIBC.dlsym() {
            0 => behind_us(self.name),
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
fn behind_us(name: &CStr) -> usize {
    let own = crate::relocations::base();
    let behind = loaded::objects_with(own).skip_while(|object: &Object| object.slide() != own).skip(1);
    behind.map(|object| object.image()).find_map(|image| image.symbol(name.to_bytes())).unwrap_or(0)
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
