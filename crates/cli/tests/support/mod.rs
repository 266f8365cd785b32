//! The built command in a directory of its own.

// Each test file is a program that uses a part of this.
#![allow(dead_code)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A place for namespaces that goes with the test.
pub(crate) struct Place(TempDir);

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    /// Exit status; `None` after a signal.
    pub(crate) status: Option<i32>,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { status: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

impl Said {
    /// Checks how it ended, and shows everything if it did not so.
    #[track_caller]
    pub(crate) fn status(self, expected: i32) -> Said {
        assert_eq!(self.status, Some(expected), "{self:#?}");
        self
    }
}

impl Place {
    /// Makes one; the path is short, because a socket's must be.
    pub(crate) fn new() -> Place {
        Place(tempfile::Builder::new().prefix("r3-").tempdir_in("/tmp").expect("a directory in /tmp"))
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The command, about to be run here.
    pub(crate) fn ring3(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ring3"));
        command.args(args).env("RING3_DIR", self.path()).stdin(Stdio::null());
        for name in ["LD_PRELOAD", "RING3_SOCKET", "RING3_LIB", "RING3_NS", "RING3_LOG", "NOTIFY_SOCKET"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs the command here.
    pub(crate) fn run(&self, args: &[&str]) -> Said {
        self.ring3(args).output().expect("ring3 starts").into()
    }

    /// What is in the directory now.
    pub(crate) fn entries(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).expect("the directory is there");
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Place {
    /// A test that failed half-way must not leave its namespaces serving.
    fn drop(&mut self) {
        for name in self.entries().iter().filter(|name| self.path().join(name).is_dir()) {
            let _ = self.ring3(&["stop", name]).stderr(Stdio::null()).status();
        }
    }
}

/// Waits until `what` is so; gives up after a time that no slow machine needs.
#[track_caller]
pub(crate) fn until(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(30), "it did not happen in 30 s");
        thread::yield_now();
    }
}
