//! A process that leads a stopped one out of its section, so that it holds nobody up. signal(7), ptrace(2); docs/stopped.md.
//!
//! # Invariants
//! Q1. Only a process in its group stop (state T) is touched: one that runs or sleeps finds its own way, and would see that its call was interrupted.
//! Q2. It goes on only while the lock's word names it and its program counter lies in the agent: nothing of the program's own runs. A word that
//!     names somebody else costs the named process nothing that it could see. A thread in a section of the agent's ([`Section`]) runs from system call
//!     to system call, of which it makes one after it has given the lock back, since somebody waits, and one at the section's end. Any other is stepped.
//! Q3. No signal is delivered meanwhile but those of faults, and none is lost: they stay pending behind a mask that is taken back before the end, or by
//!     the section's end.
//! Q4. It has what it needs read before, but for the victim's memory: it allocates nothing, and the broker's death does not end it.
//!
//! # Death
//! Killed at any moment it leaves a victim in a section as it was: stopped, with a mask that the section's end takes back. One that it was stepping keeps the
//! trap flag, until it is led again, which somebody will ask for who waits still.

use crate::host::monotonic;
use crate::life::section::Section;
use ring3_abi::Pid;
use ring3_engine::lock::Named;
use ring3_os::futex::{self, Reach};
use ring3_os::tracing::{Stop, Tracee};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;

/// How long one may take, nanoseconds.
pub(super) const LONGEST: u64 = 500_000_000;
/// A step that takes longer than this sleeps in the kernel.
const ASLEEP: u32 = 20_000_000;
/// How many threads of a process are looked at.
const THREADS: usize = 256;
/// How much of a process's list of mappings is read.
const MAPS: u64 = 1 << 20;
/// All signals but those that the kernel sends for what an instruction does: SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV.
const KEPT: u64 = !(1 << 3 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 10);

/// What is known of a stopped holder.
#[derive(Debug)]
pub(super) struct Plan {
    holder: Pid,
    /// Its threads that are stopped, the one that says that it holds the lock first.
    threads: Vec<Pid>,
    code: Code,
    /// Whether a filter may forbid it system calls that it would not make by itself.
    is_filtered: bool,
    /// The CPU where the first thread ran.
    cpu: Option<usize>,
}

/// Where a process has its agent.
#[derive(Debug, Default)]
struct Code {
    /// Its instructions, and those of the vDSO, which it calls.
    ranges: Vec<Range<usize>>,
    /// Its image's beginning.
    base: Option<usize>,
}

impl Plan {
    /// `None`: the process is not stopped, or has nothing of the agent.
    pub(super) fn of(holder: Pid, thread: Pid) -> Option<Plan> {
        let mut threads = Vec::new();
        for task in fs::read_dir(format!("/proc/{holder}/task")).ok()?.flatten().take(THREADS) {
            if let Some(tid) = task.file_name().to_str().and_then(|name| name.parse().ok()) {
                threads.push(tid);
            }
        }
        threads.sort_by_key(|&tid| tid != thread);
        let mut cpu = None;
        threads.retain(|tid| match stat(holder, *tid) {
            Some((b'T', ran)) => {
                cpu = cpu.or(ran);
                true
            }
            _ => false,
        });
        if threads.is_empty() {
            return None;
        }
        let code = code_of(holder)?;
        Some(Plan { holder, threads, code, is_filtered: is_filtered(holder), cpu })
    }

    /// Leads the threads, one after the other, until the lock's word is another, and answers whether it is. Allocates nothing (Q4).
    pub(super) fn carry_out(&self, named: Named<'_>) -> bool {
        let deadline = monotonic() + LONGEST;
        for &tid in &self.threads {
            if named.process() != self.holder || monotonic() > deadline {
                break;
            }
            if let Ok(tracee) = Tracee::seize(tid) {
                self.lead(tracee, named, deadline);
            }
        }
        let moved = named.process() != self.holder;
        if moved {
            // The holder stands before its own wake-up.
            futex::wake(named.word(), 1, Reach::Shared);
        }
        moved
    }

    /// Leads one thread while it holds the lock and is in the agent (Q2), and lets it go.
    fn lead(&self, tracee: Tracee, named: Named<'_>, deadline: u64) {
        if tracee.wait(true) != Stop::Group || !self.is_inside(&tracee) {
            return;
        }
        let Ok(mask) = tracee.mask() else { return };
        let section = self.code.base.filter(|_| !self.is_filtered);
        let section = section.and_then(|base| Section::of(&tracee, base));
        // DEATH: the section takes the mask back, so it is told of it first.
        let told = section.as_ref().is_none_or(|section| section.ends_with_a_call(&tracee, mask).is_ok());
        if !told || tracee.set_mask(KEPT).is_err() {
            return;
        }
        if section.is_some() {
            named.mark_waited_for(self.holder);
        } else {
            self.come_near();
        }
        let signal = self.go_on(&tracee, section.as_ref(), named, deadline);
        let Some(signal) = signal else { return };
        // Refused only if it is gone.
        let _ = tracee.set_mask(mask);
        tracee.release(signal);
    }

    /// Lets a thread go on until it holds the lock no more. Answers a signal that it is to be let go with, or 0; `None` if it is gone.
    fn go_on(
        &self,
        tracee: &Tracee,
        section: Option<&Section>,
        named: Named<'_>,
        deadline: u64,
    ) -> Option<u32> {
        let mut signal = 0;
        while named.process() == self.holder
            && self.is_inside(tracee)
            && section.is_none_or(|section| section.is_open(tracee))
            && monotonic() < deadline
        {
            let resumed = if section.is_some() { tracee.run_to_call(signal) } else { tracee.step(signal) };
            resumed.ok()?;
            signal = 0;
            match end_of_step(tracee) {
                Stop::Step | Stop::Call | Stop::Group => {}
                Stop::Signal(sent) => signal = sent,
                // It was continued: it goes on by itself.
                Stop::Tracer | Stop::Running => break,
                Stop::Gone => return None,
            }
        }
        Some(signal)
    }

    /// Runs where the victim has run: a step across CPUs costs twenty times as much.
    fn come_near(&self) {
        if let Some(cpu) = self.cpu {
            let mut set = rustix::thread::CpuSet::new();
            set.set(cpu);
            // Elsewhere it merely takes longer.
            let _ = rustix::thread::sched_setaffinity(None, &set);
        }
    }

    fn is_inside(&self, tracee: &Tracee) -> bool {
        tracee.counter().is_ok_and(|at| self.code.ranges.iter().any(|range| range.contains(&at)))
    }
}

/// Waits for a step's end. One that sleeps in the kernel is interrupted: it must be stopped to be let go.
fn end_of_step(tracee: &Tracee) -> Stop {
    let began = monotonic();
    loop {
        match tracee.wait(false) {
            Stop::Running if monotonic() - began < u64::from(ASLEEP) => tracee.doze(ASLEEP),
            Stop::Running => break,
            other => return other,
        }
    }
    if tracee.interrupt().is_err() {
        return Stop::Gone;
    }
    match tracee.wait(true) {
        Stop::Gone => Stop::Gone,
        Stop::Signal(signal) => Stop::Signal(signal),
        _ => Stop::Tracer,
    }
}

/// A thread's state, and the CPU where it ran last.
fn stat(pid: Pid, tid: Pid) -> Option<(u8, Option<usize>)> {
    let text = fs::read(format!("/proc/{pid}/task/{tid}/stat")).ok()?;
    // The name in parentheses may hold anything, so what follows starts at the last one.
    let behind = text.iter().rposition(|&byte| byte == b')')? + 1;
    let rest = std::str::from_utf8(text.get(behind..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    Some((state, fields.nth(35).and_then(|cpu| cpu.parse().ok())))
}

/// For how long a process's thread has run in its life, nanoseconds; its first thread, if it has none of that number. Answers which. proc_pid_schedstat(5).
pub(super) fn run_time(pid: Pid, tid: Pid) -> Option<(Pid, u64)> {
    [tid, pid].into_iter().find_map(|tid| {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")).ok()?;
        Some((tid, text.split_ascii_whitespace().next()?.parse().ok()?))
    })
}

/// Whether any filter of system calls is in force for a process; what cannot be seen may be.
fn is_filtered(pid: Pid) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mode = text.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    mode.is_none_or(|mode| mode.trim() != "0")
}

/// Where a process has its agent; `None` without one.
fn code_of(pid: Pid) -> Option<Code> {
    let maps = BufReader::new(File::open(format!("/proc/{pid}/maps")).ok()?.take(MAPS));
    let (mut code, mut has_agent) = (Code::default(), false);
    for line in maps.split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        let (agent, vdso) = (is_agent(&line), line.ends_with("[vdso]"));
        if agent && code.base.is_none() {
            code.base = line.split('-').next().and_then(|from| usize::from_str_radix(from, 16).ok());
        }
        if let Some(range) = executable(&line).filter(|_| agent || vdso) {
            has_agent |= agent;
            code.ranges.push(range);
        }
    }
    has_agent.then_some(code)
}

/// Whether a line of maps is of the agent's file, which has this name, or one that begins so where the namespace's own directory is mounted noexec.
fn is_agent(line: &str) -> bool {
    line.rsplit('/').next().is_some_and(|name| name.starts_with("libring3") && name.contains(".so"))
}

fn executable(line: &str) -> Option<Range<usize>> {
    let mut words = line.split_ascii_whitespace();
    let (from, to) = words.next()?.split_once('-')?;
    words.next().filter(|rights| rights.contains('x'))?;
    Some(usize::from_str_radix(from, 16).ok()?..usize::from_str_radix(to, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_instructions_are_known_by_the_files_name() {
        let line = |path: &str| format!("7f00-7f80 r-xp 00000000 00:01 42                {path}");
        assert_eq!(executable(&line("/x")), Some(0x7f00..0x7f80));
        assert!(is_agent(&line("/run/ring3/a b/libring3.so")));
        assert!(is_agent(&line("/tmp/ring3-0/libring3-ci.so (deleted)")));
        assert!(!is_agent(&line("/usr/lib/libc.so.6")) && !is_agent(&line("[heap]")));
        assert_eq!(executable("7f00-7f80 rw-p 00000000 00:01 42 /libring3.so"), None);
    }

    #[test]
    fn a_process_that_runs_is_not_planned_for() {
        let own = std::process::id();
        assert!(stat(own, own).is_some_and(|(state, cpu)| state != b'T' && cpu.is_some()));
        assert!(Plan::of(own, own).is_none());
    }
}
