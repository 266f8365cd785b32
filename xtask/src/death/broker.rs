//! `cargo xtask death --broker`: the broker is killed at each of its system calls, before and after it, while a story is played (`story.rs`).
//!
//! The story is played in a namespace, again and again; each time the broker that serves then is stopped at its system calls by a process that traces it, and
//! killed at the one whose turn it is. Whoever plays must notice nothing: what it tells is compared with what it told undisturbed.

use super::options::Options;
use super::story::{self, Story};
use crate::cargo::{self, Done};
use crate::ptrace;
use crate::storm::keepers::Keepers;
use std::io::{self, Read, Write};
use std::process::Command;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

/// Longer than this the whole does not take: somebody hangs.
const PATIENCE: u32 = 1800;

/// Starts it in a namespace.
pub(super) fn run(options: &Options) -> Done {
    let ring3 = match &options.ring3 {
        Some(given) => given.clone(),
        None => cargo::build_ring3()?,
    };
    let this = std::env::current_exe().map_err(|why| why.to_string())?;
    let mut command = Command::new(ring3);
    command.args(["run", "--quiet", "--"]).arg(this).args(["death-inside", "--broker"]);
    command.args(["--seed", &options.seed.to_string(), "--every", &options.every.to_string()]);
    if let Some(sample) = options.sample {
        command.args(["--sample", &sample.to_string()]);
    }
    let status = command.status().map_err(|why| why.to_string())?;
    if status.success() { Ok(()) } else { Err("a broker's death was noticed".to_owned()) }
}

/// Plays it there.
pub(super) fn inside(options: &Options) -> Done {
    // SAFETY: it takes a number: a player that hangs ends.
    unsafe { libc::alarm(PATIENCE) };
    let began = Instant::now();
    let mut keepers = Keepers::new()?;
    let whole = story::play();
    let (calls, again) = strike(&mut keepers, u64::MAX)?;
    if again.1 != whole {
        return Err(format!("traced, it is another story: {}", differences(&whole, &again.1)));
    }
    let (mut violations, mut missed) = (0, 0);
    let all: Vec<u64> = (1..=calls).step_by(options.every.max(1)).collect();
    let points = options.choose(all);
    for &point in &points {
        let (_, (killed, told)) = strike(&mut keepers, point)?;
        missed += usize::from(!killed);
        if told != whole {
            violations += 1;
            println!("killed at {point}: {}", differences(&whole, &told));
        }
    }
    println!(
        "broker: {calls} stops at system calls; killed at {}, {missed} not reached; {violations} violations; {:.0} s",
        points.len() - missed,
        began.elapsed().as_secs_f64()
    );
    if violations == 0 { Ok(()) } else { Err(format!("{violations} violations")) }
}

fn differences(whole: &Story, told: &Story) -> String {
    let differs = |((what, was), (_, is)): (&(&str, i64), &(&str, i64))| {
        (was != is).then(|| format!("{what}: {is}, not {was}"))
    };
    whole.0.iter().zip(&told.0).filter_map(differs).collect::<Vec<_>>().join("; ")
}

/// Plays the story while the broker is killed at a stop, if there are so many. Answers how many there were, whether it was killed, and the story.
fn strike(keepers: &mut Keepers, point: u64) -> Result<(u64, (bool, Story)), String> {
    let pair = keepers.await_pair().ok_or("nobody serves the namespace, or nobody keeps it")?;
    let tracer =
        Tracer::start(pair.broker, point).map_err(|why| format!("cannot trace the broker: {why}"))?;
    let told = story::play();
    let stops = tracer.end();
    Ok((stops, (stops >= point, told)))
}

/// A process that traces the broker.
struct Tracer {
    pid: i32,
    stops: &'static AtomicU64,
}

impl Tracer {
    /// Starts it; it has the broker in hand then.
    fn start(broker: i32, point: u64) -> io::Result<Tracer> {
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: new memory, which has room for a number.
        let stops: &'static AtomicU64 =
            unsafe { &*libc::mmap(std::ptr::null_mut(), 4096, prot, flags, -1, 0).cast() };
        let (mut ready, mut tell) = io::pipe()?;
        // SAFETY: this process has one thread; the child ends by _exit.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let traced = trace(broker, point, stops, &mut tell);
            // SAFETY: it takes a number.
            unsafe { libc::_exit(i32::from(traced.is_err())) };
        }
        drop(tell);
        let mut byte = [0];
        ready.read_exact(&mut byte)?;
        Ok(Tracer { pid, stops })
    }

    /// Ends it, and answers how many stops there were.
    fn end(self) -> u64 {
        let mut status = 0;
        // SAFETY: its own child, which nobody has waited for; the status outlives the call. What it traces goes on.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, &raw mut status, 0);
        }
        let stops = self.stops.load(SeqCst);
        // SAFETY: the mapping of start(), which nobody uses any more.
        unsafe { libc::munmap(std::ptr::from_ref(self.stops).cast_mut().cast(), 4096) };
        stops
    }
}

/// Stops the broker at each system call, and kills it at one.
fn trace(broker: i32, point: u64, stops: &AtomicU64, ready: &mut impl Write) -> io::Result<()> {
    ptrace::request(libc::PTRACE_SEIZE, broker, 0, libc::PTRACE_O_TRACESYSGOOD as u64)?;
    ptrace::request(libc::PTRACE_INTERRUPT, broker, 0, 0)?;
    let mut told = false;
    loop {
        let mut status = 0;
        // SAFETY: the status outlives the call.
        if unsafe { libc::waitpid(broker, &raw mut status, libc::__WALL) } < 0 {
            return Err(io::Error::last_os_error());
        }
        if !libc::WIFSTOPPED(status) {
            return Ok(());
        }
        let is_call = libc::WSTOPSIG(status) == libc::SIGTRAP | 0x80;
        if is_call && stops.fetch_add(1, SeqCst) + 1 == point {
            // SAFETY: it is traced, so its number is its own.
            unsafe { libc::kill(broker, libc::SIGKILL) };
            continue;
        }
        // A signal that came is delivered; the stop of a group, or one that was asked for, is none.
        let signal = if is_call || status >> 16 != 0 { 0 } else { libc::WSTOPSIG(status) };
        match ptrace::request(libc::PTRACE_SYSCALL, broker, 0, signal as u64) {
            Err(why) if why.raw_os_error() != Some(libc::ESRCH) => return Err(why),
            _ => {}
        }
        if !std::mem::replace(&mut told, true) {
            ready.write_all(&[1])?;
        }
    }
}
