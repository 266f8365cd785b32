//! A process that is single-stepped by ptrace(2).
//!
//! What happens to it is a row of *events*: one after each instruction, and one more where it falls asleep inside
//! a system call. Event 0 is its start. A death is asked for by the number of the event that it follows.

use super::arch::{self, Breakpoint, Kind};
use super::process::{self, asleep};
use crate::ptrace::{self, peek, request, user};
use std::collections::HashMap;
use std::io;

/// Iterations of a repeating instruction that are stepped one by one.
const REPEATS: u32 = 2;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// One instruction was carried out.
    Step,
    /// It sleeps inside a system call; `Tracee::awake` waits for the end of that.
    Asleep,
    /// It has reached the end mark.
    End,
    /// It has died by itself, with this wait status.
    Gone(i32),
}

/// The process, while it is stopped.
pub(super) struct Tracee<'k> {
    pid: libc::pid_t,
    /// The address at which its operation is over.
    end: u64,
    /// What is known about instructions already.
    kinds: &'k mut HashMap<u64, Kind>,
    /// Where it stopped last.
    pub(super) pc: u64,
    repeated: u32,
    signal: i32,
    planted: Vec<Breakpoint>,
}

impl<'k> Tracee<'k> {
    /// Takes over a child that asked to be traced and stops itself.
    pub(super) fn take(
        pid: libc::pid_t,
        end: u64,
        kinds: &'k mut HashMap<u64, Kind>,
    ) -> io::Result<Tracee<'k>> {
        let status = process::wait_raw(pid, libc::__WALL)?.unwrap_or(0);
        if !libc::WIFSTOPPED(status) {
            return Err(io::Error::other(format!("it ended before its operation (status {status:#x})")));
        }
        request(
            libc::PTRACE_SETOPTIONS,
            pid,
            0,
            (libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACEEXEC) as u64,
        )?;
        let pc = user(pid, arch::PC)?;
        Ok(Tracee { pid, end, kinds, pc, repeated: 0, signal: 0, planted: Vec::new() })
    }

    /// Carries out one instruction.
    pub(super) fn step(&mut self) -> io::Result<Event> {
        if self.pc == self.end {
            return Ok(Event::End);
        }
        match self.kind()? {
            Kind::Repeat(next) if self.repeated >= REPEATS => self.run_to(next),
            Kind::Syscall => {
                let number = user(self.pid, arch::NUMBER)? as i64;
                if number == libc::SYS_exit_group {
                    return Ok(Event::End);
                }
                self.resume(libc::PTRACE_SINGLESTEP)?;
                self.stopped(process::is_sleep(number))
            }
            _ => {
                self.resume(libc::PTRACE_SINGLESTEP)?;
                self.stopped(false)
            }
        }
    }

    /// Says where it is, for messages.
    pub(super) fn place(&self) -> String {
        format!("{}: {}", self.pid, process::place(self.pid))
    }

    /// Says whether it has come to the end of its operation.
    pub(super) fn ended(&self) -> bool {
        self.pc == self.end
    }

    /// Says whether it has come to where it is just now (and is not repeating an instruction).
    pub(super) fn arrives(&self) -> bool {
        self.repeated == 0
    }

    /// Waits until a sleeper's system call is over; `None` if that takes too long.
    pub(super) fn awake(&mut self, patience: std::time::Duration) -> io::Result<Option<Event>> {
        let until = std::time::Instant::now() + patience;
        while std::time::Instant::now() < until {
            if let Some(status) = process::wait_raw(self.pid, libc::__WALL | libc::WNOHANG)? {
                return self.note(status).map(Some);
            }
            process::give_way();
        }
        Ok(None)
    }

    /// Lets it run freely; it is a tracee still, until it ends.
    pub(super) fn release(mut self) -> io::Result<()> {
        self.resume(libc::PTRACE_CONT)
    }

    /// Lets go of it in a stop as by SIGSTOP.
    pub(super) fn freeze(self) -> io::Result<()> {
        request(libc::PTRACE_DETACH, self.pid, 0, libc::SIGSTOP as u64)
    }

    /// Reads what the next instruction is, or remembers it.
    fn kind(&mut self) -> io::Result<Kind> {
        if let Some(kind) = self.kinds.get(&self.pc) {
            return Ok(*kind);
        }
        let kind = arch::kind(self.pc, peek(self.pid, self.pc)?);
        self.kinds.insert(self.pc, kind);
        Ok(kind)
    }

    /// Goes on, with the signal that stopped it last, if one did.
    fn resume(&mut self, how: libc::c_uint) -> io::Result<()> {
        request(how, self.pid, 0, std::mem::take(&mut self.signal) as u64)
    }

    /// Runs until it comes to an address, or to the end; or until it sleeps, with the breakpoints planted still.
    pub(super) fn run(&mut self, to: u64) -> io::Result<Event> {
        self.planted.push(Breakpoint::plant(self.pid, to)?);
        if to != self.end {
            self.planted.push(Breakpoint::plant(self.pid, self.end)?);
        }
        self.resume(libc::PTRACE_CONT)?;
        self.stopped(true)
    }

    /// Runs a repeating instruction to its end.
    fn run_to(&mut self, next: u64) -> io::Result<Event> {
        self.planted.push(Breakpoint::plant(self.pid, next)?);
        self.resume(libc::PTRACE_CONT)?;
        self.stopped(false)
    }

    /// Waits for the end of a step; `may_sleep` says that it may be inside a call that sleeps.
    fn stopped(&mut self, may_sleep: bool) -> io::Result<Event> {
        if may_sleep {
            loop {
                if let Some(status) = process::wait_raw(self.pid, libc::__WALL | libc::WNOHANG)? {
                    return self.note(status);
                }
                process::give_way();
                if asleep(self.pid) {
                    return Ok(Event::Asleep);
                }
            }
        }
        match process::wait_raw(self.pid, libc::__WALL)? {
            Some(status) => self.note(status),
            None => Err(io::Error::other("it is gone")),
        }
    }

    /// Takes a wait status in.
    fn note(&mut self, status: i32) -> io::Result<Event> {
        if !libc::WIFSTOPPED(status) {
            return Ok(Event::Gone(status));
        }
        if status >> 8 == libc::SIGTRAP | libc::PTRACE_EVENT_EXEC << 8 {
            self.planted.clear();
            self.pc = self.end;
            return Ok(Event::Step);
        }
        let signal = libc::WSTOPSIG(status);
        if signal != libc::SIGTRAP {
            self.signal = signal;
        }
        let mut pc = user(self.pid, arch::PC)?;
        while let Some(breakpoint) = self.planted.pop() {
            pc = breakpoint.uproot(self.pid, pc)?;
        }
        self.repeated = if pc == self.pc { self.repeated + 1 } else { 0 };
        self.pc = pc;
        Ok(Event::Step)
    }
}

/// The end mark: a stepped process that comes here has finished its operation.
#[inline(never)]
pub(super) extern "C" fn end_mark() {
    std::hint::black_box(());
}

/// Sets the program counter.
pub(super) fn set_pc(pid: libc::pid_t, pc: u64) -> io::Result<()> {
    ptrace::set_user(pid, arch::PC, pc)
}
