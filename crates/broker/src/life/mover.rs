//! A stopped process is moved out of its section, so that it holds nobody up. signal(7), ptrace(2); docs/stopped.md.
//!
//! # Invariants
//! Q1. Only a process in its group stop (state T) is touched: one that runs or sleeps finds its own way, and would see that its call was interrupted.
//! Q2. It is stepped only while the lock's word names it and its program counter lies in the agent: nothing of the program's own runs. A word that
//!     names somebody else costs the named process nothing that it could see.
//! Q3. No signal is delivered meanwhile but those of faults, and none is lost: they stay pending behind a mask that is taken back before the end.
//! Q4. The stepping is a process of its own, with what it needs read before: it allocates nothing, and the broker's death does not end it.
//! Q5. At most [`MOST`] run at once, one for a victim; in vain, the next for that victim waits twice as long.

use crate::host::monotonic;
use ring3_abi::Pid;
use ring3_engine::Region;
use ring3_engine::lock::{self, Named};
use ring3_os::futex::{self, Reach};
use ring3_os::tracing::{self, Stop, Tracee};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;

/// How many run at once.
const MOST: usize = 8;
/// How long one may take, nanoseconds.
const LONGEST: u64 = 500_000_000;
/// A step that takes longer than this sleeps in the kernel.
const ASLEEP: u32 = 20_000_000;
/// The least and the longest rest between two for the same process.
const RESTS: Range<u64> = 10_000_000..1_000_000_000;
/// How many threads of a process are looked at.
const THREADS: usize = 256;
/// How much of a process's list of mappings is read.
const MAPS: u64 = 1 << 20;
/// All signals but those that the kernel sends for what an instruction does: SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV.
const KEPT: u64 = !(1 << 3 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 10);

/// Those that run, and how their victims have been treated.
#[derive(Debug, Default)]
pub(crate) struct Movers {
    /// The stepping process, by victim.
    running: HashMap<Pid, Pid>,
    /// When the next may start for a victim, and the rest after that.
    rests: HashMap<Pid, (u64, u64)>,
}

/// What is known of a stopped holder.
#[derive(Debug)]
struct Plan {
    holder: Pid,
    /// Its threads that are stopped, the one that says that it holds the lock first.
    threads: Vec<Pid>,
    /// Where the agent's instructions are, and the vDSO's, which it calls.
    code: Vec<Range<usize>>,
    /// The CPU where the first thread ran: a step across CPUs costs twenty times as much.
    cpu: Option<usize>,
}

impl Movers {
    /// Whether any run.
    pub(crate) fn are_at_work(&self) -> bool {
        !self.running.is_empty()
    }

    /// Forgets those that have ended.
    pub(crate) fn reap(&mut self) {
        let ended = |victim: &Pid, mover: &mut Pid| Some((*victim, tracing::outcome(*mover)?));
        let ended: Vec<(Pid, bool)> =
            self.running.iter_mut().filter_map(|(victim, mover)| ended(victim, mover)).collect();
        for (victim, moved) in ended {
            self.running.remove(&victim);
            if moved {
                self.rests.remove(&victim);
            }
        }
    }

    /// Has a process stepped out of the section that it holds this region's lock in, if it is stopped there.
    pub(crate) fn look(&mut self, region: Region<'_>, holder: Pid) {
        let Ok(named) = lock::named(region) else { return };
        self.reap();
        let now = monotonic();
        if self.running.len() >= MOST || self.running.contains_key(&holder) || named.process() != holder {
            return;
        }
        let rest = match self.rests.get(&holder) {
            Some(&(until, _)) if now < until => return,
            // One that has been left alone for a while begins anew.
            Some(&(until, rest)) if now < until + RESTS.end => (rest * 2).min(RESTS.end),
            _ => RESTS.start,
        };
        let Some(plan) = Plan::of(holder, named.thread()) else { return };
        self.rests.retain(|_, (until, _)| now < *until + RESTS.end);
        self.rests.insert(holder, (now + rest, rest));
        if let Ok(mover) = tracing::beside(|| plan.carry_out(named)) {
            self.running.insert(holder, mover);
        }
    }
}

impl Plan {
    /// `None`: the process is not stopped, or has nothing of the agent.
    fn of(holder: Pid, thread: Pid) -> Option<Plan> {
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
        Some(Plan { holder, threads, code, cpu })
    }

    /// Steps the threads, one after the other, until the lock's word is another, and answers whether it is. Allocates nothing (Q4).
    fn carry_out(&self, named: Named<'_>) -> bool {
        let deadline = monotonic() + LONGEST;
        if let Some(cpu) = self.cpu {
            let mut set = rustix::thread::CpuSet::new();
            set.set(cpu);
            // Elsewhere it merely takes longer.
            let _ = rustix::thread::sched_setaffinity(None, &set);
        }
        for &tid in &self.threads {
            if named.process() != self.holder || monotonic() > deadline {
                break;
            }
            if let Ok(tracee) = Tracee::seize(tid) {
                self.step(tracee, named, deadline);
            }
        }
        let moved = named.process() != self.holder;
        if moved {
            // The holder stands before its own wake-up.
            futex::wake(named.word(), 1, Reach::Shared);
        }
        moved
    }

    /// Steps one thread while it holds the lock and is in the agent (Q2), and lets it go.
    fn step(&self, tracee: Tracee, named: Named<'_>, deadline: u64) {
        if tracee.wait(true) != Stop::Group || !self.is_inside(&tracee) {
            return;
        }
        let Ok(mask) = tracee.mask() else { return };
        if tracee.set_mask(KEPT).is_err() {
            return;
        }
        let mut signal = 0;
        while named.process() == self.holder && self.is_inside(&tracee) && monotonic() < deadline {
            if tracee.step(signal).is_err() {
                return;
            }
            signal = 0;
            match end_of_step(&tracee) {
                Stop::Step | Stop::Group => {}
                Stop::Signal(sent) => signal = sent,
                // It was continued: it goes on by itself.
                Stop::Tracer | Stop::Running => break,
                Stop::Gone => return,
            }
        }
        // Refused only if it is gone.
        let _ = tracee.set_mask(mask);
        tracee.release(signal);
    }

    fn is_inside(&self, tracee: &Tracee) -> bool {
        tracee.counter().is_ok_and(|at| self.code.iter().any(|range| range.contains(&at)))
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

/// Where a process has the instructions of its agent and of the vDSO; `None` without an agent.
fn code_of(pid: Pid) -> Option<Vec<Range<usize>>> {
    let maps = BufReader::new(File::open(format!("/proc/{pid}/maps")).ok()?.take(MAPS));
    let (mut code, mut has_agent) = (Vec::new(), false);
    for line in maps.split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        let (agent, vdso) = (is_agent(&line), line.ends_with("[vdso]"));
        if let Some(range) = executable(&line).filter(|_| agent || vdso) {
            has_agent |= agent;
            code.push(range);
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
