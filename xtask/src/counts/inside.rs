//! The part that runs inside the namespace: a child makes the calls, its parent steps it and counts.
//!
//! It tells the part outside on standard output: the count, those in the vDSO, the system calls; or where the instructions of the last counted call
//! went, which takes the agent as a file that knows the lines of its source.

use super::mapping::Mapping;
use super::profile;
use super::rows::{ROWS, Round, Row};
use crate::cargo::Done;
use crate::ptrace;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::mem::offset_of;

/// Calls before any is counted.
const WARM: usize = 8;

/// Calls that are counted.
const ROUNDS: usize = 7;

/// More instructions than any call has.
const ENDLESS: usize = 2_000_000;

/// The registers in the user area.
const PC: usize = offset_of!(libc::user_regs_struct, rip);
/// The stack pointer, which leads to the return address when a function begins.
const STACK: usize = offset_of!(libc::user_regs_struct, rsp);

#[cfg(not(target_arch = "x86_64"))]
compile_error!("counting reads x86-64's registers; another machine needs its own lines here");

/// The addresses of one call's instructions, in their order.
type Way = Vec<u64>;

/// Counts one row.
pub(crate) fn inside(arguments: &[String]) -> Done {
    let Some(name) = arguments.first() else { return Err("counts-inside: ROW [AGENT]".to_owned()) };
    let row = ROWS.iter().find(|row| row.name == name).ok_or_else(|| format!("no row {name}"))?;
    let told = |why: io::Error| format!("{name}: {why}");
    stay().map_err(told)?;
    let (pid, ways) = count(row).map_err(told)?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).map_err(told)?;
    let said = numbers(pid, &ways, &maps);
    let ended = end(pid).map_err(told)?;
    match (arguments.get(1), ways.last()) {
        (Some(agent), Some(way)) => profile::print(way, &maps, agent.as_ref())?,
        _ => println!("{}", said.map_err(told)?),
    }
    if ended == 0 { Ok(()) } else { Err(format!("{name}: the stepped process ended with status {ended:#x}")) }
}

/// Keeps this process and its child on the CPU where it is: a step across CPUs costs twenty times as much.
fn stay() -> io::Result<()> {
    // SAFETY: zeroes are an empty set, which outlives the call.
    let done = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(libc::sched_getcpu().max(0) as usize, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Steps a child through a row's calls. The child is left stopped behind the last one.
fn count(row: &Row) -> io::Result<(libc::pid_t, Vec<Way>)> {
    // SAFETY: this process has one thread, so a forked child may do whatever the parent may.
    let pid = match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {
            let status = i32::from(child(row).inspect_err(|why| eprintln!("{}: {why}", row.name)).is_err());
            // SAFETY: _exit(2) takes a number.
            unsafe { libc::_exit(status) }
        }
        pid => pid,
    };
    stopped(pid)?;
    ptrace::request(libc::PTRACE_SETOPTIONS, pid, 0, libc::PTRACE_O_EXITKILL as u64)?;
    let (begin, end) = (begin_mark as *const () as u64, end_mark as *const () as u64);
    let function = (row.function)() as u64;
    let mut ways = Vec::new();
    loop {
        match run_to(pid, &[begin, end])? {
            pc if pc == begin => {}
            _ => return Ok((pid, ways)),
        }
        run_to(pid, &[function])?;
        let back = ptrace::peek(pid, ptrace::user(pid, STACK)?)?;
        let mut way = vec![function];
        loop {
            let pc = step(pid)?;
            if pc == back {
                break;
            }
            way.push(pc);
            if way.len() > ENDLESS {
                return Err(io::Error::other("the call does not end"));
            }
        }
        ways.push(way);
    }
}

/// Makes the calls.
fn child(row: &Row) -> io::Result<()> {
    let mut round = (row.make)()?;
    (0..WARM).try_for_each(|_| carry_out(&mut round))?;
    ptrace::offer();
    (0..ROUNDS).try_for_each(|_| carry_out(&mut round))?;
    end_mark();
    Ok(())
}

/// Makes one round's calls.
fn carry_out(round: &mut Round) -> io::Result<()> {
    let before = round.before();
    begin_mark();
    let counted = (round.counted)();
    if [before, counted, round.after()] == [0; 3] { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The counted call comes next.
#[inline(never)]
extern "C" fn begin_mark() {
    std::hint::black_box(1);
}

/// No call comes any more.
#[inline(never)]
extern "C" fn end_mark() {
    std::hint::black_box(2);
}

/// Steps until one of the addresses is reached, and answers which.
fn run_to(pid: libc::pid_t, places: &[u64]) -> io::Result<u64> {
    for _ in 0..ENDLESS {
        let pc = step(pid)?;
        if places.contains(&pc) {
            return Ok(pc);
        }
    }
    Err(io::Error::other("a mark is not reached"))
}

/// Carries out one instruction and answers where the next one is.
fn step(pid: libc::pid_t) -> io::Result<u64> {
    ptrace::request(libc::PTRACE_SINGLESTEP, pid, 0, 0)?;
    stopped(pid)?;
    ptrace::user(pid, PC)
}

/// Waits until the child has stopped.
fn stopped(pid: libc::pid_t) -> io::Result<()> {
    let status = wait(pid)?;
    if libc::WIFSTOPPED(status) && [libc::SIGTRAP, libc::SIGSTOP].contains(&libc::WSTOPSIG(status)) {
        return Ok(());
    }
    Err(io::Error::other(format!("the stepped process has status {status:#x}")))
}

/// Waits for the child's next change.
fn wait(pid: libc::pid_t) -> io::Result<i32> {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    match unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(status),
    }
}

/// Lets the child go, and answers how it ended.
fn end(pid: libc::pid_t) -> io::Result<i32> {
    ptrace::request(libc::PTRACE_DETACH, pid, 0, 0)?;
    wait(pid)
}

/// The count, those in the vDSO, the system calls. The caller's own instruction, which calls, is one of the count.
fn numbers(pid: libc::pid_t, ways: &[Way], maps: &str) -> io::Result<String> {
    let vdso = Mapping::all(maps).find(|mapping| mapping.path == "[vdso]");
    let mut kinds = HashMap::new();
    let mut counted = Vec::new();
    for way in ways {
        let (mut in_vdso, mut calls) = (0u64, 0u64);
        for pc in way {
            in_vdso += u64::from(vdso.as_ref().is_some_and(|vdso| vdso.has(*pc)));
            let is_call = match kinds.get(pc) {
                Some(known) => *known,
                None => {
                    let is_call = ptrace::peek(pid, *pc)?.to_le_bytes().starts_with(&[0x0f, 0x05]);
                    kinds.insert(*pc, is_call);
                    is_call
                }
            };
            calls += u64::from(is_call);
        }
        counted.push((way.len() as u64 + 1, in_vdso, calls));
    }
    let often = |one: &(u64, u64, u64)| counted.iter().filter(|other| *other == one).count();
    // Of two that are as frequent, the smaller.
    let best = counted.iter().max_by_key(|one| (often(one), std::cmp::Reverse(**one)));
    let (all, in_vdso, calls) = best.ok_or_else(|| io::Error::other("no call was counted"))?;
    Ok(format!("{all} {in_vdso} {calls}"))
}
