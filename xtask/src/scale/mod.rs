//! `cargo xtask scale`: as many objects as the limits allow, from a thousand processes, with few descriptors; the kernel beside it.
//!
//! `objects.rs` makes, opens and removes; `waiters.rs` has a thousand asleep on one semaphore; `memory.rs` measures the broker. docs/scale.md.

mod crowd;
mod memory;
mod objects;
mod report;
mod waiters;

use crate::cargo::{self, Done};
use objects::Counts;
use report::Report;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Descriptors that the broker, and everybody else, may have.
const DESCRIPTORS: u64 = 20_000;

/// What is played, of which `--part N` is the N-th part.
const WHOLE: Counts = Counts { processes: 1000, objects: [32_000, 32_000, 4096] };

/// What was asked for.
#[derive(Clone, Debug)]
struct Options {
    part: usize,
    ring3: Option<PathBuf>,
    /// Without the kernel's side.
    alone: bool,
    /// One half: `waiters` or `objects`.
    only: Option<String>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options { part: 1, ring3: None, alone: false, only: None };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--part" => options.part = value()?.parse().map_err(|_| "--part takes a number")?,
                "--ring3" => options.ring3 = Some(PathBuf::from(value()?)),
                "--only" => options.only = Some(value()?.clone()),
                "--alone" => options.alone = true,
                other => return Err(format!("scale: no option \"{other}\"")),
            }
        }
        options.part = options.part.max(1);
        Ok(options)
    }
}

/// Runs both sides and prints a table.
pub(crate) fn run(arguments: &[String]) -> Done {
    let options = Options::parse(arguments)?;
    let ring3 = match &options.ring3 {
        Some(given) => given.clone(),
        None => cargo::build_ring3()?,
    };
    let ours = play(&options, Some(&ring3))?;
    let kernel = if options.alone { None } else { Some(play(&options, None)?) };
    println!("{:62} {:>34} {:>34}", "", "ring3", "kernel");
    for (at, (name, value)) in ours.0.iter().enumerate() {
        let beside = kernel.as_ref().and_then(|(rows, _)| rows.get(at)).filter(|row| row.0 == *name);
        let beside = beside.map_or("", |row| row.1.as_str());
        println!("{name:62} {value:>34} {beside:>34}");
    }
    ours.1?;
    kernel.map_or(Ok(()), |(_, done)| done)
}

/// One side's rows, and whether all were reached.
fn play(options: &Options, ring3: Option<&Path>) -> Result<(Vec<(String, String)>, Done), String> {
    use std::os::unix::process::CommandExt;
    let this = std::env::current_exe().map_err(|why| why.to_string())?;
    let mut command = match ring3 {
        Some(ring3) => {
            let mut command = Command::new(ring3);
            command.args(["run", "--quiet", "--"]).arg(this);
            command
        }
        None => Command::new(this),
    };
    let native = ring3.is_none();
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(move || {
            let limit = libc::rlimit { rlim_cur: DESCRIPTORS, rlim_max: DESCRIPTORS };
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
            if native && libc::unshare(libc::CLONE_NEWIPC) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    command.args(["scale-inside", &options.part.to_string()]).args(&options.only);
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(|why| format!("cannot start: {why}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let rows = text.lines().filter_map(|line| line.split_once('\t'));
    let rows = rows.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let done =
        if output.status.success() { Ok(()) } else { Err("not everything could be measured".to_owned()) };
    Ok((rows, done))
}

/// Measures: `scale-inside PART [HALF]`.
pub(crate) fn inside(arguments: &[String]) -> Done {
    let part: usize = arguments.first().and_then(|word| word.parse().ok()).unwrap_or(1);
    let wants = |half: &str| arguments.get(1).is_none_or(|only| only == half);
    let counts =
        Counts { processes: WHOLE.processes / part, objects: WHOLE.objects.map(|count| count / part) };
    let mut report = Report;
    if wants("waiters") {
        waiters::run(counts.processes, &mut report).map_err(|why| format!("waiters: {why}"))?;
    }
    if wants("objects") {
        objects::run(counts, &mut report).map_err(|why| format!("objects: {why}"))?;
    }
    Ok(())
}
