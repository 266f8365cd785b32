//! `cargo xtask performance`: measures and writes the tables and plots of docs/performance.md: what is between its markers is this command's, the rest
//! is people's.
//!
//! | what | from |
//! | --- | --- |
//! | rows, and what the machine itself takes | `ring3 bench --json`: both sides in turn |
//! | where the instructions of a call go | `cargo xtask counts --trace` |

mod figures;
mod page;
mod plot;

use crate::cargo::{self, Done};
use crate::counts;
use figures::Figures;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The calls whose instructions are told one by one.
const TOLD: [&str; 5] = ["semop-down", "undo-down", "msgsnd-64", "msgrcv-64", "shm-stat"];

/// What was asked for.
struct Options {
    rounds: u32,
    time: u32,
    /// What an earlier run has measured, instead of a new one.
    from: Option<PathBuf>,
    /// Where the measurements go, for later.
    to: Option<PathBuf>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options { rounds: 7, time: 100, from: None, to: None };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let value = rest.next().ok_or_else(|| format!("performance: {argument} needs a value"))?;
            let number = || value.parse().map_err(|_| format!("performance: {argument} {value}: no number"));
            match argument.as_str() {
                "--rounds" => options.rounds = number()?,
                "--time" => options.time = number()?,
                "--from" => options.from = Some(value.into()),
                "--to" => options.to = Some(value.into()),
                other => return Err(format!("performance: no option \"{other}\"")),
            }
        }
        Ok(options)
    }
}

/// Measures and writes.
pub(crate) fn run(arguments: &[String]) -> Done {
    let options = Options::parse(arguments)?;
    let json = match &options.from {
        Some(path) => std::fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))?,
        None => measure(&options)?,
    };
    if let Some(path) = &options.to {
        write(path, &json)?;
    }
    let figures = Figures::parse(&json)?;
    let docs = cargo::root().join("docs");
    write(&docs.join("performance/ratios.svg"), &plot::ratios(&figures)?)?;
    let path = docs.join("performance.md");
    let mut page = page::Page::read(&path)?;
    page.put("machine", &figures.machine_table())?;
    page.put("rows", &figures.table())?;
    for row in TOLD {
        page.put(row, &told(row)?)?;
    }
    write(&path, page.text())
}

fn measure(options: &Options) -> Result<String, String> {
    let mut bench = Command::new(cargo::build_ring3()?);
    bench.args([
        "bench",
        "--json",
        "--rounds",
        &options.rounds.to_string(),
        "--time",
        &options.time.to_string(),
    ]);
    let out = bench.stderr(Stdio::inherit()).output().map_err(|why| format!("ring3 bench: {why}"))?;
    // A row that failed is in the figures, and said there.
    String::from_utf8(out.stdout).map_err(|why| why.to_string())
}

/// Where the instructions of a call go: the functions that take the most.
fn told(row: &str) -> Result<String, String> {
    let profile = counts::profile_of(row)?;
    let mut lines = profile.lines().take_while(|line| *line != "by line");
    let head = lines.next().unwrap_or_default();
    let all: Vec<&str> = lines.filter(|line| !line.trim().is_empty()).collect();
    let shown: Vec<&str> = all.iter().copied().take(12).collect();
    Ok(format!(
        "```\n{head}\n{}\n… and {} more\n```\n",
        shown.join("\n"),
        all.len().saturating_sub(shown.len())
    ))
}

fn write(path: &std::path::Path, text: &str) -> Done {
    std::fs::write(path, text).map_err(|why| format!("{}: {why}", path.display()))
}
