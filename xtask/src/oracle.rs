//! `cargo xtask oracle`: the same calls on the kernel and on ring3.

use crate::cargo::{self, Done};

/// Builds both sides and runs the comparison.
pub(crate) fn run(arguments: &[String]) -> Done {
    let ring3 = cargo::build_ring3()?;
    let status = cargo::cargo()
        .args(["run", "--quiet", "--release", "--package", "ring3-tests", "--bin", "ring3-oracle", "--"])
        .args(arguments)
        .env("RING3", ring3)
        .status()
        .map_err(|why| format!("cannot run cargo: {why}"))?;
    if status.success() { Ok(()) } else { Err("the oracle found differences".to_owned()) }
}
