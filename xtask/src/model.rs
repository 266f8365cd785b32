//! `cargo xtask model`: the engine under a scheduler that decides who runs (crates/engine/src/testing/model).

use crate::cargo::{self, Done};

/// The test command.
pub(crate) const TESTS: [&str; 7] =
    ["test", "--package", "ring3-engine", "--features", "model", "--lib", "model::"];

/// Runs the models; `--rounds N` tries so many schedules of each kind instead of a few hundred.
pub(crate) fn run(arguments: &[String]) -> Done {
    let mut command = cargo::cargo();
    command.args(TESTS);
    match arguments {
        [] => {}
        [option, rounds] if option == "--rounds" && rounds.parse::<u32>().is_ok() => {
            command.env("RING3_MODEL_ROUNDS", rounds);
        }
        _ => return Err("usage: cargo xtask model [--rounds N]".to_owned()),
    }
    let status = command.status().map_err(|why| format!("cannot run cargo: {why}"))?;
    if status.success() { Ok(()) } else { Err("a model failed".to_owned()) }
}
