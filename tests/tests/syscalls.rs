//! A call on an open object makes no system call: a million pairs make no more than a thousand do.

use ring3_tests::support::{self, Scratch};
use std::path::Path;
use std::process::Command;

const LOAD: &str = env!("CARGO_BIN_EXE_ring3-load");

/// System calls of everything under `ring3 run -- ring3-load WHAT TIMES`, by strace's count.
fn calls(scratch: &Scratch, what: &str, times: &str) -> u64 {
    let summary = scratch.path().join(format!("{what}-{times}"));
    let status = Command::new("strace")
        .args(["-f", "-c", "-o"])
        .arg(&summary)
        .arg(support::ring3(Path::new(LOAD)))
        .args(["run", "--", LOAD, what, times])
        .env("RING3_DIR", scratch.path().join("run"))
        .status()
        .expect("strace starts");
    assert!(status.success(), "ring3-load {what} {times} failed");
    let text = std::fs::read_to_string(summary).expect("strace's summary");
    let total = text
        .lines()
        .last()
        .and_then(|line| line.split_whitespace().nth(3))
        .and_then(|calls| calls.parse().ok());
    total.unwrap_or_else(|| panic!("no total in {text}"))
}

fn flat(what: &str) {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("left out: there is no strace here");
        return;
    }
    let scratch = Scratch::new(what);
    let (few, many) = (calls(&scratch, what, "1000"), calls(&scratch, what, "1000000"));
    eprintln!("{what}: {few} system calls for a thousand pairs, {many} for a million");
    assert!(many < few + 1000, "{what}: {few} system calls became {many}");
}

#[test]
fn semop_pairs() {
    flat("semop");
}

#[test]
fn message_pairs() {
    flat("message");
}
