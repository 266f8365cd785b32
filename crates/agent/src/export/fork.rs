//! fork and the functions of libc's that fork. fork(2), forkpty(3), daemon(3).

use crate::libc::fail;
use crate::next;
use ring3_abi::Errno;
use ring3_calls::syscall::life;

/// fork(2).
pub extern "C" fn fork() -> i32 {
    life::forking(|| next!(fork() -> i32) as isize) as i32
}

/// fork(2), by another name of glibc's.
pub extern "C" fn __fork() -> i32 {
    fork()
}

/// fork(2) without handlers.
#[allow(non_snake_case, reason = "libc has it so")]
pub extern "C" fn _Fork() -> i32 {
    life::forking(|| next!(_Fork() -> i32) as isize) as i32
}

/// forkpty(3): libc forks in there.
pub extern "C" fn forkpty(master: usize, name: usize, terminal: usize, size: usize) -> i32 {
    life::forking(|| {
        next!(forkpty(master => usize, name => usize, terminal => usize, size => usize) -> i32) as isize
    }) as i32
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

/// Before vfork(2), by its door.
pub(crate) extern "C" fn before_vfork() {
    life::before_vfork();
}

/// After vfork(2), in the parent: the kernel's answer made libc's.
pub(crate) extern "C" fn after_vfork(raw: isize) -> i32 {
    life::after_vfork(raw);
    match Errno::decode(raw) {
        Ok(pid) => pid as i32,
        Err(errno) => fail(errno) as i32,
    }
}

/// clone(2). The last three arguments are there if the flags say so; a register or a word of stack more or less does not matter to a C caller.
pub extern "C" fn clone(
    function: usize,
    stack: usize,
    flags: i32,
    argument: usize,
    parent_tid: usize,
    tls: usize,
    child_tid: usize,
) -> i32 {
    let mut refused = true;
    let pid = life::cloning(flags as u32, function, argument, |function, argument| {
        refused = false;
        next!(clone(
            function => usize, stack => usize, flags => i32, argument => usize, parent_tid => usize, tls => usize, child_tid => usize
        ) -> i32) as isize
    });
    match Errno::decode(pid) {
        Err(errno) if refused => fail(errno) as i32,
        _ => pid as i32,
    }
}

/// clone(2), by another name of glibc's.
pub extern "C" fn __clone(
    function: usize,
    stack: usize,
    flags: i32,
    argument: usize,
    parent_tid: usize,
    tls: usize,
    child_tid: usize,
) -> i32 {
    clone(function, stack, flags, argument, parent_tid, tls, child_tid)
}

/// unshare(2).
pub extern "C" fn unshare(flags: i32) -> i32 {
    life::unsharing(flags as u32, || next!(unshare(flags => i32) -> i32) as isize) as i32
}
