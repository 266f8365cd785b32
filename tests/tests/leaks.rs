//! What a program leaves behind is named, and nothing of it remains on the machine.

use ring3_tests::oracle::{sys, watch};
use ring3_tests::support::{self, Scratch};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const LOAD: &str = env!("CARGO_BIN_EXE_ring3-load");

fn ring3(scratch: &Scratch) -> Command {
    let mut command = Command::new(support::ring3(Path::new(LOAD)));
    command.env("RING3_DIR", scratch.path());
    command
}

/// What could be left on the machine: the kernel's own objects, and files in /dev/shm.
fn machine() -> Vec<String> {
    let mut all: Vec<String> = ["msg", "sem", "shm"]
        .iter()
        .map(|kind| std::fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default())
        .flat_map(|text| {
            text.lines().skip(1).map(|l| l.split_whitespace().take(2).collect()).collect::<Vec<String>>()
        })
        .collect();
    for entry in std::fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        all.push(entry.path().display().to_string());
    }
    all
}

#[test]
fn each_object_left_is_named() {
    let scratch = Scratch::new("leaks");
    let before = machine();
    let output = ring3(&scratch)
        .args(["run", "--", "sh", "-c", "ipcmk -Q; ipcmk -S 3; ipcmk -M 4096"])
        .output()
        .expect("ring3 starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.lines().count(), 3, "one line for each object:\n{said}");
    assert!(said.contains("ipcmk"), "the creator's name:\n{said}");
    assert_eq!(machine(), before, "the machine's own objects");
    assert_eq!(scratch.files(), Vec::<std::path::PathBuf>::new(), "files in the run directory");
}

#[test]
fn a_clean_program_is_not_mentioned() {
    let scratch = Scratch::new("clean");
    let output = ring3(&scratch).args(["run", "--", LOAD, "semop", "1"]).output().expect("ring3 starts");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn quiet_says_nothing() {
    let scratch = Scratch::new("quiet");
    let output =
        ring3(&scratch).args(["run", "--quiet", "--", "ipcmk", "-Q"]).output().expect("ring3 starts");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// All descendants of a process, itself first.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(&next) = all.get(at) {
        all.extend(watch::children(next));
        at += 1;
    }
    all
}

#[test]
fn nothing_remains_after_sigkill_of_everything() {
    let scratch = Scratch::new("killed");
    let before = machine();
    let mut run = ring3(&scratch)
        .args(["run", "--", LOAD, "hold"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("ring3 starts");
    let mut line = String::new();
    BufReader::new(run.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    assert!(line.starts_with("holding"), "{line}");
    let family = family(run.id());
    let ends: Vec<_> = family.iter().map(|&pid| sys::pidfd(pid).expect("it is there")).collect();
    for pid in family {
        sys::kill(pid, libc::SIGKILL);
    }
    // A killed process that waits for a CPU still holds its namespace's lock.
    for end in &ends {
        assert!(sys::readable(end, Duration::from_secs(60)), "a killed process ends");
    }
    run.wait().expect("ring3 is reaped");
    assert_eq!(machine(), before, "the machine's own objects");
    let next = ring3(&scratch).args(["run", "--", "true"]).status().expect("ring3 starts");
    assert!(next.success());
    assert_eq!(
        scratch.files(),
        Vec::<std::path::PathBuf>::new(),
        "the next start clears what the dead one left"
    );
}
