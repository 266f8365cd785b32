//! From a system call's number to its function: the one table, for every front door that is entered by number.
//!
//! Doors that stand for a function of libc's call the same functions; they only put libc's own function in the place of the kernel's call
//! where libc does more than that (fork and its handlers, the wait functions, setuid in all threads).

use crate::preload::environment::Strings;
use crate::syscall::{
    credentials, descriptors, exec, files, filter, life, memory, msg, namespace, sem, shm, usage,
};
use crate::thread::signal;
use ring3_abi::Errno;
use ring3_os::arch::{nr, syscall};
use ring3_os::file::HERE;
use ring3_os::user::UserPtr;

/// A system call as it comes in registers of 64 bits, of which the kernel takes as many bits as the parameter has.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its number.
    pub number: usize,
    /// Its arguments.
    pub args: [usize; 6],
}

impl Call {
    /// An argument of 32 bits.
    fn int(&self, n: usize) -> i32 {
        self.word(n) as i32
    }

    /// An argument.
    fn word(&self, n: usize) -> usize {
        self.args.get(n).copied().unwrap_or(0)
    }

    /// An argument that is said to lead to a `T`.
    fn pointer<T>(&self, n: usize) -> UserPtr<T> {
        UserPtr::claim(self.word(n))
    }

    /// Makes the call with other arguments in the kernel.
    fn with(self, args: [usize; 6]) -> isize {
        Call { args, ..self }.kernel()
    }

    /// Makes the call in the kernel, by an instruction that is not among those of the agent's own calls: the program's filter decides.
    fn kernel(&self) -> isize {
        // SAFETY: the program asks for it, as it could by its own instruction.
        unsafe { syscall(self.number, self.args) }
    }
}

/// Does a system call; answers as the kernel would, a value or a negated error number. Calls that nobody serves here are the kernel's.
pub fn dispatch(call: Call) -> isize {
    let (int, word) = (|n| call.int(n), |n| call.word(n));
    match call.number {
        nr::MSGGET => raw(msg::msgget(int(0), int(1))),
        nr::MSGSND => raw(msg::msgsnd(int(0), call.pointer(1), word(2), int(3))),
        nr::MSGRCV => raw(msg::msgrcv(int(0), call.pointer(1), word(2), word(3) as i64, int(4))),
        nr::MSGCTL => raw(msg::msgctl(int(0), int(1), call.pointer(2))),
        nr::SEMGET => raw(sem::semget(int(0), int(1), int(2))),
        nr::SEMOP => raw(sem::semop(int(0), call.pointer(1), word(2))),
        nr::SEMTIMEDOP => raw(sem::semtimedop(int(0), call.pointer(1), word(2), call.pointer(3))),
        nr::SEMCTL => raw(sem::semctl(int(0), int(1), int(2), sem::Semun::of(word(3)))),
        nr::SHMGET => raw(shm::shmget(int(0), word(1), int(2))),
        nr::SHMAT => raw(shm::shmat(int(0), word(1), int(2))),
        nr::SHMDT => raw(shm::shmdt(word(0))),
        nr::SHMCTL => raw(shm::shmctl(int(0), int(1), call.pointer(2))),

        nr::MMAP => raw(memory::mmap(word(0), word(1), word(2), word(3), int(4), word(5) as u64)),
        nr::MUNMAP => raw(memory::munmap(word(0), word(1))),
        nr::MREMAP => raw(memory::mremap(word(0), word(1), word(2), word(3), word(4))),

        nr::REMAP_FILE_PAGES => raw(memory::remap_file_pages(word(0), word(1), word(2), word(3), word(4))),
        nr::MPROTECT => raw(usage::mprotect(word(0), word(1), word(2))),
        nr::PKEY_MPROTECT => raw(usage::pkey_mprotect(word(0), word(1), word(2), int(3))),
        nr::MADVISE => raw(usage::madvise(word(0), word(1), int(2))),
        nr::PROCESS_MADVISE => raw(usage::process_madvise(int(0), call.pointer(1), word(2), int(3), word(4))),
        nr::MLOCK => raw(usage::mlock(word(0), word(1))),
        nr::MLOCK2 => raw(usage::mlock2(word(0), word(1), int(2) as usize)),
        nr::MUNLOCK => raw(usage::munlock(word(0), word(1))),
        nr::MLOCKALL => raw(usage::mlockall(int(0) as usize)),
        nr::MUNLOCKALL => raw(usage::munlockall()),
        nr::MSEAL => raw(usage::mseal(word(0), word(1), word(2))),
        nr::MBIND => raw(usage::mbind(call.args)),

        nr::OPEN => opening(call, HERE, word(0), word(1)),
        nr::CREAT => opening(call, HERE, word(0), files::O_WRONLY as usize),
        nr::OPENAT => opening(call, int(0), word(1), word(2)),
        // Its third argument begins with the flags.
        nr::OPENAT2 => opening(call, int(0), word(1), call.pointer::<u64>(2).read().unwrap_or(0) as usize),
        nr::FSTAT => {
            let done = call.kernel();
            let file = if done == 0 { files::stands_for(int(0), call.pointer(1)) } else { None };
            file.map_or(done, |file| raw(files::describe(file, call.pointer(1))))
        }

        nr::RT_SIGACTION => raw(signal::rt_sigaction(int(0), call.pointer(1), call.pointer(2), word(3))),

        nr::CLOSE if descriptors::is_hidden(int(0)) => Errno::EBADF.encode(),
        nr::CLOSE_RANGE => {
            descriptors::close_range(int(0) as u32, int(1) as u32, int(2)).unwrap_or_else(|| call.kernel())
        }
        nr::DUP2 | nr::DUP3 => {
            descriptors::before_taking(int(1));
            call.kernel()
        }
        nr::CHROOT | nr::PIVOT_ROOT => {
            descriptors::before_leaving();
            call.kernel()
        }

        nr::SECCOMP | nr::PRCTL => filter::by_number(call.number, call.args, |args| call.with(args)),
        nr::FORK => life::forking(|| call.kernel()),
        nr::CLONE => life::cloning_here(word(0) as u32, || call.kernel()),
        // Its flags are the first word of its structure; where that cannot be read the kernel says so.
        nr::CLONE3 => life::cloning_here(call.pointer::<u64>(0).read().unwrap_or(0) as u32, || call.kernel()),
        nr::UNSHARE => life::unsharing(word(0) as u32, || call.kernel()),
        // SAFETY: execve's arguments.
        nr::EXECVE => unsafe { exec::execve(call.pointer(0), word(1), word(2) as Strings) },
        nr::WAIT4 => {
            let pid = call.kernel();
            life::reaped(pid as i32);
            pid
        }
        nr::WAITID => {
            let done = call.kernel();
            if done == 0 {
                life::reaped_somebody();
            }
            done
        }

        nr::SETUID
        | nr::SETGID
        | nr::SETREUID
        | nr::SETREGID
        | nr::SETRESUID
        | nr::SETRESGID
        | nr::SETGROUPS
        | nr::CAPSET => credentials::changing_own(|| call.kernel()),

        nr::SETNS => namespace::changing(|| call.kernel()),

        _ => call.kernel(),
    }
}

/// An open, and what follows from what it opened.
fn opening(call: Call, dir: i32, path: usize, flags: usize) -> isize {
    // SAFETY: the path that the kernel is given.
    unsafe { files::opened_by_number(call.kernel(), dir, path as *const u8, flags as i32) }
}

/// A result as the kernel gives it.
fn raw(result: Result<usize, Errno>) -> isize {
    result.map_or_else(Errno::encode, |value| value as isize)
}
