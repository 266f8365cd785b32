//! Real programs under `ring3 run`: one shell script each, in tests/programs.
//!
//! A script gets the command before the program in `$RUN`. It exits with 0 when it passed and with 77 when what it
//! needs is not here, saying what.

use super::step::Tally;
use crate::cargo;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The exit status of a script that could not run.
const LEFT_OUT: i32 = 77;

/// Longest time for one script, in seconds.
const PATIENCE: &str = "180";

/// Runs every script.
pub(super) fn run(tally: &mut Tally) {
    for script in scripts() {
        let name = script.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        tally.step_or_skip(&format!("program {name}"), || play(&script));
    }
}

/// Runs one script; answers what it lacks, if it lacks something.
fn play(script: &Path) -> Result<Option<String>, String> {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", PATIENCE, "bash"]).arg(script);
    command.env("RUN", format!("{} run --", cargo::ring3().display()));
    let output = command.output().map_err(|why| why.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    match output.status.code() {
        Some(0) => Ok(None),
        Some(LEFT_OUT) => Ok(Some(said.trim().to_owned())),
        _ => {
            let text = said + String::from_utf8_lossy(&output.stderr);
            Err(format!("{}\n{}", output.status, tail(&text)))
        }
    }
}

/// Returns the scripts by name; lib.sh is what they share.
fn scripts() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(cargo::root().join("tests/programs")) else { return Vec::new() };
    let mut scripts: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    scripts.retain(|path| path.extension().is_some_and(|end| end == "sh") && !path.ends_with("lib.sh"));
    scripts.sort();
    scripts
}

/// Returns the last lines of a text.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
