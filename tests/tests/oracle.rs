//! The oracle as a test: hand-written cases, some random scripts, and whether it can be trusted at all.

use ring3_tests::oracle::cases;
use ring3_tests::support;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

const ORACLE: &str = env!("CARGO_BIN_EXE_ring3-oracle");

/// Each run has the CPUs to itself: they are pinned and have real-time priority.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn oracle(arguments: &[&str]) {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let status = Command::new(ORACLE)
        .args(arguments)
        .env("RING3", support::ring3(Path::new(ORACLE)))
        .status()
        .expect("the oracle starts");
    assert!(status.success(), "ring3-oracle {} found differences", arguments.join(" "));
}

/// The kernel gives the same answers twice: what differs later is not the oracle's own noise.
#[test]
fn the_kernel_agrees_with_itself() {
    oracle(&["--twice", "--random", "--sequences", "200"]);
}

/// `$RING3_CASES` chooses by a part of the name.
#[test]
fn hand_written_cases() {
    oracle(&["--cases", &std::env::var("RING3_CASES").unwrap_or_default()]);
}

/// The same scripts in every run, so that a failure is this change's; `$RING3_SEED` tries others. The long run of
/// `cargo xtask oracle` takes a new seed each time and prints it.
#[test]
fn random_scripts() {
    let seed = std::env::var("RING3_SEED").unwrap_or_else(|_| "2".to_owned());
    oracle(&["--random", "--sequences", "400", "--seed", &seed]);
}

/// The table of deliberate differences and the cases that show them name the same rows.
#[test]
fn each_deviation_has_a_case_and_a_row() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/deviations.md");
    let table = std::fs::read_to_string(path).expect("docs/deviations.md");
    let row = |line: &str| line.strip_prefix("| `")?.split_once('`').map(|(key, _)| key.to_string());
    let rows: BTreeSet<String> = table.lines().filter_map(row).collect();
    let shown: BTreeSet<String> = cases::all().into_iter().filter_map(|case| case.deviates).collect();
    assert_eq!(rows, shown, "rows of docs/deviations.md, and cases that say `deviates`");
}
