//! fork, the wait functions, cancellation, and whatever changes who the process is.

use crate::environment;
use crate::libc::answer;
use crate::next;

use ring3_calls::process::credentials;
use ring3_calls::syscall::{life, memory};
use ring3_calls::thread::cancel;

/// fork(2).
pub extern "C" fn fork() -> i32 {
    let forking = life::before_fork();
    let pid = next!(fork() -> i32);
    forking.after(pid);
    pid
}

/// fork(2), by another name of glibc's.
pub extern "C" fn __fork() -> i32 {
    fork()
}

/// fork(2) without handlers.
#[allow(non_snake_case, reason = "libc has it so")]
pub extern "C" fn _Fork() -> i32 {
    let forking = life::before_fork();
    let pid = next!(_Fork() -> i32);
    forking.after(pid);
    pid
}

/// forkpty(3): libc forks in there.
pub extern "C" fn forkpty(master: usize, name: usize, terminal: usize, size: usize) -> i32 {
    let forking = life::before_fork();
    let pid = next!(forkpty(master => usize, name => usize, terminal => usize, size => usize) -> i32);
    forking.after(pid);
    pid
}

/// daemon(3): libc's own forks behind our back.
pub extern "C" fn daemon(stay: i32, keep: i32) -> i32 {
    match fork() {
        -1 => return -1,
        0 => {}
        // SAFETY: ends the process, as daemon does.
        _ => unsafe {
            ring3_os::arch::syscall(ring3_os::arch::nr::EXIT_GROUP, [0; 6]);
        },
    }
    if next!(setsid() -> i32) == -1 {
        return -1;
    }
    if stay == 0 {
        let _ = next!(chdir(c"/".as_ptr().cast() => *const u8) -> i32);
    }
    if keep == 0 {
        const O_RDWR: i32 = 2;
        let null = next!(open(c"/dev/null".as_ptr().cast() => *const u8, O_RDWR => i32, 0 => u32) -> i32);
        if null == -1 {
            return -1;
        }
        for fd in 0..3 {
            let _ = next!(dup2(null => i32, fd => i32) -> i32);
        }
        if null > 2 {
            let _ = next!(close(null => i32) -> i32);
        }
    }
    0
}

/// wait(2).
pub extern "C-unwind" fn wait(status: usize) -> i32 {
    let pid = next!(wait(status => usize) -> i32);
    life::reaped(pid);
    pid
}

/// wait(2).
pub extern "C-unwind" fn waitpid(which: i32, status: usize, options: i32) -> i32 {
    let pid = next!(waitpid(which => i32, status => usize, options => i32) -> i32);
    life::reaped(pid);
    pid
}

/// wait(2), by another name of glibc's.
pub extern "C-unwind" fn __wait(status: usize) -> i32 {
    wait(status)
}

/// waitpid(2), likewise.
pub extern "C-unwind" fn __waitpid(which: i32, status: usize, options: i32) -> i32 {
    waitpid(which, status, options)
}

/// wait3(2).
pub extern "C-unwind" fn wait3(status: usize, options: i32, usage: usize) -> i32 {
    let pid = next!(wait3(status => usize, options => i32, usage => usize) -> i32);
    life::reaped(pid);
    pid
}

/// wait4(2).
pub extern "C-unwind" fn wait4(which: i32, status: usize, options: i32, usage: usize) -> i32 {
    let pid = next!(wait4(which => i32, status => usize, options => i32, usage => usize) -> i32);
    life::reaped(pid);
    pid
}

/// Where a siginfo_t says whose change of state it tells.
const SI_PID: usize = 16;

/// waitid(2).
pub extern "C-unwind" fn waitid(kind: i32, id: u32, info: usize, options: i32) -> i32 {
    let done = next!(waitid(kind => i32, id => u32, info => usize, options => i32) -> i32);
    match (done, info) {
        (0, 0) => life::reaped_somebody(),
        (0, _) => life::reaped(ring3_os::user::read::<i32>(info + SI_PID).unwrap_or(0)),
        _ => {}
    }
    done
}

/// system(3): the shell's environment is the program's own.
pub extern "C-unwind" fn system(command: usize) -> i32 {
    environment::repair_own();
    let status = next!(system(command => usize) -> i32);
    life::reaped_somebody();
    status
}

/// popen(3): likewise.
pub extern "C" fn popen(command: usize, mode: usize) -> usize {
    environment::repair_own();
    next!(popen(command => usize, mode => usize) -> usize)
}

/// pclose(3).
pub extern "C-unwind" fn pclose(stream: usize) -> i32 {
    let status = next!(pclose(stream => usize) -> i32);
    life::reaped_somebody();
    status
}

/// pthread_cancel(3): wakes the calls that sleep here.
pub extern "C" fn pthread_cancel(thread: usize) -> i32 {
    let result = next!(pthread_cancel(thread => usize) -> i32);
    cancel::cancelled();
    result
}

/// munmap(2): a program may unmap what it attached.
pub extern "C" fn munmap(addr: usize, len: usize) -> i32 {
    answer(memory::munmap(addr, len)) as i32
}

/// mmap(2): a program may map over what it attached.
pub extern "C" fn mmap(addr: usize, len: usize, prot: i32, flags: i32, fd: i32, offset: i64) -> isize {
    answer(memory::mmap(addr, len, prot as usize, flags as usize, fd, offset as u64))
}

/// mmap(2) under its other name.
pub extern "C" fn mmap64(addr: usize, len: usize, prot: i32, flags: i32, fd: i32, offset: i64) -> isize {
    mmap(addr, len, prot, flags, fd, offset)
}

/// mremap(2). The fifth argument is there if the flags say so; a register more or less does not matter to a C caller.
pub extern "C" fn mremap(old: usize, old_len: usize, new_len: usize, flags: i32, to: usize) -> isize {
    answer(memory::mremap(old, old_len, new_len, flags as usize, to))
}

macro_rules! changers {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),*);)*) => {$(
        $(#[$doc])*
        pub extern "C" fn $name($($arg: $ty),*) -> i32 {
            let result = next!($name($($arg => $ty),*) -> i32);
            credentials::changed();
            result
        }
    )*};
}

changers! {
    /// setuid(2).
    fn setuid(uid: u32);
    /// setgid(2).
    fn setgid(gid: u32);
    /// seteuid(2).
    fn seteuid(uid: u32);
    /// setegid(2).
    fn setegid(gid: u32);
    /// setreuid(2).
    fn setreuid(real: u32, effective: u32);
    /// setregid(2).
    fn setregid(real: u32, effective: u32);
    /// setresuid(2).
    fn setresuid(real: u32, effective: u32, saved: u32);
    /// setresgid(2).
    fn setresgid(real: u32, effective: u32, saved: u32);
    /// setgroups(2).
    fn setgroups(count: usize, list: usize);
    /// initgroups(3).
    fn initgroups(user: usize, group: u32);
    /// setfsuid(2).
    fn setfsuid(uid: u32);
    /// setfsgid(2).
    fn setfsgid(gid: u32);
    /// capset(2).
    fn capset(header: usize, data: usize);
}
