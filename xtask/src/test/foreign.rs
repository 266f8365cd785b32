//! The bare crates' tests on a machine other than this one: aarch64, under qemu-user.
//!
//! It shows that the instructions in `os/src/arch` do what they say, and that nothing else knows its machine. What it cannot show: qemu's
//! memory is ordered as this machine's is, so a missing barrier is not found here.

use super::setup;
use super::step::Tally;

const TARGET: &str = "aarch64-unknown-linux-gnu";

/// Crates with tests that need neither another process of ring3's nor this machine.
const PACKAGES: [&str; 5] = ["ring3-abi", "ring3-os", "ring3-engine", "ring3-wire", "ring3-calls"];

/// Tests of what qemu-user does not have: ptrace (deaths at every store), get_robust_list, tasks with part of a thread's state, and before 8.2 a vDSO.
const NOT_THERE: [&str; 6] = [
    "::death::",
    "ended::at_any_moment_of_a_sleep",
    "ended::met_by_one_who_dies",
    "the_kernel_marks_",
    "task::tests::",
    "vdso::tests::has_both_functions",
];

/// Longest time for one test program, in seconds; they take three.
const PATIENCE: &str = "60";

/// Runs them, where compiler and emulator can be had.
pub(super) fn run(tally: &mut Tally) {
    let name = "tests on aarch64";
    if !tally.wants(name) {
        return;
    }
    if !setup::target(TARGET) {
        tally.skip(name, "rustup has no such target here and cannot fetch it");
        return;
    }
    let missing = setup::prepare_foreign();
    if !missing.is_empty() {
        tally.skip(name, &missing.join(", "));
        return;
    }
    let linker = format!("target.{TARGET}.linker = \"aarch64-linux-gnu-gcc\"");
    let runner = format!("target.{TARGET}.runner = [\"sh\", \"-c\", '{}']", script());
    let mut arguments = vec!["test", "--lib", "--tests", "--target", TARGET];
    arguments.extend(["--config", &linker, "--config", &runner]);
    for package in PACKAGES {
        arguments.extend(["--package", package]);
    }
    tally.cargo_tests(name, &arguments);
}

/// What cargo puts before a test program and its arguments.
fn script() -> String {
    let skipped: String = NOT_THERE.iter().map(|test| format!(" --skip {test}")).collect();
    let qemu = "qemu-aarch64 -L /usr/aarch64-linux-gnu";
    format!("exec timeout --kill-after=5 {PATIENCE} {qemu} \"$0\" \"$@\"{skipped}")
}
