//! The environment that a new program gets: the caller's, with ours in it.
//!
//! Only what is missing is put back. An environment that names another namespace's socket, or an empty one, is left as it is: that is
//! how `ring3 run` inside `ring3 run`, and programs that shall run without an agent, are started.
//!
//! A vfork child comes through here on its parent's memory: so everything is made on the stack, and nothing of ours is changed.

use crate::libc;
use crate::next;
use core::ffi::CStr;
use core::ptr::null;
use ring3_calls::{env, life};
use ring3_os::arch;

/// A list of strings that ends with a null pointer: arguments, an environment.
pub(crate) type Strings = *const *const u8;

const PRELOAD: &[u8] = b"LD_PRELOAD=";
/// Variables that may have to be added.
const OURS: usize = env::ALL.len() + 1;

unsafe fn bytes<'a>(text: *const u8) -> &'a [u8] {
    // SAFETY: by the caller's promise a string that lives long enough.
    unsafe { CStr::from_ptr(text.cast()) }.to_bytes()
}

/// Whether a string begins with these bytes. Most end the question with their first or second: environments are long, and every program's
/// start pays for them.
unsafe fn begins(text: *const u8, with: &[u8]) -> bool {
    // SAFETY: by the caller's promise a string; it is read up to its first difference, its NUL at the latest.
    with.iter().enumerate().all(|(n, byte)| unsafe { text.add(n).read() } == *byte)
}

/// The strings of a list that ends with a null pointer.
unsafe fn each(list: Strings) -> impl Iterator<Item = *const u8> {
    let mut at = list;
    core::iter::from_fn(move || {
        if at.is_null() {
            return None;
        }
        // SAFETY: not behind the null pointer yet.
        let entry = unsafe { at.read() };
        if entry.is_null() {
            at = null();
            return None;
        }
        // SAFETY: the list goes on after an entry.
        at = unsafe { at.add(1) };
        Some(entry)
    })
}

/// Whether a preload list names the library.
fn names(list: &[u8], library: &[u8]) -> bool {
    list.split(|b| *b == b':' || *b == b' ').any(|entry| entry == library)
}

/// What an environment has of what a program in the namespace needs.
#[derive(Default)]
struct Found {
    /// Entries.
    count: usize,
    /// Bit n: variable n of `env::ALL`.
    ours: usize,
    /// It names another namespace, or none.
    foreign: bool,
    /// LD_PRELOAD names the agent.
    preloaded: bool,
    /// Length of LD_PRELOAD.
    preload: usize,
}

impl Found {
    /// Looks through an environment.
    unsafe fn look(envp: Strings, library: &[u8]) -> Found {
        let mut found = Found::default();
        // SAFETY: by the caller's promise an environment.
        for entry in unsafe { each(envp) } {
            found.count += 1;
            // SAFETY: an entry is a string, so its first byte is there.
            if !matches!(unsafe { entry.read() }, b'R' | b'L') {
                continue;
            }
            // SAFETY: for the same reason as the block above.
            let begins = |with: &[u8]| unsafe { begins(entry, with) };
            if begins(PRELOAD) {
                // SAFETY: for the same reason as the block above.
                let text = unsafe { bytes(entry) };
                found.preloaded = text.strip_prefix(PRELOAD).is_some_and(|list| names(list, library));
                found.preload = text.len();
            } else if let Some(n) = env::ALL.iter().position(|v| begins(v.name())) {
                found.ours |= 1 << n;
                found.foreign |= begins(env::SOCKET.name()) && !env::SOCKET.whole().is_some_and(begins);
            }
        }
        found
    }

    /// Whether a program started with it runs in the namespace.
    fn is_whole(&self) -> bool {
        self.preloaded && self.missing().next().is_none()
    }

    /// Our variables that it lacks.
    fn missing(&self) -> impl Iterator<Item = &'static [u8]> {
        let lacks = env::ALL.iter().enumerate().filter(move |(n, _)| self.ours & (1 << n) == 0);
        lacks.filter_map(|(_, variable)| variable.whole())
    }
}

fn same(variable: &env::Variable, text: &[u8]) -> bool {
    variable.whole().is_some_and(|whole| whole.strip_suffix(b"\0") == Some(text))
}

/// What `repair` needs on the stack.
struct Job<'a> {
    envp: Strings,
    library: &'a [u8],
    found: Found,
    then: &'a mut dyn FnMut(Strings) -> isize,
}

/// Calls `then` with an environment that has ours in it.
///
/// # Safety
/// `envp` is null or an environment.
pub(crate) unsafe fn with_environment(envp: Strings, then: &mut dyn FnMut(Strings) -> isize) -> isize {
    let Some(library) = env::library() else { return then(envp) };
    // SAFETY: by the caller's promise an environment.
    let found = unsafe { Found::look(envp, library) };
    if found.foreign || found.is_whole() {
        return then(envp);
    }
    let room =
        (found.count + OURS + 1) * size_of::<*const u8>() + found.preload + PRELOAD.len() + library.len() + 2;
    let mut job = Job { envp, library, found, then };
    // SAFETY: the kernel's limit of an environment is a quarter of the stack's; pointers to it are less.
    unsafe { arch::with_stack(room, repair, (&raw mut job).cast()) }
}

unsafe extern "C" fn repair(job: *mut u8, memory: *mut u8) -> isize {
    // SAFETY: with_environment() passes its job, and memory for all that is written here.
    let job = unsafe { &mut *job.cast::<Job<'_>>() };
    let list = memory.cast::<*const u8>();
    let mut n = 0;
    let mut preload: &[u8] = &[];
    let put = |n: &mut usize, entry: *const u8| {
        // SAFETY: room for every entry, ours, and the null pointer.
        unsafe { list.add(*n).write(entry) };
        *n += 1;
    };
    // SAFETY: an environment (with_environment).
    for entry in unsafe { each(job.envp) } {
        // SAFETY: an entry is a string.
        let text = unsafe { bytes(entry) };
        match text.strip_prefix(PRELOAD) {
            Some(list) => preload = list,
            None => put(&mut n, entry),
        }
    }
    for whole in job.found.missing() {
        put(&mut n, whole.as_ptr());
    }
    let has = job.found.preloaded;
    let parts: [&[u8]; 4] = [
        PRELOAD,
        preload,
        if preload.is_empty() || has { &[] } else { b":" },
        if has { &[] } else { job.library },
    ];
    // SAFETY: behind the two pointers that are still to come: the variable made here, and the null pointer.
    let text = unsafe { list.add(n + 2) }.cast::<u8>();
    let mut at = text;
    for part in parts {
        // SAFETY: room for the old list, ours, and the NUL.
        unsafe {
            core::ptr::copy_nonoverlapping(part.as_ptr(), at, part.len());
            at = at.add(part.len());
        }
    }
    // SAFETY: for the same reason as the block above.
    unsafe {
        at.write(0);
        list.add(n).write(text);
        list.add(n + 1).write(null());
    }
    (job.then)(list.cast_const())
}

/// Puts our variables into the program's own environment, if they are not there: libc takes that one where it starts programs by itself.
pub(crate) fn repair_own() {
    let own = libc::environ();
    let keep = |envp: Strings| {
        // SAFETY: the environment that with_environment() made.
        for entry in unsafe { each(envp) } {
            // SAFETY: an entry is a string.
            let text = unsafe { bytes(entry) };
            if let Some(variable) = env::ALL.iter().find(|v| same(v, text)).and_then(|v| v.whole()) {
                next!(putenv(variable.as_ptr() => *const u8) -> i32);
            } else if let Some(list) = text.strip_prefix(PRELOAD) {
                next!(setenv(c"LD_PRELOAD".as_ptr().cast() => *const u8, list.as_ptr() => *const u8, 1 => i32) -> i32);
            }
        }
        0
    };
    let mut look = |envp: Strings| if core::ptr::eq(envp, own) { 0 } else { keep(envp) };
    if !own.is_null() && life::is_ours() {
        // SAFETY: the program's environment.
        unsafe { with_environment(own, &mut look) };
    } else if life::is_ours() {
        let empty: [*const u8; 1] = [null()];
        // SAFETY: an empty environment.
        unsafe { with_environment(empty.as_ptr(), &mut look) };
    }
}
