//! The documentation as a book, built by mdbook where that can be had.

use super::setup;
use super::step::{Tally, command_done};
use crate::cargo::{self, Done};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Longest time that getting mdbook may take, in seconds.
const PATIENCE: &str = "600";

/// Builds the book.
pub(super) fn run(tally: &mut Tally) {
    tally.step_or_skip("book", || match mdbook() {
        Some(program) => build(&program).map(|()| None),
        None => Ok(Some("mdbook is not installed and cannot be fetched".to_owned())),
    });
}

/// mdbook of this machine, or one of our own below target.
fn mdbook() -> Option<PathBuf> {
    if setup::there("mdbook") {
        return Some(PathBuf::from("mdbook"));
    }
    let tools = cargo::root().join("target/tools");
    let program = tools.join("bin/mdbook");
    if !program.is_file() {
        let mut install = Command::new("timeout");
        install.args([
            PATIENCE,
            "cargo",
            "install",
            "mdbook",
            "--no-default-features",
            "--locked",
            "--quiet",
        ]);
        install.arg("--root").arg(&tools).stdout(Stdio::null()).stderr(Stdio::null());
        let _ = install.status();
    }
    program.is_file().then_some(program)
}

/// Builds it. mdbook says what it does on stderr; a page of the summary that is not there is an error.
fn build(program: &PathBuf) -> Done {
    let mut command = Command::new(program);
    command.arg("build").current_dir(cargo::root()).env("RUST_LOG", "warn");
    command_done(&mut command)
}
