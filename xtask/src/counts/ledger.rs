//! docs/counts.txt: the counts that were agreed on, and the targets beside them.

use crate::cargo::{self, Done};
use std::path::PathBuf;

/// How far a count may be from what is written down, in percent, either way: what got better is written down too.
const SLACK: u64 = 3;

/// What the file begins with.
const HEAD: &str = "\
# Instructions of one call, from the caller's call to its return, when the object is in use already and nobody else wants it.
# `cargo xtask counts` counts and compares them (within 3 %), `cargo xtask counts --bless` writes them. vDSO: how many of them are
# the kernel's, not compared; calls: system calls, compared; target: the most that the design wants, `-` where it does not say.
";

/// What was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    /// All instructions.
    all: u64,
    /// Those of them in the vDSO.
    vdso: u64,
    /// System calls.
    calls: u64,
}

impl Count {
    /// Reads what a worker says.
    pub(super) fn parse(text: &str) -> Result<Count, String> {
        let numbers: Vec<u64> = text.split_whitespace().map_while(|word| word.parse().ok()).collect();
        match numbers[..] {
            [all, vdso, calls] => Ok(Count { all, vdso, calls }),
            _ => Err(format!("counts: a worker said {text:?}")),
        }
    }

    /// Those that are not the kernel's.
    fn own(self) -> u64 {
        self.all.saturating_sub(self.vdso)
    }
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    name: String,
    /// What was agreed on, if anything was.
    counted: Option<Count>,
    /// The most that the design wants.
    target: Option<u64>,
}

impl Entry {
    /// Reads a line: name, count, vDSO, calls, target.
    fn parse(line: &str) -> Result<Entry, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse().ok());
        let (Some(name), 5) = (words.first(), words.len()) else {
            return Err(format!("docs/counts.txt: {line:?} has no five columns"));
        };
        let counted = match (number(1), number(2), number(3)) {
            (Some(all), Some(vdso), Some(calls)) => Some(Count { all, vdso, calls }),
            _ => None,
        };
        Ok(Entry { name: (*name).to_owned(), counted, target: number(4) })
    }

    /// Says what is wrong with a new count.
    pub(super) fn judge(&self, now: Count) -> Option<String> {
        let name = &self.name;
        let Some(before) = self.counted else {
            return Some(format!("{name}: {} instructions; docs/counts.txt does not say how many", now.all));
        };
        let (was, is) = (before.own(), now.own());
        if now.calls != before.calls {
            return Some(format!("{name}: {} system calls, not {}", now.calls, before.calls));
        }
        if was.abs_diff(is) * 100 <= was * SLACK {
            return None;
        }
        let change = if is < was { "fewer: write it down with --bless" } else { "more" };
        Some(format!("{name}: {is} instructions of ours, not {was}: {change}"))
    }

    /// A line of the table.
    pub(super) fn line(&self, now: Count) -> String {
        let show = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
        let verdict = if self.target.is_some_and(|target| now.all <= target) { "reached" } else { "" };
        let (before, target) = (show(self.counted.map(|count| count.all)), show(self.target));
        let Count { all, vdso, calls } = now;
        format!("{:16} {all:>7} {vdso:>6} {calls:>8} {before:>8} {target:>8}  {verdict}", self.name)
            .trim_end()
            .to_owned()
    }

    /// The line of the file.
    fn text(&self) -> String {
        let show = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
        let count = self.counted;
        format!(
            "{:16} {:>7} {:>6} {:>6} {:>7}",
            self.name,
            show(count.map(|count| count.all)),
            show(count.map(|count| count.vdso)),
            show(count.map(|count| count.calls)),
            show(self.target)
        )
    }
}

/// The file.
pub(super) struct Ledger {
    entries: Vec<Entry>,
}

impl Ledger {
    /// Reads it.
    pub(super) fn read() -> Result<Ledger, String> {
        let text = std::fs::read_to_string(path()).map_err(|why| format!("{}: {why}", path().display()))?;
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        // The line of headings is no entry.
        Ok(Ledger { entries: lines.skip(1).map(Entry::parse).collect::<Result<_, _>>()? })
    }

    /// What is known about a row.
    pub(super) fn entry(&self, name: &str) -> Entry {
        let known = self.entries.iter().find(|entry| entry.name == name).cloned();
        known.unwrap_or(Entry { name: name.to_owned(), counted: None, target: None })
    }

    /// Takes a new count in, in the place of the old one.
    pub(super) fn set(&mut self, name: &str, count: Count) {
        let new = Entry { counted: Some(count), ..self.entry(name) };
        match self.entries.iter_mut().find(|entry| entry.name == name) {
            Some(old) => *old = new,
            None => self.entries.push(new),
        }
    }

    /// Complains about entries of rows that there are not.
    pub(super) fn strangers(&self, names: &[&str]) -> Vec<String> {
        let strange =
            self.entries.iter().map(|entry| &entry.name).filter(|name| !names.contains(&name.as_str()));
        strange.map(|name| format!("{name}: docs/counts.txt has it, and it is not counted")).collect()
    }

    /// Writes it.
    pub(super) fn write(&self) -> Done {
        let mut text =
            format!("{HEAD}{:16} {:>7} {:>6} {:>6} {:>7}\n", "row", "count", "vDSO", "calls", "target");
        self.entries.iter().for_each(|entry| text.extend([&entry.text(), "\n"]));
        std::fs::write(path(), text).map_err(|why| format!("{}: {why}", path().display()))
    }
}

/// Where it is.
fn path() -> PathBuf {
    cargo::root().join("docs/counts.txt")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an entry of 1,000 instructions, 100 of them in the vDSO, says to a new count.
    fn judged(now: &str) -> Option<String> {
        let entry = Entry::parse("row 1000 100 2 500").unwrap();
        entry.judge(Count::parse(now).unwrap())
    }

    #[test]
    fn three_percent_either_way_pass() {
        assert_eq!(judged("1027 100 2"), None);
        assert_eq!(judged("973 100 2"), None);
        assert!(judged("1028 100 2").is_some_and(|text| text.contains("more")));
        assert!(judged("972 100 2").is_some_and(|text| text.contains("--bless")));
    }

    #[test]
    fn the_vdso_does_not_count_and_system_calls_do() {
        assert_eq!(judged("1300 400 2"), None);
        assert!(judged("1000 100 3").is_some());
    }

    #[test]
    fn a_row_without_a_count_is_found() {
        let entry = Entry::parse("row - - - 500").unwrap();
        assert!(entry.judge(Count { all: 1, vdso: 0, calls: 0 }).is_some());
        assert_eq!(entry.text(), "row                    -      -      -     500");
        assert!(Entry::parse("row 1 2 3").is_err());
    }
}
