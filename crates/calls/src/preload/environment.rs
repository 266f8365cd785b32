//! The environment that a new program gets: the caller's, with ours in it.
//!
//! Only what is missing is put back. An environment that names another namespace's socket, or an empty one, is left as it is: that is
//! how `ring3 run` inside `ring3 run`, and programs that shall run without an agent, are started.
//!
//! A program that cannot reach a door gets no agent (`mod.rs`), unless somebody could lead it to one or wants to see; nor does one of 32
//! bits. Then its environment is left without the agent in LD_PRELOAD.
//!
//! A vfork child comes through here on its parent's memory: so everything is made on the stack, and nothing of ours is changed.

use crate::preload::{self, Agent};
use crate::process::environment;
use core::ffi::CStr;
use core::ptr::null;
use ring3_os::{arch, program};

/// A list of strings that ends with a null pointer: arguments, an environment.
pub type Strings = *const *const u8;

/// The dynamic linker's list of libraries to load first.
pub const PRELOAD: &[u8] = b"LD_PRELOAD=";
/// Variables that bring code into a program which its file does not name. LD_LIBRARY_PATH at most leads to another libc of the same name.
const GUESTS: [&[u8]; 2] = [b"LD_AUDIT=", b"GCONV_PATH="];
/// Variables that may have to be added.
const OURS: usize = environment::ALL.len() + 1;

/// The bytes of a string.
///
/// # Safety
/// `text` is a string that lives long enough.
pub unsafe fn bytes<'a>(text: *const u8) -> &'a [u8] {
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
///
/// # Safety
/// `list` is null or such a list.
pub unsafe fn each(list: Strings) -> impl Iterator<Item = *const u8> {
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
    /// Bit n: variable n of `environment::ALL`.
    ours: usize,
    /// It names another namespace, or none.
    foreign: bool,
    /// LD_PRELOAD names the agent.
    preloaded: bool,
    /// It brings other code into the program, or asks for a trace.
    guests: bool,
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
            if !matches!(unsafe { entry.read() }, b'R' | b'L' | b'G') {
                continue;
            }
            // SAFETY: for the same reason as the block above.
            let begins = |with: &[u8]| unsafe { begins(entry, with) };
            if begins(PRELOAD) {
                // SAFETY: for the same reason as the block above.
                let text = unsafe { bytes(entry) };
                let list = text.get(PRELOAD.len()..).unwrap_or_default();
                found.preloaded = names(list, library);
                found.guests |= list != library;
                found.preload = found.preload.max(text.len());
            } else if GUESTS.into_iter().any(begins) {
                found.guests = true;
            } else if let Some(n) = environment::ALL.iter().position(|v| begins(v.name())) {
                found.ours |= 1 << n;
                found.foreign |=
                    begins(environment::SOCKET.name()) && !environment::SOCKET.whole().is_some_and(begins);
                found.guests |= begins(environment::LOG.name());
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
        let lacks = environment::ALL.iter().enumerate().filter(move |(n, _)| self.ours & (1 << n) == 0);
        lacks.filter_map(|(_, variable)| variable.whole())
    }
}

/// Whether an entry of an environment is this variable with the value that we keep.
pub fn same(variable: &environment::Variable, text: &[u8]) -> bool {
    variable.whole().is_some_and(|whole| whole.strip_suffix(b"\0") == Some(text))
}

/// A program that is to be started.
#[derive(Clone, Copy)]
pub struct Program {
    /// The caller's pointer to its path.
    pub path: usize,
    /// Whether the caller's image stays: not so if it becomes the program (exec).
    pub stays: bool,
}

/// What the functions below need on the stack.
struct Job<'a> {
    program: Option<Program>,
    envp: Strings,
    library: &'a [u8],
    found: Found,
    then: &'a mut dyn FnMut(Strings) -> isize,
}

/// Calls `then` with the environment that a program gets: the caller's with ours in it, or without the agent if the program, where it is
/// known, cannot reach it.
///
/// # Safety
/// `envp` is null or an environment.
pub unsafe fn with_environment(
    program: Option<Program>,
    envp: Strings,
    then: &mut dyn FnMut(Strings) -> isize,
) -> isize {
    let Some(library) = environment::library() else { return then(envp) };
    // SAFETY: by the caller's promise an environment.
    let found = unsafe { Found::look(envp, library) };
    if found.foreign {
        return then(envp);
    }
    let mut job = Job { program, envp, library, found, then };
    // SAFETY: on the stack, for as long as it takes.
    unsafe { job.run() }
}

impl Job<'_> {
    unsafe fn run(&mut self) -> isize {
        let pointers = (self.found.count + OURS + 1) * size_of::<*const u8>();
        let strings = self.found.preload + PRELOAD.len() + self.library.len() + 2;
        let job = (&raw mut *self).cast();
        // SAFETY: a buffer; then lists of pointers. The kernel's limit of an environment is a quarter of the stack's, and they are less.
        unsafe {
            if self.goes_without(job) {
                arch::with_stack(pointers + strings, leave_out, job)
            } else if self.found.is_whole() {
                (self.then)(self.envp)
            } else {
                arch::with_stack(pointers + strings, repair, job)
            }
        }
    }

    /// Whether the program, where it is known, is started without the agent.
    unsafe fn goes_without(&self, job: *mut u8) -> bool {
        let Some(program) = self.program else { return false };
        // SAFETY: a buffer for the function, and the job that it takes.
        let look = || unsafe { arch::with_stack(program::ROOM, file_needs, job) } as usize;
        match preload::needs(program.path, program.stays, || Agent::from_number(look())) {
            Agent::Needed => false,
            Agent::Omissible => !self.found.guests,
            Agent::Impossible => true,
        }
    }
}

unsafe extern "C" fn file_needs(job: *mut u8, memory: *mut u8) -> isize {
    // SAFETY: run() passes its job, and memory of this length, which is filled before it is read.
    let (job, room) = unsafe {
        memory.write_bytes(0, program::ROOM);
        (&*job.cast::<Job<'_>>(), core::slice::from_raw_parts_mut(memory, program::ROOM))
    };
    let needs = job.program.map_or(Agent::Needed, |program| preload::file_needs(program.path, room));
    needs.number() as isize
}

/// The environment without the agent. Our other variables stay: the namespace's programs are known by them.
unsafe extern "C" fn leave_out(job: *mut u8, memory: *mut u8) -> isize {
    // SAFETY: run() passes its job, and memory for a pointer to each entry, the null pointer, and another LD_PRELOAD.
    let job = unsafe { &mut *job.cast::<Job<'_>>() };
    let list = memory.cast::<*const u8>();
    let mut n = 0;
    // SAFETY: behind the pointers: as many as there are, and the null pointer.
    let text = unsafe { list.add(job.found.count + 1) }.cast::<u8>();
    // SAFETY: an environment (with_environment).
    for entry in unsafe { each(job.envp) } {
        // SAFETY: its entries are strings; there is room for the longest LD_PRELOAD.
        let kept = unsafe {
            match begins(entry, PRELOAD) {
                true => without(bytes(entry), job.library, text),
                false => Some(entry),
            }
        };
        if let Some(entry) = kept {
            // SAFETY: at most as many as there are.
            unsafe { list.add(n).write(entry) };
            n += 1;
        }
    }
    // SAFETY: behind them.
    unsafe { list.add(n).write(null()) };
    (job.then)(list.cast_const())
}

/// Writes an LD_PRELOAD that has the other entries alone; none if there is no other.
unsafe fn without(preload: &[u8], library: &[u8], text: *mut u8) -> Option<*const u8> {
    let mut at = text;
    let mut put = |part: &[u8]| {
        // SAFETY: by the caller's promise there is room for as much as the old one, and a NUL.
        unsafe {
            core::ptr::copy_nonoverlapping(part.as_ptr(), at, part.len());
            at = at.add(part.len());
        }
    };
    let others = preload.get(PRELOAD.len()..)?.split(|b| *b == b':' || *b == b' ');
    let mut between: &[u8] = PRELOAD;
    for other in others.filter(|entry| !entry.is_empty() && *entry != library) {
        put(between);
        put(other);
        between = b":";
    }
    put(b"\0");
    (between != PRELOAD).then_some(text.cast_const())
}

unsafe extern "C" fn repair(job: *mut u8, memory: *mut u8) -> isize {
    // SAFETY: run() passes its job, and memory for all that is written here.
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
