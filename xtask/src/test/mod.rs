//! `cargo xtask test`: everything that must pass, with its own set-up.
//!
//! As root on Debian it installs what the real programs need; elsewhere it says what is missing, runs the rest and
//! counts what it left out. The last line is `N passed, N failed, N skipped`.

mod book;
mod foreign;
mod programs;
mod setup;
mod step;

use crate::cargo::{self, Done};
use crate::{breaks, counts, death, layers, licences, model, oracle, permissions, so_check, storm, tidy};
use std::time::{SystemTime, UNIX_EPOCH};
use step::Tally;

/// Random sequences that the short oracle run tries, the same ones in every run: a failure is the change's, not the day's.
const SEQUENCES: &str = "1000";

/// Their seed.
const SEED: &str = "2";

/// Points that the short death run kills at.
const POINTS: &str = "1500";

/// The short run that kills the broker does so at one stop in so many.
const BROKER_POINTS: &str = "30";
/// How long the short storm takes.
const STORM: &str = "20";

/// Runs everything; `--quick` leaves out what takes minutes, `--only WORD` runs the steps with that word in their name.
pub(crate) fn run(arguments: &[String]) -> Done {
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let only = arguments.iter().position(|argument| argument == "--only");
    let mut tally = Tally::new(only.and_then(|at| arguments.get(at + 1)).cloned());
    for missing in setup::prepare() {
        tally.skip("set-up", &missing);
    }
    checks(&mut tally);
    tally.step("build ring3", || cargo::build_ring3().map(drop));
    tally.step("so-check", || so_check::run(&[]));
    tally.step("counts", || counts::run(&[]));
    tally.cargo_tests("tests", &["test", "--workspace"]);
    tally.cargo_tests("model", &model::TESTS);
    targets(&mut tally);
    if quick {
        tally.skip("aarch64, book, oracle, permissions, storm, death, programs", "--quick");
    } else {
        long(&mut tally);
    }
    tally.close()
}

/// What reads the code.
fn checks(tally: &mut Tally) {
    tally.cargo("format", &["fmt", "--all", "--check"], &[]);
    tally.cargo(
        "clippy",
        &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"],
        &[],
    );
    let model = [
        "clippy",
        "--package",
        "ring3-engine",
        "--all-targets",
        "--features",
        "model",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ];
    tally.cargo("clippy of the model", &model, &[]);
    let strict = [("RUSTDOCFLAGS", "-D warnings")];
    tally.cargo(
        "documentation",
        &["doc", "--workspace", "--no-deps", "--quiet", "--document-private-items"],
        &strict,
    );
    tally.step("tidy", tidy::run);
    tally.step("layers", layers::run);
    tally.step("licences", licences::run);
    tally.step("breaks", || breaks::run(&["--check".to_owned()]));
}

/// The bare crates on targets other than this machine's, where those can be had.
fn targets(tally: &mut Tally) {
    for target in ["x86_64-unknown-none", "aarch64-unknown-linux-gnu", "x86_64-unknown-linux-musl"] {
        let name = format!("check for {target}");
        if !tally.wants(&name) {
            continue;
        }
        if !setup::target(target) {
            tally.skip(&name, "rustup has no such target here and cannot fetch it");
            continue;
        }
        let mut arguments = vec!["check", "--quiet", "--target", target];
        for package in ["ring3-abi", "ring3-engine", "ring3-wire"] {
            arguments.extend(["--package", package]);
        }
        tally.cargo(&name, &arguments, &[]);
    }
}

/// What takes minutes.
fn long(tally: &mut Tally) {
    foreign::run(tally);
    book::run(tally);
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs()).to_string();
    let words = |list: &[&str]| -> Vec<String> { list.iter().map(|word| (*word).to_owned()).collect() };
    tally.step("oracle", || oracle::run(&words(&["--random", "--sequences", SEQUENCES, "--seed", SEED])));
    tally.step("permissions", || permissions::run(&words(&["--short"])));
    tally.step("death of the broker", || death::run(&words(&["--broker", "--every", BROKER_POINTS])));
    tally.step("storm", || storm::run(&words(&["--seconds", STORM, "--kill", "clients,broker,keeper"])));
    tally
        .step(&format!("death (seed {seed})"), || death::run(&words(&["--sample", POINTS, "--seed", &seed])));
    programs::run(tally);
}
