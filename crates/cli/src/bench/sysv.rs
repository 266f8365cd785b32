//! libc's System V functions and what else a scene needs of it, with Rust types around them.
//!
//! One of two places with unsafe code here (the other is `sys/`). The functions are libc's own symbols, so that
//! under ring3 the agent answers them. Objects are removed when they are dropped, in whichever process that is:
//! a child leaves by [`fork`]'s `_exit`, which drops nothing.

#![allow(unsafe_code)]

use super::measure::Work;
use std::ffi::c_int;
use std::io;
use std::mem::zeroed;
use std::ptr::{null, null_mut};
use std::sync::atomic::AtomicU64;

/// One operation of semop.
pub(crate) type Sop = libc::sembuf;

/// Makes an operation.
pub(crate) const fn sop(semaphore: u16, add: i16, flags: c_int) -> Sop {
    Sop { sem_num: semaphore, sem_op: add, sem_flg: flags as i16 }
}

fn done(what: &str, answer: c_int) -> Work<c_int> {
    if answer < 0 { Err(wrong(what)) } else { Ok(answer) }
}

fn wrong(what: &str) -> String {
    format!("{what}: {}", crate::fault::plain(&io::Error::last_os_error()))
}

/// A semaphore set of its own.
pub(crate) struct Set(c_int);

impl Set {
    /// Makes a private set of `count` semaphores.
    pub(crate) fn new(count: c_int) -> Work<Set> {
        // SAFETY: no memory arguments.
        done("semget", unsafe { libc::semget(libc::IPC_PRIVATE, count, 0o600) }).map(Set)
    }

    /// Makes a set with a key.
    pub(crate) fn with_key(key: i32) -> Work<Set> {
        // SAFETY: no memory arguments.
        done("semget", unsafe { libc::semget(key, 1, libc::IPC_CREAT | 0o600) }).map(Set)
    }

    /// Looks an existing key up.
    pub(crate) fn look_up(key: i32) -> Work<()> {
        // SAFETY: no memory arguments.
        done("semget", unsafe { libc::semget(key, 1, 0) }).map(drop)
    }

    /// semop.
    #[inline]
    pub(crate) fn op(&self, sops: &mut [Sop]) -> Work<()> {
        // SAFETY: the operations are a live slice of that length.
        done("semop", unsafe { libc::semop(self.0, sops.as_mut_ptr(), sops.len()) }).map(drop)
    }

    /// SETVAL.
    pub(crate) fn set(&self, semaphore: c_int, value: c_int) -> Work<()> {
        // SAFETY: SETVAL takes an int.
        done("semctl SETVAL", unsafe { libc::semctl(self.0, semaphore, libc::SETVAL, value) }).map(drop)
    }

    /// GETVAL.
    pub(crate) fn get(&self) -> Work<c_int> {
        // SAFETY: GETVAL takes nothing more.
        done("semctl GETVAL", unsafe { libc::semctl(self.0, 0, libc::GETVAL) })
    }

    /// IPC_STAT.
    pub(crate) fn stat(&self) -> Work<()> {
        // SAFETY: zeroes are a valid semid_ds, and it is writable.
        let answer = unsafe {
            let mut state: libc::semid_ds = zeroed();
            libc::semctl(self.0, 0, libc::IPC_STAT, &raw mut state)
        };
        done("semctl IPC_STAT", answer).map(drop)
    }

    /// Removes it now; whoever sleeps on it wakes with EIDRM.
    pub(crate) fn remove(&self) {
        // SAFETY: IPC_RMID takes nothing more.
        unsafe {
            libc::semctl(self.0, 0, libc::IPC_RMID);
        }
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A message: type and text, as msgsnd wants it.
#[repr(C)]
pub(crate) struct Message<const N: usize> {
    /// Its type.
    pub(crate) mtype: libc::c_long,
    /// Its text.
    pub(crate) text: [u8; N],
}

/// A queue of its own.
pub(crate) struct Queue(c_int);

impl Queue {
    /// Makes a private queue.
    pub(crate) fn new() -> Work<Queue> {
        // SAFETY: no memory arguments.
        done("msgget", unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) }).map(Queue)
    }

    /// msgsnd.
    #[inline]
    pub(crate) fn send<const N: usize>(&self, message: &Message<N>) -> Work<()> {
        // SAFETY: the message is a long followed by N bytes.
        done("msgsnd", unsafe { libc::msgsnd(self.0, (&raw const *message).cast(), N, 0) }).map(drop)
    }

    /// msgrcv of type `wanted`.
    #[inline]
    pub(crate) fn receive<const N: usize>(&self, message: &mut Message<N>, wanted: libc::c_long) -> Work<()> {
        // SAFETY: the message has room for a long and N bytes.
        let len = unsafe { libc::msgrcv(self.0, (&raw mut *message).cast(), N, wanted, 0) };
        if len < 0 { Err(wrong("msgrcv")) } else { Ok(()) }
    }

    /// IPC_STAT.
    pub(crate) fn stat(&self) -> Work<()> {
        // SAFETY: zeroes are a valid msqid_ds, and it is writable.
        let answer = unsafe {
            let mut state: libc::msqid_ds = zeroed();
            libc::msgctl(self.0, libc::IPC_STAT, &mut state)
        };
        done("msgctl IPC_STAT", answer).map(drop)
    }

    /// Removes it now; whoever sleeps on it wakes with EIDRM.
    pub(crate) fn remove(&self) {
        // SAFETY: IPC_RMID uses no buffer.
        unsafe {
            libc::msgctl(self.0, libc::IPC_RMID, null_mut());
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A segment of its own.
pub(crate) struct Segment(c_int);

impl Segment {
    /// Makes a private segment.
    pub(crate) fn new(size: usize) -> Work<Segment> {
        // SAFETY: no memory arguments.
        done("shmget", unsafe { libc::shmget(libc::IPC_PRIVATE, size, 0o600) }).map(Segment)
    }

    /// shmat.
    pub(crate) fn attach(&self) -> Work<Attached> {
        // SAFETY: a null address lets the system choose one that is free.
        let at = unsafe { libc::shmat(self.0, null(), 0) };
        if at.addr() == usize::MAX { Err(wrong("shmat")) } else { Ok(Attached(at.cast())) }
    }

    /// IPC_STAT.
    pub(crate) fn stat(&self) -> Work<()> {
        // SAFETY: zeroes are a valid shmid_ds, and it is writable.
        let answer = unsafe {
            let mut state: libc::shmid_ds = zeroed();
            libc::shmctl(self.0, libc::IPC_STAT, &mut state)
        };
        done("shmctl IPC_STAT", answer).map(drop)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: IPC_RMID uses no buffer.
        unsafe {
            libc::shmctl(self.0, libc::IPC_RMID, null_mut());
        }
    }
}

/// The highest index of a segment in use: IPC_INFO.
pub(crate) fn highest_segment() -> Work<c_int> {
    let mut info = [0_u64; 16];
    // SAFETY: a struct shminfo is shorter than the array.
    done("shmctl IPC_INFO", unsafe { libc::shmctl(0, libc::IPC_INFO, info.as_mut_ptr().cast()) })
}

/// SHM_STAT of the segment at an index; there may be none.
pub(crate) fn stat_segment_at(index: c_int) -> Work<()> {
    // SAFETY: zeroes are a valid shmid_ds, and it is writable.
    let answer = unsafe {
        let mut state: libc::shmid_ds = zeroed();
        libc::shmctl(index, SHM_STAT, &mut state)
    };
    let none = answer < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL);
    if none { Ok(()) } else { done("shmctl SHM_STAT", answer).map(drop) }
}

/// A command of shmctl that libc does not name. shmctl(2).
const SHM_STAT: c_int = 13;

/// An attached segment.
pub(crate) struct Attached(*mut u8);

impl Attached {
    /// Writes to its first page.
    pub(crate) fn touch(&self) {
        // SAFETY: the segment is attached for writing and at least one byte long.
        unsafe { self.0.write_volatile(1) }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // SAFETY: the address came from shmat, and nothing of it is in use any more.
        unsafe {
            libc::shmdt(self.0.cast());
        }
    }
}

/// Words that a process shares with its children. They stay mapped.
pub(crate) fn shared_words() -> Work<&'static [AtomicU64; 8]> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a new anonymous mapping touches nothing that is there.
    let at = unsafe { libc::mmap(null_mut(), 4096, protection, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return Err(wrong("mmap"));
    }
    // SAFETY: page-aligned, zeroed, never unmapped; only ever seen as atomics.
    Ok(unsafe { &*at.cast::<[AtomicU64; 8]>() })
}

/// A child process. Dropping it kills it if it still runs.
pub(crate) struct Child(libc::pid_t);

/// Runs `work` in a child; it dies with its parent.
pub(crate) fn fork(work: impl FnOnce() -> Work<()>) -> Work<Child> {
    // SAFETY: this process has one thread, so the child may go on with anything.
    match done("fork", unsafe { libc::fork() })? {
        0 => {
            // SAFETY: a plain number, no memory; then the child ends without running anything of its parent's.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let code = match work() {
                Ok(()) => 0,
                Err(why) => {
                    eprintln!("ring3: {why}");
                    1
                }
            };
            // SAFETY: ends the process.
            unsafe { libc::_exit(code) }
        }
        pid => Ok(Child(pid)),
    }
}

/// Forks a child that ends at once, and reaps it.
pub(crate) fn fork_and_reap() -> Work<()> {
    // SAFETY: the child does nothing but end.
    let pid = unsafe {
        match libc::fork() {
            0 => libc::_exit(0),
            pid => done("fork", pid)?,
        }
    };
    reap(pid)
}

/// Starts /bin/true and reaps it.
pub(crate) fn spawn_true() -> Work<()> {
    let mut pid = 0;
    let arguments = [c"true".as_ptr().cast_mut(), null_mut()];
    // SAFETY: path and argument list are NUL-terminated, the environment is this process's own.
    let answer = unsafe {
        unsafe extern "C" {
            static environ: *const *mut libc::c_char;
        }
        libc::posix_spawn(&mut pid, c"/bin/true".as_ptr(), null(), null(), arguments.as_ptr(), environ)
    };
    if answer != 0 {
        return Err(format!("posix_spawn: {}", crate::fault::plain(&io::Error::from_raw_os_error(answer))));
    }
    reap(pid)
}

fn reap(pid: libc::pid_t) -> Work<()> {
    let mut status = 0;
    // SAFETY: the status is writable.
    done("waitpid", unsafe { libc::waitpid(pid, &mut status, 0) })?;
    if status == 0 { Ok(()) } else { Err(format!("a child ended with wait status {status:#x}")) }
}

impl Child {
    /// Waits for its end, which must be a good one.
    pub(crate) fn join(self) -> Work<()> {
        let pid = self.0;
        std::mem::forget(self);
        reap(pid)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: the process is a child that was not reaped yet, so the number is still its own.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
        let _ = reap(self.0);
    }
}

/// Lets SIGALRM end this process after so many seconds: a scene that hangs becomes a failed one.
pub(crate) fn end_after(seconds: u32) {
    // SAFETY: no memory arguments.
    unsafe {
        libc::alarm(seconds);
    }
}
