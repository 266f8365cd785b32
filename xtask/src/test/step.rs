//! Steps of the test command: run, timed, counted.

use crate::cargo::{self, Done};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What has been run so far.
pub(super) struct Tally {
    only: Option<String>,
    passed: usize,
    failed: Vec<String>,
    skipped: usize,
}

impl Tally {
    /// Begins to count; `only` restricts the steps to those with that word in their name.
    pub(super) fn new(only: Option<String>) -> Tally {
        Tally { only, passed: 0, failed: Vec::new(), skipped: 0 }
    }

    /// Says whether a step of this name is to run.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }

    /// Counts a step that is left out, and says why.
    pub(super) fn skip(&mut self, name: &str, why: &str) {
        println!("-- {name}: left out: {why}");
        self.skipped += 1;
    }

    /// Runs a step.
    pub(super) fn step(&mut self, name: &str, work: impl FnOnce() -> Done) {
        self.step_or_skip(name, || work().map(|()| None));
    }

    /// Runs a step that may find out that it has to be left out: it answers why.
    pub(super) fn step_or_skip(&mut self, name: &str, work: impl FnOnce() -> Result<Option<String>, String>) {
        if !self.wants(name) {
            return;
        }
        println!("== {name}");
        let started = Instant::now();
        match work() {
            Ok(Some(why)) => self.skip(name, &why),
            done => self.note(name, started, done.map(|_| ())),
        }
    }

    /// Runs cargo.
    pub(super) fn cargo(&mut self, name: &str, arguments: &[&str], environment: &[(&str, &str)]) {
        self.step(name, || {
            let mut command = cargo::cargo();
            command.args(arguments).envs(environment.iter().copied());
            command_done(&mut command)
        });
    }

    /// Runs cargo's tests and counts each of them.
    pub(super) fn cargo_tests(&mut self, name: &str, arguments: &[&str]) {
        if !self.wants(name) {
            return;
        }
        println!("== {name}");
        let started = Instant::now();
        let mut command = cargo::cargo();
        command.args(arguments).arg("--no-fail-fast").stdout(Stdio::piped());
        let done = self.count(&mut command);
        self.note(name, started, done);
    }

    /// Runs a test command, passes its output on and adds up its result lines.
    fn count(&mut self, command: &mut Command) -> Done {
        let mut child = command.spawn().map_err(|why| format!("cannot run {command:?}: {why}"))?;
        let output = child.stdout.take().ok_or("no output")?;
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(rest) = line.strip_prefix("test result: ") {
                self.passed += number_before(rest, " passed");
                self.skipped += number_before(rest, " ignored");
            } else if line.ends_with("... FAILED") {
                self.failed.push(line.clone());
            }
            let noise = line.is_empty() || line.starts_with("running ") || line.ends_with("... ok");
            if !noise {
                println!("{line}");
            }
        }
        let status = child.wait().map_err(|why| why.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("{status}")) }
    }

    /// Counts a step that has run.
    fn note(&mut self, name: &str, started: Instant, done: Done) {
        let seconds = started.elapsed().as_secs_f64();
        match done {
            Ok(()) => {
                println!("-- {name}: ok ({seconds:.1} s)");
                self.passed += 1;
            }
            Err(why) => {
                println!("-- {name}: FAILED ({seconds:.1} s): {why}");
                self.failed.push(name.to_owned());
            }
        }
    }

    /// Prints the count as the last line.
    pub(super) fn close(self) -> Done {
        for name in &self.failed {
            println!("failed: {name}");
        }
        println!("{} passed, {} failed, {} skipped", self.passed, self.failed.len(), self.skipped);
        if self.failed.is_empty() { Ok(()) } else { Err("not everything passed".to_owned()) }
    }
}

/// Runs a command to its end.
pub(super) fn command_done(command: &mut Command) -> Done {
    let status = command.status().map_err(|why| format!("cannot run {command:?}: {why}"))?;
    if status.success() { Ok(()) } else { Err(format!("{status}")) }
}

/// Returns the number that stands before a word.
fn number_before(line: &str, word: &str) -> usize {
    let before = line.split(word).next().unwrap_or_default();
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn result_lines() {
        let line = "ok. 12 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(super::number_before(line, " passed"), 12);
        assert_eq!(super::number_before(line, " ignored"), 3);
    }
}
