//! The environment that a new program gets: the caller's, with ours in it.
//!
//! Only what is missing is put back. An environment that names another namespace's socket, or an empty one, is left as it is: that is
//! how `ring3 run` inside `ring3 run`, and programs that shall run without an agent, are started.
//!
//! A program that cannot reach a door gets no agent (`mod.rs`), unless somebody could lead it to one or wants to see; nor does one of 32
//! bits. Then its environment is left without the agent in LD_PRELOAD.
//!
//! The caller's environment may lead nowhere, or change while it is read. So it is read by checked copies ([`Careful`]), a second reading
//! never takes more than the first has made room for, and what cannot be read goes to the kernel as it is, which says what it thinks of it.
//!
//! A vfork child comes through here on its parent's memory: so everything is made on the stack, and nothing of ours is changed.

use crate::preload::entries::{Entries, Preload, begins, separates};
pub use crate::preload::entries::{PRELOAD, Strings};
use crate::preload::{self, Agent};
use crate::process::environment;
use core::ffi::CStr;
use core::ptr::null;
use ring3_abi::Errno;
use ring3_os::user::{Careful, UserPtr};
use ring3_os::{arch, process, program};

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
    /// Looks through an environment. # Errors: `EFAULT`; `E2BIG` for what the kernel would not take either.
    fn look(envp: Strings, library: &[u8]) -> Result<Found, Errno> {
        let (mut found, mut entries, mut careful) = (Found::default(), Entries::of(envp), Careful::new());
        while let Some(entry) = entries.next()? {
            found.count += 1;
            if found.count > MOST_AT_ONCE && found.count * size_of::<usize>() > most_pointers() {
                return Err(Errno::E2BIG);
            }
            if matches!(careful.read(entry)?, b'R' | b'L' | b'G') {
                found.note(&mut careful, entry, library)?;
            }
        }
        Ok(found)
    }

    /// Notes what an entry says that may be of interest here.
    fn note(&mut self, careful: &mut Careful, entry: UserPtr<u8>, library: &[u8]) -> Result<(), Errno> {
        let mut begins = |with: &[u8]| begins(careful, entry, with);
        if begins(PRELOAD)? {
            let preload = Preload::read(careful, entry, library)?;
            self.preloaded = preload.named;
            self.guests |= !preload.is_only(library);
            self.preload = self.preload.max(preload.len);
            return Ok(());
        }
        for guest in GUESTS {
            self.guests |= begins(guest)?;
        }
        for (n, variable) in environment::ALL.iter().enumerate() {
            if begins(variable.name())? {
                self.ours |= 1 << n;
            }
        }
        if begins(environment::SOCKET.name())? {
            self.foreign |= match environment::SOCKET.whole() {
                Some(whole) => !begins(whole)?,
                None => true,
            };
        }
        self.guests |= begins(environment::LOG.name())?;
        Ok(())
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

/// How many entries an environment may have in any case.
const MOST_AT_ONCE: usize = 4096;

/// The most bytes that the pointers to arguments and environment may take. kernel: bprm_stack_limits().
fn most_pointers() -> usize {
    const ARG_MAX: usize = 128 << 10;
    const MOST: usize = 6 << 20;
    (process::stack_limit() / 4).clamp(ARG_MAX, MOST)
}

/// Whether an entry of an environment is this variable with the value that we keep.
pub fn same(variable: &environment::Variable, text: &[u8]) -> bool {
    variable.whole().is_some_and(|whole| whole.strip_suffix(b"\0") == Some(text))
}

/// A program that is to be started.
#[derive(Clone, Copy)]
pub struct Program {
    /// Its path, as the caller says.
    pub path: UserPtr<u8>,
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
/// known, cannot reach it. What the kernel would not take, because it cannot be read or is too large, is left as it is.
pub fn with_environment(
    program: Option<Program>,
    envp: Strings,
    then: &mut dyn FnMut(Strings) -> isize,
) -> isize {
    let Some(library) = environment::library() else { return then(envp) };
    let Ok(found) = Found::look(envp, library) else { return then(envp) };
    if found.foreign {
        return then(envp);
    }
    let mut job = Job { program, envp, library, found, then };
    // SAFETY: on the stack, for as long as it takes.
    unsafe { job.run() }
}

impl Job<'_> {
    unsafe fn run(&mut self) -> isize {
        let room = self.pointers() * size_of::<*const u8>() + self.strings();
        let job = (&raw mut *self).cast();
        // SAFETY: a buffer; then lists of pointers. The kernel's limit of an environment is a quarter of the stack's, and they are less.
        unsafe {
            if self.goes_without(job) {
                arch::with_stack(room, leave_out, job)
            } else if self.found.is_whole() {
                (self.then)(self.envp)
            } else {
                arch::with_stack(room, repair, job)
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

/// A list of pointers that is being made, and the room behind it for one string.
struct Making<'a> {
    /// The pointers: room for as many as the environment had, ours, and the null pointer.
    list: &'a mut [usize],
    len: usize,
    text: &'a mut [u8],
}

impl<'a> Making<'a> {
    /// # Safety
    /// `memory` is as long as run() says for this job, and nobody else's.
    unsafe fn begin(job: &Job<'_>, memory: *mut u8) -> Making<'a> {
        let (pointers, strings) = (job.pointers(), job.strings());
        let behind = pointers * size_of::<usize>();
        // SAFETY: by the caller's promise; it is filled before it is read.
        unsafe {
            memory.write_bytes(0, behind + strings);
            let list = core::slice::from_raw_parts_mut(memory.cast(), pointers);
            let text = core::slice::from_raw_parts_mut(memory.add(behind), strings);
            Making { list, len: 0, text }
        }
    }

    /// Adds an entry. What does not fit came while the environment was read, and is not in what was there at the beginning.
    fn put(&mut self, entry: usize) {
        // The last place is the null pointer's.
        if self.len + 1 < self.list.len()
            && let Some(place) = self.list.get_mut(self.len)
        {
            *place = entry;
            self.len += 1;
        }
    }

    /// The list.
    fn done(&self) -> Strings {
        self.list.as_ptr().cast()
    }
}

/// Writes bytes one behind the other, as far as there is room for them and a NUL.
struct Text<'a> {
    into: &'a mut [u8],
    len: usize,
}

impl Text<'_> {
    fn put(&mut self, part: &[u8]) {
        for byte in part {
            if self.len + 1 < self.into.len()
                && let Some(place) = self.into.get_mut(self.len)
            {
                *place = *byte;
                self.len += 1;
            }
        }
    }

    /// Adds the string at the caller's address from its `skip`th byte on, at most `most` bytes of it.
    fn copy(&mut self, from: UserPtr<u8>, skip: usize, most: usize) -> Result<(), Errno> {
        let mut careful = Careful::new();
        for n in skip..skip.max(most) {
            match careful.read(from.nth(n)?)? {
                0 => break,
                byte => self.put(&[byte]),
            }
        }
        Ok(())
    }
}

/// The environment without the agent. Our other variables stay: the namespace's programs are known by them.
unsafe extern "C" fn leave_out(job: *mut u8, memory: *mut u8) -> isize {
    // SAFETY: run() passes its job, and memory for it.
    let (job, mut making) = unsafe {
        let job = &mut *job.cast::<Job<'_>>();
        let making = Making::begin(job, memory);
        (job, making)
    };
    let done = job.list_without(&mut making);
    (job.then)(if done.is_ok() { making.done() } else { job.envp })
}

/// The environment with what is missing.
unsafe extern "C" fn repair(job: *mut u8, memory: *mut u8) -> isize {
    // SAFETY: run() passes its job, and memory for it.
    let (job, mut making) = unsafe {
        let job = &mut *job.cast::<Job<'_>>();
        let making = Making::begin(job, memory);
        (job, making)
    };
    let done = job.list_repaired(&mut making);
    (job.then)(if done.is_ok() { making.done() } else { job.envp })
}

impl Job<'_> {
    /// How many pointers a list may need, the null pointer included.
    fn pointers(&self) -> usize {
        self.found.count + OURS + 1
    }

    /// How long another LD_PRELOAD may be, with its NUL.
    fn strings(&self) -> usize {
        self.found.preload + PRELOAD.len() + self.library.len() + 2
    }

    /// Lists the entries; an LD_PRELOAD has the other libraries alone, and is left out if there is none.
    fn list_without(&self, making: &mut Making<'_>) -> Result<(), Errno> {
        let (mut entries, mut careful) = (Entries::of(self.envp), Careful::new());
        while let Some(entry) = entries.next()? {
            if !begins(&mut careful, entry, PRELOAD)? {
                making.put(entry.addr());
                continue;
            }
            let mut text = Text { into: &mut *making.text, len: 0 };
            text.copy(entry, 0, self.found.preload)?;
            let len = text.len;
            let kept = making.text.get_mut(..len).map_or(0, |text| keep_others(text, self.library));
            making.text.iter_mut().skip(kept).for_each(|byte| *byte = 0);
            if kept != 0 {
                making.put(making.text.as_ptr() as usize);
            }
        }
        Ok(())
    }

    /// Lists the entries, our variables that are missing, and an LD_PRELOAD that names the agent.
    fn list_repaired(&self, making: &mut Making<'_>) -> Result<(), Errno> {
        let (mut entries, mut careful) = (Entries::of(self.envp), Careful::new());
        let mut preload = None;
        while let Some(entry) = entries.next()? {
            match begins(&mut careful, entry, PRELOAD)? {
                true => preload = Some(entry),
                false => making.put(entry.addr()),
            }
        }
        for whole in self.found.missing() {
            making.put(whole.as_ptr() as usize);
        }
        let mut text = Text { into: &mut *making.text, len: 0 };
        text.put(PRELOAD);
        if let Some(preload) = preload {
            text.copy(preload, PRELOAD.len(), self.found.preload)?;
        }
        if !self.found.preloaded {
            text.put(if text.len == PRELOAD.len() { &[] } else { b":" });
            text.put(self.library);
        }
        making.put(making.text.as_ptr() as usize);
        Ok(())
    }
}

/// Takes the library out of an LD_PRELOAD, in place. Answers the new length; 0 if it names nothing else.
fn keep_others(text: &mut [u8], library: &[u8]) -> usize {
    let (mut at, mut len) = (PRELOAD.len(), PRELOAD.len());
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let entry = rest.iter().position(|byte| separates(*byte)).unwrap_or(rest.len());
        if entry != 0 && rest.get(..entry) != Some(library) {
            if len != PRELOAD.len() {
                text.get_mut(len).into_iter().for_each(|place| *place = b':');
                len += 1;
            }
            // An entry moves towards the beginning, or stays.
            text.copy_within(at..at + entry, len);
            len += entry;
        }
        at += entry + 1;
    }
    if len == PRELOAD.len() { 0 } else { len }
}
