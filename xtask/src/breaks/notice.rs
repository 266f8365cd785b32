//! What must notice a break: a test, a model, a command of xtask, a C program; built and run in the copy.
//!
//! A copy that cannot be built notices nothing: that is an error. So everything is built first, and only the run may fail.

use super::tree::Tree;
use std::fmt;
use std::process::Command;

/// Longest time for one run, seconds. Who is stuck so long has noticed: everything here takes less on the whole tree.
const PATIENCE: &str = "900";
/// How many of a run's last lines are shown, of its output and of its complaints.
const SHOWN: usize = 3;
/// The exit status of a script that could not run.
const LEFT_OUT: i32 = 77;

/// A command that must fail.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// Tests of a package whose names begin so: its target (`--lib`, `--test=life`), the names.
    Test { package: &'static str, target: &'static str, name: &'static str },
    /// A model of the engine.
    Model(&'static str),
    /// A command of xtask with its options.
    Xtask(&'static str),
    /// A C program of tests/programs, under `ring3 run`.
    Program(&'static str),
}

/// What came of a run; of one that failed, its last lines.
#[derive(Debug)]
pub(super) enum Said {
    Passed,
    Failed(String),
}

impl Notice {
    /// Builds what it needs and runs it. # Errors: it could not be built, or not be run here.
    pub(super) fn run(&self, tree: &Tree) -> Result<Said, String> {
        for mut build in self.builds(tree) {
            let output = build.output().map_err(|why| format!("cannot run {build:?}: {why}"))?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                return Err(format!("does not build:\n{}", last(&said)));
            }
        }
        let mut run = self.command(tree);
        let output = run.output().map_err(|why| format!("cannot run {run:?}: {why}"))?;
        let [said, also] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        match output.status.code() {
            Some(0) if self.ran_nothing(&said) => Err("there is no such test".to_owned()),
            Some(0) => Ok(Said::Passed),
            Some(LEFT_OUT) => Err(format!("cannot be run here: {}", last(&said))),
            _ => Ok(Said::Failed(format!("{}\n{}", last(&said), last(&also)))),
        }
    }

    /// Whether a run that has passed was one of no test at all.
    fn ran_nothing(&self, said: &str) -> bool {
        matches!(self, Notice::Test { .. } | Notice::Model(_)) && said.contains("\nrunning 0 tests")
    }

    /// What is built before.
    fn builds(&self, tree: &Tree) -> Vec<Command> {
        let cargo = |arguments: &[&str]| {
            let mut command = tree.cargo();
            command.args(arguments);
            command
        };
        let ring3 = || cargo(&["build", "--release", "--package", "ring3-cli"]);
        match self {
            Notice::Test { package, target, .. } => {
                vec![cargo(&["test", "--quiet", "--no-run", "--package", package, target])]
            }
            Notice::Model(_) => vec![cargo(&[&MODEL[..], &["--no-run"]].concat())],
            Notice::Xtask(_) => vec![cargo(&["build", "--package", "xtask"]), ring3()],
            Notice::Program(_) => vec![ring3()],
        }
    }

    fn command(&self, tree: &Tree) -> Command {
        let cargo = |arguments: &[&str]| {
            let mut command = tree.timed(PATIENCE, "cargo");
            command.args(arguments);
            command
        };
        match self {
            Notice::Test { package, target, name } => {
                cargo(&["test", "--quiet", "--package", package, target, "--", name])
            }
            Notice::Model(name) => cargo(&[&MODEL[..], &["--", &format!("model::{name}")]].concat()),
            Notice::Xtask(line) => {
                let mut command = tree.timed(PATIENCE, tree.target().join("debug/xtask"));
                command.args(line.split(' '));
                command
            }
            Notice::Program(name) => {
                let mut command = tree.timed(PATIENCE, "bash");
                command.args(["tests/programs/agent.sh", name]);
                command.env("RUN", format!("{} run --", tree.target().join("release/ring3").display()));
                command
            }
        }
    }
}

/// How a model is run.
const MODEL: [&str; 7] = ["test", "--quiet", "--package", "ring3-engine", "--features", "model", "--lib"];

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Test { package, target, name } => write!(f, "cargo test -p {package} {target} {name}"),
            Notice::Model(name) => write!(f, "cargo xtask model: {name}"),
            Notice::Xtask(line) => write!(f, "cargo xtask {line}"),
            Notice::Program(name) => write!(f, "tests/programs/{name}.c"),
        }
    }
}

/// A text's last lines, those that say something.
fn last(text: &str) -> String {
    let noise = ["RUST_BACKTRACE", "error: test failed, to rerun"];
    let telling = |line: &&str| !line.trim().is_empty() && !noise.iter().any(|noise| line.contains(noise));
    let lines: Vec<&str> = text.lines().filter(telling).collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}
