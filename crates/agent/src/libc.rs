//! The program's own libc: what lies behind the names that we export, found by dlsym(RTLD_NEXT) at the first call.
//!
//! Symbols that a libc may lack are weak: their address is null there.

use core::ffi::CStr;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

ring3_os::weak_words! {
    "ring3_weak_errno" => "__errno_location",
    "ring3_weak_dlsym" => "dlsym",
    "ring3_weak_environ" => "environ",
    "ring3_weak_testcancel" => "pthread_testcancel",
    "ring3_weak_cleanup_push" => "_pthread_cleanup_push",
    "ring3_weak_cleanup_pop" => "_pthread_cleanup_pop",
    "ring3_weak_fdopen" => "fdopen",
    "ring3_weak_version" => "gnu_get_libc_version",
}

unsafe extern "C" {
    static ring3_weak_errno: usize;
    static ring3_weak_dlsym: usize;
    static ring3_weak_environ: usize;
    static ring3_weak_testcancel: usize;
    static ring3_weak_cleanup_push: usize;
    static ring3_weak_cleanup_pop: usize;
    static ring3_weak_fdopen: usize;
    static ring3_weak_version: usize;
}

macro_rules! address {
    ($($(#[$doc:meta])* $name:ident: $symbol:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name() -> usize {
            // SAFETY: a word that the dynamic linker filled in before any of our code ran.
            unsafe { $symbol }
        }
    )*};
}

address! {
    /// Address of pthread_testcancel, or 0.
    test_cancel: ring3_weak_testcancel;
    /// Address of _pthread_cleanup_push, or 0.
    cleanup_push: ring3_weak_cleanup_push;
    /// Address of _pthread_cleanup_pop, or 0.
    cleanup_pop: ring3_weak_cleanup_pop;
    /// Address of fdopen, or 0.
    fdopen: ring3_weak_fdopen;
}

/// Whether the program's libc is musl: it has no gnu_get_libc_version.
pub(crate) fn is_musl() -> bool {
    // SAFETY: as the words above.
    unsafe { ring3_weak_version == 0 }
}

/// Sets the thread's errno and answers -1.
pub(crate) fn fail(errno: ring3_abi::Errno) -> isize {
    // SAFETY: null, or `int *__errno_location(void)` of the program's libc.
    unsafe {
        if ring3_weak_errno != 0 {
            let location: extern "C" fn() -> *mut i32 = core::mem::transmute(ring3_weak_errno);
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
    // SAFETY: null, or the address of libc's variable `char **environ`.
    unsafe {
        if ring3_weak_environ == 0 {
            return core::ptr::null();
        }
        *(ring3_weak_environ as *const *const *const u8)
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
        const RTLD_NEXT: usize = usize::MAX;
        // SAFETY: null, or `void *dlsym(void *, const char *)`; the name ends in NUL. It looks behind the object that calls it: us.
        let found = unsafe {
            if ring3_weak_dlsym == 0 {
                return 0;
            }
            let dlsym: extern "C" fn(usize, *const u8) -> usize = core::mem::transmute(ring3_weak_dlsym);
            dlsym(RTLD_NEXT, self.name.as_ptr().cast())
        };
        self.address.store(found, Relaxed);
        found
    }
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
