//! Cargo and its metadata, and where things are.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a command of this crate returns: nothing, or what to tell the user.
pub(crate) type Done = Result<(), String>;

/// Returns the root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Returns a cargo command that runs in the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // What `cargo run` told this process about this package is not true of others.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_PKG_VERSION", "CARGO_MANIFEST_PATH"] {
        command.env_remove(name);
    }
    command
}

/// Asks cargo for the metadata of the workspace; `deps` includes everything that it depends on.
pub(crate) fn metadata(deps: bool) -> Result<Value, String> {
    let mut command = cargo();
    command.args(["metadata", "--format-version", "1"]);
    if !deps {
        command.arg("--no-deps");
    }
    let output = command.output().map_err(|why| format!("cannot run cargo: {why}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).map_err(|why| format!("cargo metadata is not JSON: {why}"))
}

/// Returns cargo's target directory.
pub(crate) fn target_dir() -> PathBuf {
    if let Some(set) = std::env::var_os("CARGO_TARGET_DIR") {
        return root().join(set);
    }
    root().join("target")
}

/// Returns where the release build of the command is (it may not have been built yet).
pub(crate) fn ring3() -> PathBuf {
    target_dir().join("release/ring3")
}

/// Builds the release command and returns where it is.
pub(crate) fn build_ring3() -> Result<PathBuf, String> {
    let status = cargo()
        .args(["build", "--release", "--package", "ring3-cli"])
        .status()
        .map_err(|why| format!("cannot run cargo: {why}"))?;
    if status.success() { Ok(ring3()) } else { Err("building ring3 failed".to_owned()) }
}

/// Returns an error that lists the findings, if there are any; otherwise prints that there are none.
pub(crate) fn verdict(name: &str, looked_at: usize, what: &str, findings: &[String]) -> Done {
    if findings.is_empty() {
        println!("{name}: {looked_at} {what}, nothing found");
        return Ok(());
    }
    Err(format!("{name}: {} found\n  {}", findings.len(), findings.join("\n  ")))
}
