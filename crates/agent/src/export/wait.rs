//! The wait functions, and those of libc's that wait inside. wait(2), system(3), popen(3).
//!
//! They are cancellation points: libc unwinds through them, so no closure stands between them and libc's function.

use crate::environment;
use crate::next;
use ring3_calls::syscall::life;
use ring3_os::user::UserPtr;

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
        (0, _) => life::reaped(UserPtr::<u8>::claim(info).field(SI_PID).and_then(UserPtr::read).unwrap_or(0)),
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
