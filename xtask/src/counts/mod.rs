//! `cargo xtask counts`: how many instructions a call takes, from the caller's call to its return.
//!
//! A process under `ring3 run` warms the call up and is then single-stepped through it by ptrace(2); each round of a repeating instruction counts
//! as one, as the CPU reports it. The same call takes the same number every time but for what depends on the second it is made in, so the count is
//! the most frequent one of `inside::ROUNDS` calls. Nobody else uses the object. `rows.rs` lists the calls; `docs/counts.txt` has the counts that were
//! agreed on and the targets; `inside.rs` steps; `profile.rs` says where the instructions go.
//!
//! What the kernel's vDSO takes (to tell the time) is another number with another kernel: it is shown and not compared.

mod inside;
mod ledger;
mod mapping;
mod profile;
mod rows;

use crate::cargo::{self, Done};
pub(crate) use inside::inside;
use ledger::{Count, Ledger};
use rows::ROWS;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What was asked for.
#[derive(Default)]
struct Options {
    /// The rows whose names begin so.
    only: Option<String>,
    /// Say where this row's instructions go.
    trace: Option<String>,
    /// Take what was counted for right.
    bless: bool,
    /// This ring3 instead of the release build.
    ring3: Option<PathBuf>,
}

/// Where the instructions of a row go.
pub(crate) fn profile_of(row: &str) -> Result<String, String> {
    traced(&cargo::build_ring3()?, row)
}

fn traced(ring3: &Path, row: &str) -> Result<String, String> {
    let agent = profile::agent()?;
    worker(ring3, &[row, &agent.to_string_lossy()])
}

/// Counts, and compares with what is written down.
pub(crate) fn run(arguments: &[String]) -> Done {
    let mut options = Options::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().cloned().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--only" => options.only = Some(value()?),
            "--trace" => options.trace = Some(value()?),
            "--ring3" => options.ring3 = Some(value()?.into()),
            "--bless" => options.bless = true,
            other => return Err(format!("counts: no option \"{other}\"")),
        }
    }
    let ring3 = match &options.ring3 {
        Some(given) => given.clone(),
        None => cargo::build_ring3()?,
    };
    if let Some(row) = &options.trace {
        println!("{}", traced(&ring3, row)?.trim_end());
        return Ok(());
    }
    let all: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
    let only = options.only.as_deref().unwrap_or_default();
    let names: Vec<&str> = all.iter().copied().filter(|name| name.starts_with(only)).collect();
    if names.is_empty() {
        return Err(format!("counts: no such row; there are {}", all.join(" ")));
    }
    let mut ledger = Ledger::read()?;
    let mut findings = Vec::new();
    println!("{:16} {:>7} {:>6} {:>8} {:>8} {:>8}", "row", "count", "vDSO", "calls", "before", "target");
    for name in &names {
        let counted = Count::parse(&worker(&ring3, &[name])?)?;
        let entry = ledger.entry(name);
        findings.extend(entry.judge(counted));
        println!("{}", entry.line(counted));
        if options.bless {
            ledger.set(name, counted);
        }
    }
    if options.bless {
        return ledger.write();
    }
    findings.extend(ledger.strangers(&all));
    cargo::verdict("counts", names.len(), "rows", &findings)
}

/// Starts a worker in a namespace of its own, on one CPU, and returns what it says.
fn worker(ring3: &Path, arguments: &[&str]) -> Result<String, String> {
    let this = std::env::current_exe().map_err(|why| why.to_string())?;
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "60"]).arg(ring3).args(["run", "--quiet", "--"]).arg(this);
    command.arg("counts-inside").args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(|why| format!("{}: {why}", ring3.display()))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(said) } else { Err(format!("{}: {}", output.status, said.trim())) }
}
