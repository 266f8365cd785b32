//! Leading another process's stopped thread on, from a process made for that. ptrace(2), wait4(2); kernel: ptrace_attach(), ptrace_resume(),
//! ptrace_detach(), exit_ptrace().
//!
//! # Death
//! The kernel lets go of a tracee whose tracer ends, and a thread of a stopped process stops again at once, wherever it is. Of [`Tracee::run_to_call`]
//! nothing is left. [`Tracee::step`] leaves the trap flag, with which the thread dies of SIGTRAP when its process is continued, unless somebody takes
//! it and lets it go in time, which clears the flag.

use crate::arch::nr::{COUNTER, THREAD_POINTER};
use crate::arch::{nr, own_syscall};
use core::marker::PhantomData;
use ring3_abi::{Errno, Pid};

const PEEK: usize = 2;
const POKE: usize = 5;
const SINGLE_STEP: usize = 9;
const DETACH: usize = 17;
const TO_CALL: usize = 24;
const GET_SIGINFO: usize = 0x4202;
const GET_REGSET: usize = 0x4204;
const SEIZE: usize = 0x4206;
const INTERRUPT: usize = 0x4207;
const GET_MASK: usize = 0x420a;
const SET_MASK: usize = 0x420b;
/// The registers' set of that name.
const NT_PRSTATUS: usize = 1;
/// PTRACE_O_TRACESYSGOOD: stops for calls are told from others.
const MARK_CALLS: usize = 1;
const CALL_MARK: u32 = 0x80;
/// Room for the general registers of any machine, in words.
const REGISTERS: usize = 40;
/// PTRACE_EVENT_STOP.
const EVENT_STOP: u32 = 128;
const SIGTRAP: u32 = 5;
const WALL: usize = 0x4000_0000;
const NO_HANG: usize = 1;

/// What a traced thread has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The end of a step.
    Step,
    /// The beginning or the end of a system call.
    Call,
    /// Its process's stop, as by SIGSTOP.
    Group,
    /// A stop for the tracer alone: the process is not stopped, or no longer.
    Tracer,
    /// A signal is about to be delivered.
    Signal(u32),
    /// It has ended.
    Gone,
    /// Nothing yet.
    Running,
}

/// A thread that this process traces. Dropped while it is stopped, it is let go, and goes back to what it was.
#[derive(Debug)]
pub struct Tracee {
    tid: Pid,
    /// ptrace(2) serves the thread that attached, not the process.
    here: PhantomData<*const ()>,
}

impl Tracee {
    /// Takes a thread that is stopped, and asks it to report so.
    ///
    /// # Errors
    /// `EPERM` if somebody else traces it, or this process may not; `ESRCH` if it is gone.
    pub fn seize(tid: Pid) -> Result<Tracee, Errno> {
        request(SEIZE, tid, 0, MARK_CALLS)?;
        let tracee = Tracee { tid, here: PhantomData };
        tracee.interrupt()?;
        Ok(tracee)
    }

    /// Stops it wherever it is; a call that it sleeps in is begun again.
    ///
    /// # Errors
    /// `ESRCH` if it is gone.
    pub fn interrupt(&self) -> Result<(), Errno> {
        request(INTERRUPT, self.tid, 0, 0)
    }

    /// Lets it do one instruction, with a signal to be delivered, or 0.
    ///
    /// # Errors
    /// `ESRCH` if it is gone or not stopped.
    pub fn step(&self, signal: u32) -> Result<(), Errno> {
        request(SINGLE_STEP, self.tid, 0, signal as usize)
    }

    /// Lets it go on to the beginning or the end of a system call, with a signal to be delivered, or 0.
    ///
    /// # Errors
    /// `ESRCH` if it is gone or not stopped.
    pub fn run_to_call(&self, signal: u32) -> Result<(), Errno> {
        request(TO_CALL, self.tid, 0, signal as usize)
    }

    /// Lets it go with a signal to be delivered, or 0.
    pub fn release(self, signal: u32) {
        // It may be gone.
        let _ = request(DETACH, self.tid, 0, signal as usize);
        core::mem::forget(self);
    }

    /// What it has come to; with `patient`, once it has come to something.
    pub fn wait(&self, patient: bool) -> Stop {
        let (mut status, flags) = (0u32, if patient { WALL } else { WALL | NO_HANG });
        // SAFETY: the kernel writes one word of ours.
        let raw = unsafe {
            own_syscall(nr::WAIT4, [self.tid as usize, (&raw mut status) as usize, flags, 0, 0, 0])
        };
        match Errno::decode(raw) {
            Ok(0) => Stop::Running,
            Ok(_) => self.meaning(status),
            Err(Errno::EINTR) => Stop::Running,
            Err(_) => Stop::Gone,
        }
    }

    /// Sleeps until a tracee of this process's may have come to something, at most `ns` nanoseconds: the kernel sends SIGCHLD, which is blocked here
    /// ([`beside`]). Giving the CPU away instead would wait for everybody's turn on a busy one.
    pub fn doze(&self, ns: u32) {
        let (child, time) = (1u64 << 16, [0i64, i64::from(ns)]);
        let arguments = [(&raw const child) as usize, 0, time.as_ptr() as usize, 8, 0, 0];
        // SAFETY: the kernel reads a mask of eight bytes and a struct timespec, both ours. The result says no more than a look does.
        unsafe { own_syscall(nr::RT_SIGTIMEDWAIT, arguments) };
    }

    fn meaning(&self, status: u32) -> Stop {
        if status & 0xff != 0x7f {
            return Stop::Gone;
        }
        match (status >> 16, status >> 8 & 0xff) {
            (EVENT_STOP, SIGTRAP) => Stop::Tracer,
            (EVENT_STOP, _) => Stop::Group,
            (0, signal) if signal == SIGTRAP | CALL_MARK => Stop::Call,
            (0, SIGTRAP) if self.is_kernels() => Stop::Step,
            (0, signal) => Stop::Signal(signal),
            _ => Stop::Step,
        }
    }

    /// Whether the signal that it stopped for comes from the kernel.
    fn is_kernels(&self) -> bool {
        let mut info = [0i32; 32];
        // A positive code is the kernel's; it is the third word.
        let asked = request(GET_SIGINFO, self.tid, 0, info.as_mut_ptr() as usize);
        asked.is_err() || info.get(2).is_some_and(|&code| code > 0)
    }

    /// Its program counter.
    ///
    /// # Errors
    /// `ESRCH` if it is gone or not stopped.
    pub fn counter(&self) -> Result<usize, Errno> {
        self.register(NT_PRSTATUS, COUNTER)
    }

    /// Its thread pointer.
    ///
    /// # Errors
    /// `ESRCH` if it is gone or not stopped.
    pub fn thread_pointer(&self) -> Result<usize, Errno> {
        let (set, index) = THREAD_POINTER;
        self.register(set, index)
    }

    fn register(&self, set: usize, index: usize) -> Result<usize, Errno> {
        let mut registers = [0usize; REGISTERS];
        let room = [registers.as_mut_ptr() as usize, size_of_val(&registers)];
        request(GET_REGSET, self.tid, set, room.as_ptr() as usize)?;
        registers.get(index).copied().ok_or(Errno::ESRCH)
    }

    /// A word of its memory. It takes as long as the thread itself would need to look: without end where nobody serves a page fault.
    ///
    /// # Errors
    /// `EIO` if nothing is there; `ESRCH` if it is gone or not stopped.
    pub fn peek(&self, at: usize) -> Result<usize, Errno> {
        let mut word = 0usize;
        request(PEEK, self.tid, at, (&raw mut word) as usize).map(|()| word)
    }

    /// Sets a word of its memory.
    ///
    /// # Errors
    /// As [`Tracee::peek`].
    pub fn poke(&self, at: usize, word: usize) -> Result<(), Errno> {
        request(POKE, self.tid, at, word)
    }

    /// Its signal mask.
    ///
    /// # Errors
    /// `ESRCH` if it is gone or not stopped.
    pub fn mask(&self) -> Result<u64, Errno> {
        let mut mask = 0u64;
        request(GET_MASK, self.tid, size_of::<u64>(), (&raw mut mask) as usize).map(|()| mask)
    }

    /// Sets it.
    ///
    /// # Errors
    /// `ESRCH` if it is gone or not stopped.
    pub fn set_mask(&self, mask: u64) -> Result<(), Errno> {
        request(SET_MASK, self.tid, size_of::<u64>(), (&raw const mask) as usize)
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        // It may be gone.
        let _ = request(DETACH, self.tid, 0, 0);
    }
}

fn request(what: usize, tid: Pid, at: usize, data: usize) -> Result<(), Errno> {
    // SAFETY: the requests of this file take numbers, or places of ours of the length that they write.
    Errno::decode(unsafe { own_syscall(nr::PTRACE, [what, tid as usize, at, data, 0, 0]) }).map(|_| ())
}

/// Does `work` in a process of its own, a copy of this one without its descriptors, which then ends and leaves no signal. Other threads of this process
/// may have held libc's locks, so the work must not allocate, or it could wait for ever.
///
/// # Errors
/// `EAGAIN`, `ENOMEM`.
pub fn beside(work: impl FnOnce() -> bool) -> Result<Pid, Errno> {
    // SAFETY: without a flag clone is fork; without a number for it, the end of the child sends no signal.
    let child = Errno::decode(unsafe { own_syscall(nr::CLONE, [0; 6]) })?;
    if child != 0 {
        return Ok(child as Pid);
    }
    // SAFETY: the copies of descriptors are this process's alone, and nothing here uses one.
    unsafe { own_syscall(nr::CLOSE_RANGE, [0, u32::MAX as usize, 0, 0, 0, 0]) };
    block_signals();
    let status = usize::from(!work());
    loop {
        // SAFETY: ends the process.
        unsafe { own_syscall(nr::EXIT_GROUP, [status, 0, 0, 0, 0, 0]) };
    }
}

/// Keeps every signal that can be kept from ending the work halfway.
fn block_signals() {
    const SIG_SETMASK: usize = 2;
    let all = u64::MAX;
    // SAFETY: the kernel reads eight bytes of ours.
    unsafe { own_syscall(nr::RT_SIGPROCMASK, [SIG_SETMASK, (&raw const all) as usize, 0, 8, 0, 0]) };
}

/// Ends a process made by [`beside`] that has not been asked for its outcome.
pub fn end(child: Pid) {
    const SIGKILL: usize = 9;
    // SAFETY: its number is its own until it is asked for.
    unsafe { own_syscall(nr::KILL, [child as usize, SIGKILL, 0, 0, 0, 0]) };
}

/// What the work of the process made by [`beside`] answered, once that has ended, which is forgotten then; `None` before.
pub fn outcome(child: Pid) -> Option<bool> {
    let mut status = u32::MAX;
    let arguments = [child as usize, (&raw mut status) as usize, WALL | NO_HANG, 0, 0, 0];
    // SAFETY: the kernel writes one word of ours.
    let raw = unsafe { own_syscall(nr::WAIT4, arguments) };
    if Errno::decode(raw) == Ok(0) { None } else { Some(status == 0) }
}
