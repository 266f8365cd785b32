//! execve by its number. execve(2).

use crate::preload::environment::{Program, Strings, with_environment};
use crate::syscall::life::executing;
use ring3_os::arch::{nr, syscall};
use ring3_os::user::UserPtr;

/// execve with the kernel's answer.
///
/// # Safety
/// `envp` is null or an environment; the rest goes to the kernel as it is.
pub unsafe fn execve(path: UserPtr<u8>, argv: usize, envp: Strings) -> isize {
    let mut go = |envp: Strings| {
        executing(&mut || {
            // SAFETY: the program's own arguments, and an environment.
            unsafe { syscall(nr::EXECVE, [path.addr(), argv, envp as usize, 0, 0, 0]) }
        })
    };
    with_environment(Some(Program { path, stays: false }), envp, &mut go)
}
