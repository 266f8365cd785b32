//! A call on an open object makes no system call: between the marks of a hundred thousand pairs strace sees none.
//!
//! What a program does to open the object is not counted: it looks for the broker's answer as often as the machine lets it.

use ring3_tests::support::{self, Scratch};
use std::path::Path;
use std::process::Command;

const LOAD: &str = env!("CARGO_BIN_EXE_ring3-load");

/// What `ring3-load WHAT` tells the kernel between its marks, line by line, by strace.
fn calls(scratch: &Scratch, what: &str) -> Vec<String> {
    let trace = scratch.path().join(what);
    let status = Command::new(support::ring3(Path::new(LOAD)))
        .args(["run", "--", "strace", "-f", "-o"])
        .arg(&trace)
        .args([LOAD, what, "100000"])
        .env("RING3_DIR", scratch.path().join("run"))
        .status()
        .expect("ring3 starts");
    assert!(status.success(), "ring3-load {what} failed");
    let text = std::fs::read_to_string(trace).expect("strace's output");
    let parts: Vec<Vec<&str>> = text
        .lines()
        .collect::<Vec<_>>()
        .split(|line| line.contains("sched_get_priority_max("))
        .map(<[_]>::to_vec)
        .collect();
    let [_, between, _] = parts.as_slice() else { panic!("no two marks in {text}") };
    between.iter().map(|line| (*line).to_string()).collect()
}

fn none(what: &str) {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("left out: there is no strace here");
        return;
    }
    let calls = calls(&Scratch::new(what), what);
    assert!(calls.is_empty(), "{what}: {} system calls, the first: {:?}", calls.len(), calls.first());
}

#[test]
fn semop_pairs() {
    none("semop");
}

#[test]
fn message_pairs() {
    none("message");
}
