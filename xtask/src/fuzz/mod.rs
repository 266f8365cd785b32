//! `cargo xtask fuzz`: garbage that knows the formats, against the decoder, the engine and a namespace at work.
//!
//! `targets.rs` runs libFuzzer's targets (`fuzz/`), `live.rs` a hostile process beside honest ones. docs/security.md.

mod honest;
mod hostile;
mod live;
mod targets;

use crate::cargo::{self, Done};
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What was asked for.
#[derive(Clone, Debug)]
struct Options {
    time: Duration,
    ring3: Option<PathBuf>,
    /// One part: `live`, or a target.
    only: Option<String>,
    seed: u64,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options { time: Duration::from_secs(60), ring3: None, only: None, seed: 1 };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let value = words.next().ok_or(format!("{word} needs a value"))?;
            let number = || value.parse::<f64>().map_err(|_| format!("\"{value}\" is no number"));
            match word.as_str() {
                "--minutes" => options.time = Duration::from_secs_f64(60.0 * number()?.max(0.0)),
                "--seconds" => options.time = Duration::from_secs_f64(number()?.max(0.0)),
                "--seed" => options.seed = number()? as u64,
                "--only" => options.only = Some(value.clone()),
                "--ring3" => options.ring3 = Some(PathBuf::from(value)),
                other => return Err(format!("fuzz: no option \"{other}\"")),
            }
        }
        Ok(options)
    }

    fn wants(&self, part: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == part)
    }
}

/// Runs all parts, each for its share of the time.
pub(crate) fn run(arguments: &[String]) -> Done {
    let options = Options::parse(arguments)?;
    let wanted: Vec<&str> = targets::TARGETS.into_iter().filter(|part| options.wants(part)).collect();
    let missing = targets::missing().filter(|_| !wanted.is_empty());
    if let Some(why) = &missing {
        println!("fuzz: {} left out: {why}", wanted.join(", "));
    }
    let played = if missing.is_none() { wanted } else { Vec::new() };
    let live = options.wants("live");
    let share = options.time / (played.len() + usize::from(live)).max(1) as u32;
    for target in &played {
        targets::run(target, share)?;
    }
    match (live, played.is_empty()) {
        (true, _) => attack(&options, share),
        (false, false) => Ok(()),
        (false, true) => Err("fuzz: nothing was run".to_owned()),
    }
}

/// The live part, in a namespace of its own.
fn attack(options: &Options, time: Duration) -> Done {
    let ring3 = match &options.ring3 {
        Some(given) => given.clone(),
        None => cargo::build_ring3()?,
    };
    let this = std::env::current_exe().map_err(|why| why.to_string())?;
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", &(time.as_secs() + 60).to_string()]).arg(ring3);
    command.args(["run", "--quiet", "--"]).arg(this).arg("fuzz-inside");
    command.args([time.as_secs().max(1).to_string(), options.seed.to_string()]).stdin(Stdio::null());
    let status = command.status().map_err(|why| format!("cannot start: {why}"))?;
    if status.success() { Ok(()) } else { Err(format!("fuzz, live: {status}")) }
}

/// The live part: `fuzz-inside SECONDS SEED`.
pub(crate) fn inside(arguments: &[String]) -> Done {
    let number = |at: usize| arguments.get(at).and_then(|word| word.parse::<u64>().ok());
    let (Some(seconds), Some(seed)) = (number(0), number(1)) else { return Err("not for users".to_owned()) };
    let outcome = live::run(Duration::from_secs(seconds), seed).map_err(|why| why.to_string())?;
    for row in &outcome.rows {
        println!("fuzz: live: {row}");
    }
    println!(
        "fuzz: live: {} attacks, crashes {}, hangs {}, slowed {}",
        outcome.attacks, outcome.crashes, outcome.hangs, outcome.slowed
    );
    let good = outcome.crashes + outcome.hangs + outcome.slowed == 0;
    if good { Ok(()) } else { Err("an honest process has suffered".to_owned()) }
}

/// A child that does this and ends.
fn fork(work: impl FnOnce() -> io::Result<()>) -> io::Result<i32> {
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: prctl(2) with numbers: nobody goes on without the conductor.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let status = i32::from(work().is_err());
            // SAFETY: a forked process ends without what its parent has registered.
            unsafe { libc::_exit(status) }
        }
        pid => Ok(pid),
    }
}

/// Ends a child.
fn end(pid: i32) {
    // SAFETY: it is a child that has not been reaped.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        libc::waitpid(pid, std::ptr::null_mut(), 0);
    }
}
