//! exec and posix_spawn: the new program gets its environment with ours in it, and the broker learns that this image ends.
//!
//! A vfork child comes through here on its parent's memory: so everything is made on the stack, and nothing of ours is changed.

use crate::libc::{self, answer};
use crate::next;
use core::ffi::CStr;
use core::ptr::null;
use ring3_abi::Errno;
use ring3_calls::{env, life};
use ring3_os::arch::{self, nr, syscall};

type Strings = *const *const u8;

const PRELOAD: &[u8] = b"LD_PRELOAD=";
/// Variables that may have to be added.
const OURS: usize = env::ALL.len() + 1;

unsafe fn bytes<'a>(text: *const u8) -> &'a [u8] {
    // SAFETY: by the caller's promise a string that lives long enough.
    unsafe { CStr::from_ptr(text.cast()) }.to_bytes()
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

/// Whether an environment has all that a program in the namespace needs.
unsafe fn is_whole(envp: Strings, library: &[u8]) -> bool {
    let wanted = env::ALL.iter().filter(|v| v.whole().is_some()).count() + 1;
    let mut found = 0;
    // SAFETY: by the caller's promise an environment.
    for entry in unsafe { each(envp) } {
        // SAFETY: an entry is a string.
        let text = unsafe { bytes(entry) };
        found += match text.strip_prefix(PRELOAD) {
            Some(list) => usize::from(names(list, library)),
            None => usize::from(text.first() == Some(&b'R') && env::ALL.iter().any(|v| same(v, text))),
        };
    }
    found >= wanted
}

fn same(variable: &env::Variable, text: &[u8]) -> bool {
    variable.whole().is_some_and(|whole| whole.strip_suffix(b"\0") == Some(text))
}

/// What `run` needs on the stack.
struct Job<'a> {
    envp: Strings,
    library: &'a [u8],
    then: &'a mut dyn FnMut(Strings) -> isize,
}

/// Calls `then` with an environment that has ours in it.
unsafe fn with_environment(envp: Strings, then: &mut dyn FnMut(Strings) -> isize) -> isize {
    let Some(library) = env::library() else { return then(envp) };
    // SAFETY: by the caller's promise an environment.
    if unsafe { is_whole(envp, library) } {
        return then(envp);
    }
    // SAFETY: as above.
    let (count, longest) = unsafe { each(envp) }.fold((0, 0), |(count, longest), entry| {
        // SAFETY: an entry is a string.
        let text = unsafe { bytes(entry) };
        (count + 1, if text.starts_with(PRELOAD) { text.len() } else { longest })
    });
    let room = (count + OURS + 1) * size_of::<*const u8>() + longest + PRELOAD.len() + library.len() + 2;
    let mut job = Job { envp, library, then };
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
            None if env::ALL.iter().any(|v| v.whole().is_some() && text.starts_with(v.name())) => {}
            None => put(&mut n, entry),
        }
    }
    for variable in env::ALL {
        if let Some(whole) = variable.whole() {
            put(&mut n, whole.as_ptr());
        }
    }
    let has = names(preload, job.library);
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
    // SAFETY: as above.
    unsafe {
        at.write(0);
        list.add(n).write(text);
        list.add(n + 1).write(null());
    }
    (job.then)(list.cast_const())
}

/// exec, announced and taken back if it fails.
fn replace(run: &mut dyn FnMut() -> isize) -> isize {
    let announced = life::before_exec();
    let raw = run();
    life::exec_failed(announced);
    raw
}

/// execve(2).
#[unsafe(no_mangle)]
pub extern "C" fn execve(path: *const u8, argv: Strings, envp: Strings) -> i32 {
    let mut go = |envp: Strings| {
        replace(&mut || {
            // SAFETY: the program's own arguments, and an environment.
            unsafe { syscall(nr::EXECVE, [path as usize, argv as usize, envp as usize, 0, 0, 0]) }
        })
    };
    // SAFETY: the program's environment.
    answer(Errno::decode(unsafe { with_environment(envp, &mut go) })) as i32
}

/// execv(3).
#[unsafe(no_mangle)]
pub extern "C" fn execv(path: *const u8, argv: Strings) -> i32 {
    execve(path, argv, libc::environ())
}

/// execvpe(3).
#[unsafe(no_mangle)]
pub extern "C" fn execvpe(file: *const u8, argv: Strings, envp: Strings) -> i32 {
    let mut go = |envp: Strings| {
        replace(&mut || {
            next!(execvpe(file => *const u8, argv => Strings, envp => Strings) -> i32) as isize
        })
    };
    // SAFETY: the program's environment.
    unsafe { with_environment(envp, &mut go) as i32 }
}

/// execvp(3).
#[unsafe(no_mangle)]
pub extern "C" fn execvp(file: *const u8, argv: Strings) -> i32 {
    execvpe(file, argv, libc::environ())
}

/// fexecve(3).
#[unsafe(no_mangle)]
pub extern "C" fn fexecve(fd: i32, argv: Strings, envp: Strings) -> i32 {
    let mut go = |envp: Strings| {
        replace(&mut || next!(fexecve(fd => i32, argv => Strings, envp => Strings) -> i32) as isize)
    };
    // SAFETY: the program's environment.
    unsafe { with_environment(envp, &mut go) as i32 }
}

/// execveat(2).
#[unsafe(no_mangle)]
pub extern "C" fn execveat(dir: i32, path: *const u8, argv: Strings, envp: Strings, flags: i32) -> i32 {
    let mut go = |envp: Strings| {
        replace(&mut || {
            next!(execveat(dir => i32, path => *const u8, argv => Strings, envp => Strings, flags => i32) -> i32) as isize
        })
    };
    // SAFETY: the program's environment.
    unsafe { with_environment(envp, &mut go) as i32 }
}

macro_rules! spawns {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[unsafe(no_mangle)]
        pub extern "C" fn $name(pid: usize, path: *const u8, actions: usize, attributes: usize, argv: Strings, envp: Strings) -> i32 {
            let mut go = |envp: Strings| {
                next!($name(pid => usize, path => *const u8, actions => usize, attributes => usize, argv => Strings, envp => Strings) -> i32) as isize
            };
            // SAFETY: the program's environment.
            unsafe { with_environment(envp, &mut go) as i32 }
        }
    )*};
}

spawns! {
    /// posix_spawn(3).
    posix_spawn
    /// posix_spawnp(3).
    posix_spawnp
}

// execl, execlp, execle take their arguments one by one: those in registers are put beside those on the stack, and the list is made of both.
macro_rules! lists {
    ($($(#[$doc:meta])* $name:ident => $target:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        /// As libc's: a path, strings, and a null pointer that ends them.
        #[cfg(target_arch = "x86_64")]
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name() -> i32 {
            core::arch::naked_asm!(
                "lea r10, [rsp + 8]",
                "sub rsp, 56",
                "mov [rsp], rsi",
                "mov [rsp + 8], rdx",
                "mov [rsp + 16], rcx",
                "mov [rsp + 24], r8",
                "mov [rsp + 32], r9",
                "mov rsi, rsp",
                "mov rdx, r10",
                "call {target}",
                "add rsp, 56",
                "ret",
                target = sym $target,
            )
        }
    )*};
}

lists! {
    /// execl(3).
    execl => list_execl;
    /// execlp(3).
    execlp => list_execlp;
    /// execle(3).
    execle => list_execle;
}

/// Arguments in registers, after the path.
const IN_REGISTERS: usize = 5;

/// Argument `n` of a variadic call.
unsafe fn argument(registers: Strings, stack: Strings, n: usize) -> *const u8 {
    // SAFETY: the program passed it: the list is read up to its null pointer (and execle's environment) only.
    unsafe { if n < IN_REGISTERS { registers.add(n).read() } else { stack.add(n - IN_REGISTERS).read() } }
}

struct List<'a> {
    registers: Strings,
    stack: Strings,
    count: usize,
    then: &'a mut dyn FnMut(Strings) -> isize,
}

unsafe fn with_list(registers: Strings, stack: Strings, count: usize, then: &mut dyn FnMut(Strings) -> isize) -> i32 {
    let mut list = List { registers, stack, count, then };
    let room = (count + 1) * size_of::<*const u8>();
    // SAFETY: as much again as the caller's own arguments take.
    unsafe { arch::with_stack(room, make_list, (&raw mut list).cast()) as i32 }
}

unsafe extern "C" fn make_list(list: *mut u8, memory: *mut u8) -> isize {
    // SAFETY: with_list() passes its list, and memory for count + 1 pointers.
    let list = unsafe { &mut *list.cast::<List<'_>>() };
    let argv = memory.cast::<*const u8>();
    for n in 0..=list.count {
        // SAFETY: as above; the last one is the null pointer.
        unsafe { argv.add(n).write(argument(list.registers, list.stack, n)) };
    }
    (list.then)(argv.cast_const())
}

unsafe fn count(registers: Strings, stack: Strings) -> usize {
    let mut n = 0;
    // SAFETY: the list ends with a null pointer.
    while !unsafe { argument(registers, stack, n) }.is_null() {
        n += 1;
    }
    n
}

unsafe extern "C" fn list_execl(path: *const u8, registers: Strings, stack: Strings) -> i32 {
    // SAFETY: the thunk passes the caller's arguments.
    unsafe {
        with_list(registers, stack, count(registers, stack), &mut |argv| execve(path, argv, libc::environ()) as isize)
    }
}

unsafe extern "C" fn list_execlp(file: *const u8, registers: Strings, stack: Strings) -> i32 {
    // SAFETY: the thunk passes the caller's arguments.
    unsafe {
        with_list(registers, stack, count(registers, stack), &mut |argv| execvpe(file, argv, libc::environ()) as isize)
    }
}

unsafe extern "C" fn list_execle(path: *const u8, registers: Strings, stack: Strings) -> i32 {
    // SAFETY: the thunk passes the caller's arguments; the environment stands behind the null pointer.
    unsafe {
        let n = count(registers, stack);
        let envp: Strings = argument(registers, stack, n + 1).cast();
        with_list(registers, stack, n, &mut |argv| execve(path, argv, envp) as isize)
    }
}
