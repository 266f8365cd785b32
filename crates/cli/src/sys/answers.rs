//! What the kernel and the processor can do, found out by asking.

use super::check;
use std::io;
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};

/// Whether the kernel would take this seccomp action in a filter. seccomp(2), SECCOMP_GET_ACTION_AVAIL.
pub(crate) fn seccomp_has(action: u32) -> io::Result<()> {
    const GET_ACTION_AVAIL: libc::c_ulong = 2;
    // SAFETY: the kernel reads one u32 at the given address.
    check(unsafe { libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0, &raw const action) })
}

/// Whether the kernel and its policy let this process trace a child of its own: it is seized and let go. ptrace(2).
pub(crate) fn ptrace_child(pid: i32) -> io::Result<()> {
    // SAFETY: SEIZE and DETACH take no addresses; the process is the caller's child and stays unharmed.
    unsafe {
        check(libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0))?;
        check(libc::ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0))?;
        check(libc::waitpid(pid, null_mut(), libc::__WALL).into())?;
        check(libc::ptrace(libc::PTRACE_DETACH, pid, 0, 0))
    }
}

/// Whether a futex call gets through to the kernel: a wait for a value that is not there must say EAGAIN. futex(2).
pub(crate) fn futex_answers() -> io::Result<()> {
    let word = 1_u32;
    // SAFETY: the word lives through the call, which cannot sleep: its value differs from the expected one.
    let answer =
        unsafe { libc::syscall(libc::SYS_futex, &raw const word, libc::FUTEX_WAIT, 0, null::<u8>()) };
    match check(answer) {
        Err(why) if why.raw_os_error() == Some(libc::EAGAIN) => Ok(()),
        other => other,
    }
}

/// Whether the kernel has System V IPC and lets this process ask: a queue that cannot exist is looked up. msgget(2).
pub(crate) fn kernel_sysv() -> io::Result<()> {
    let mut limits = MaybeUninit::<[u8; 256]>::zeroed();
    // SAFETY: IPC_INFO writes a msginfo (32 bytes) into a buffer of 256.
    check(unsafe { libc::syscall(libc::SYS_msgctl, 0, libc::IPC_INFO, limits.as_mut_ptr()) })
}

/// Whether the kernel advertises the fsgsbase instructions to user space (AT_HWCAP2, bit 1 on x86-64).
#[cfg(target_arch = "x86_64")]
pub(crate) fn fsgsbase() -> bool {
    // SAFETY: getauxval has no memory arguments.
    unsafe { libc::getauxval(libc::AT_HWCAP2) & 2 != 0 }
}

/// Whether the processor has rdpid (CPUID leaf 7, ecx bit 22).
#[cfg(target_arch = "x86_64")]
pub(crate) fn rdpid() -> bool {
    std::arch::x86_64::__cpuid_count(7, 0).ecx & (1 << 22) != 0
}
