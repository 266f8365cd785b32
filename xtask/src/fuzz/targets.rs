//! libFuzzer's targets in `fuzz/`, run by cargo-fuzz with a nightly compiler, where those can be had.

use crate::cargo;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The targets.
pub(super) const TARGETS: [&str; 3] = ["wire", "queue", "set"];
/// A run of one input that takes longer hangs, seconds.
const HANG: u32 = 10;

/// Why they cannot be run here.
pub(super) fn missing() -> Option<String> {
    let works = |arguments: &[&str]| {
        let mut command = Command::new("cargo");
        command.args(arguments).env("PATH", path()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !works(&["+nightly", "--version"]) {
        return Some("no nightly compiler: rustup toolchain install nightly".to_owned());
    }
    (!works(&["+nightly", "fuzz", "--version"]))
        .then(|| "no cargo-fuzz: cargo install cargo-fuzz --root target/tools".to_owned())
}

/// Programs of this machine, and those that were installed below target.
fn path() -> String {
    let tools = cargo::root().join("target/tools/bin");
    format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default())
}

/// Runs one for a while; whether it found nothing.
pub(super) fn run(target: &str, time: Duration) -> Result<(), String> {
    // What was found lately is kept below target, beside the seeds that are the repository's.
    let found = cargo::target_dir().join("fuzz").join(target);
    std::fs::create_dir_all(&found).map_err(|why| format!("cannot make {}: {why}", found.display()))?;
    let seeds = cargo::root().join("fuzz/seeds").join(target);
    let mut fuzz = Command::new("rustup");
    fuzz.args(["run", "nightly", "cargo", "fuzz", "run", target]).arg(found).arg(seeds).arg("--");
    fuzz.args([
        format!("-max_total_time={}", time.as_secs().max(1)),
        format!("-timeout={HANG}"),
        "-max_len=2048".to_owned(),
        "-print_final_stats=1".to_owned(),
    ]);
    // What cargo told this command about itself and its compiler is not true of the targets.
    for name in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "CARGO_TARGET_DIR"] {
        fuzz.env_remove(name);
    }
    let output = fuzz
        .current_dir(cargo::root())
        .env("PATH", path())
        .stdin(Stdio::null())
        .output()
        .map_err(|why| format!("cannot run cargo fuzz: {why}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        let runs = text.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
        println!("fuzz: {target}: {} inputs, nothing found", runs.unwrap_or("?").trim());
        return Ok(());
    }
    let lines: Vec<&str> = text.lines().collect();
    Err(format!("{target}: {}\n{}", output.status, lines[lines.len().saturating_sub(30)..].join("\n")))
}
