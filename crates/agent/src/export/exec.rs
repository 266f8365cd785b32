//! exec and posix_spawn: the new program gets its environment with ours in it, and the broker learns that this image ends.
//!
//! A vfork child comes through here on its parent's memory: so everything is made on the stack, and nothing of ours is changed.

use crate::libc::{self, answer};
use crate::next;
use ring3_abi::Errno;
use ring3_calls::preload::environment::{Program, Strings, with_environment};
use ring3_calls::syscall::exec;
use ring3_calls::syscall::life::executing;
use ring3_os::arch::{self, REGISTER_ARGUMENTS};
use ring3_os::user::{Careful, UserPtr};

/// execve(2).
pub extern "C" fn execve(path: *const u8, argv: Strings, envp: Strings) -> i32 {
    // SAFETY: the program's own arguments.
    answer(Errno::decode(unsafe { exec::execve(UserPtr::claim(path as usize), argv as usize, envp) })) as i32
}

/// execv(3).
pub extern "C" fn execv(path: *const u8, argv: Strings) -> i32 {
    execve(path, argv, libc::environ())
}

/// execvpe(3).
pub extern "C" fn execvpe(file: *const u8, argv: Strings, envp: Strings) -> i32 {
    let mut go = |envp: Strings| {
        executing(&mut || next!(execvpe(file => *const u8, argv => Strings, envp => Strings) -> i32) as isize)
    };
    // A name without a slash is looked for in PATH.
    let path = UserPtr::claim(file as usize);
    let program = has_slash(path).then_some(Program { path, stays: false });
    with_environment(program, envp, &mut go) as i32
}

/// Whether the string at the program's address has a slash. Not so if it cannot be read.
fn has_slash(path: UserPtr<u8>) -> bool {
    let mut careful = Careful::new();
    let bytes = (0..).map_while(|n| path.nth(n).and_then(|at| careful.read(at)).ok());
    bytes.take_while(|byte| *byte != 0).any(|byte| byte == b'/')
}

/// execvp(3).
pub extern "C" fn execvp(file: *const u8, argv: Strings) -> i32 {
    execvpe(file, argv, libc::environ())
}

/// fexecve(3).
pub extern "C" fn fexecve(fd: i32, argv: Strings, envp: Strings) -> i32 {
    let mut go = |envp: Strings| {
        executing(&mut || next!(fexecve(fd => i32, argv => Strings, envp => Strings) -> i32) as isize)
    };
    // glibc's refuses it by itself.
    if envp.is_null() && !libc::is_musl() {
        return go(envp) as i32;
    }
    with_environment(None, envp, &mut go) as i32
}

/// execveat(2).
pub extern "C" fn execveat(dir: i32, path: *const u8, argv: Strings, envp: Strings, flags: i32) -> i32 {
    let mut go = |envp: Strings| {
        executing(&mut || {
            next!(execveat(dir => i32, path => *const u8, argv => Strings, envp => Strings, flags => i32) -> i32)
                as isize
        })
    };
    with_environment(None, envp, &mut go) as i32
}

macro_rules! spawns {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        pub extern "C" fn $name(pid: usize, path: *const u8, actions: usize, attributes: usize, argv: Strings, envp: Strings) -> i32 {
            let mut go = |envp: Strings| {
                next!($name(pid => usize, path => *const u8, actions => usize, attributes => usize, argv => Strings, envp => Strings) -> i32) as isize
            };
            // Another path means another file once the child has changed its directory, or looked in PATH.
            let path = UserPtr::claim(path as usize);
            let program = (Careful::new().read(path) == Ok(b'/')).then_some(Program { path, stays: true });
            with_environment(program, envp, &mut go) as i32
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
ring3_os::argument_lists! {
    /// execl(3).
    execl => list_execl;
    /// execlp(3).
    execlp => list_execlp;
    /// execle(3).
    execle => list_execle;
}

/// Argument `n` of a variadic call.
unsafe fn argument(registers: Strings, stack: Strings, n: usize) -> *const u8 {
    // SAFETY: the program passed it: the list is read up to its null pointer (and execle's environment) only.
    unsafe {
        if n < REGISTER_ARGUMENTS {
            registers.add(n).read()
        } else {
            stack.add(n - REGISTER_ARGUMENTS).read()
        }
    }
}

struct List<'a> {
    registers: Strings,
    stack: Strings,
    count: usize,
    then: &'a mut dyn FnMut(Strings) -> isize,
}

unsafe fn with_list(
    registers: Strings,
    stack: Strings,
    count: usize,
    then: &mut dyn FnMut(Strings) -> isize,
) -> i32 {
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
        with_list(registers, stack, count(registers, stack), &mut |argv| {
            execve(path, argv, libc::environ()) as isize
        })
    }
}

unsafe extern "C" fn list_execlp(file: *const u8, registers: Strings, stack: Strings) -> i32 {
    // SAFETY: the thunk passes the caller's arguments.
    unsafe {
        with_list(registers, stack, count(registers, stack), &mut |argv| {
            execvpe(file, argv, libc::environ()) as isize
        })
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
