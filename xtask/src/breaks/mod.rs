//! `cargo xtask breaks`: takes one promise at a time out of a copy of the tree, and looks whether anything notices.
//!
//! `list.rs` has the breaks, each with the command that must fail; `tree.rs` is the copy; `notice.rs` builds and runs there. A command that
//! fails on the whole tree, too, notices nothing, so each is run there first. docs/reliability.md has what came of it.

mod list;
mod notice;
mod tree;

use crate::cargo::{self, Done};
use list::BREAKS;
use notice::{Notice, Said};
use std::time::Instant;
use tree::Tree;

/// A promise taken out: a text in a source file, and what stands there instead.
#[derive(Debug)]
struct Break {
    name: &'static str,
    /// What does not hold any more.
    promise: &'static str,
    /// The file, from the root.
    file: &'static str,
    /// What is there, once.
    text: &'static str,
    with: &'static str,
    /// What must fail.
    notice: Notice,
}

impl Break {
    /// What the file is with the promise taken out. # Errors: the text is not there, or more than once: the break must be written anew.
    fn of(&self, source: &str) -> Result<String, String> {
        match source.matches(self.text).count() {
            1 if self.text != self.with => Ok(source.replacen(self.text, self.with, 1)),
            1 => Err(format!("{}: changes nothing", self.name)),
            count => Err(format!("{}: its text is {count} times in {}", self.name, self.file)),
        }
    }
}

/// What was asked for.
#[derive(Debug, Default)]
struct Options {
    /// These alone, by name.
    only: Option<String>,
    list: bool,
    /// Says only whether each break's text is there.
    check: bool,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--only" => options.only = Some(words.next().ok_or("--only needs a name")?.clone()),
                "--list" => options.list = true,
                "--check" => options.check = true,
                other => return Err(format!("breaks: no option \"{other}\"")),
            }
        }
        Ok(options)
    }

    /// The breaks that are wanted; a name that ends in a star stands for all that begin so.
    fn wanted(&self) -> Vec<&'static Break> {
        let meant = |name: &str, word: &str| {
            name == word || word.strip_suffix('*').is_some_and(|opening| name.starts_with(opening))
        };
        let all = BREAKS.iter();
        all.filter(|broken| {
            self.only.as_ref().is_none_or(|only| only.split(',').any(|word| meant(broken.name, word)))
        })
        .collect()
    }
}

/// Runs them.
pub(crate) fn run(arguments: &[String]) -> Done {
    let options = Options::parse(arguments)?;
    let wanted = options.wanted();
    if wanted.is_empty() {
        return Err("no such break; --list says which there are".to_owned());
    }
    if options.list {
        for broken in wanted {
            println!("{:31} {}\n{:31} {}", broken.name, broken.promise, "", broken.notice);
        }
        return Ok(());
    }
    check(&wanted)?;
    if options.check {
        return Ok(());
    }
    let tree = Tree::renewed()?;
    whole(&tree, &wanted)?;
    let overlooked: Vec<&str> =
        wanted.iter().filter_map(|broken| (!try_one(&tree, broken)).then_some(broken.name)).collect();
    println!("{} breaks, {} not noticed", wanted.len(), overlooked.len());
    if overlooked.is_empty() { Ok(()) } else { Err(format!("not noticed: {}", overlooked.join(", "))) }
}

/// Whether each break's text is in its file, once.
fn check(wanted: &[&Break]) -> Done {
    let source = |broken: &Break| {
        let path = cargo::root().join(broken.file);
        std::fs::read_to_string(&path).map_err(|why| format!("{}: {}: {why}", broken.name, broken.file))
    };
    let wrong = |broken: &&Break| source(broken).and_then(|source| broken.of(&source)).err();
    let findings: Vec<String> = wanted.iter().filter_map(wrong).collect();
    cargo::verdict("breaks", wanted.len(), "breaks", &findings)
}

/// Nothing is noticed where nothing is broken.
fn whole(tree: &Tree, wanted: &[&Break]) -> Done {
    let mut seen: Vec<&Notice> = Vec::new();
    for broken in wanted {
        if seen.contains(&&broken.notice) {
            continue;
        }
        seen.push(&broken.notice);
        let said = broken.notice.run(tree).map_err(|why| format!("{}: {why}", broken.notice))?;
        match said {
            Said::Passed => {}
            Said::Failed(lines) => {
                return Err(format!("{} fails on the whole tree:\n{lines}", broken.notice));
            }
        }
    }
    println!("breaks: {} commands pass on the whole tree", seen.len());
    Ok(())
}

/// Breaks it and looks; whether it was noticed.
fn try_one(tree: &Tree, broken: &Break) -> bool {
    let started = Instant::now();
    let said = tree.broken(broken, || broken.notice.run(tree));
    let (noticed, verdict, lines) = match said {
        Ok(Said::Failed(lines)) => (true, "noticed", lines),
        Ok(Said::Passed) => (false, "NOT NOTICED", String::new()),
        Err(why) => (false, "NOT TRIED", why),
    };
    println!("{:31} {verdict} ({:.0} s) by {}", broken.name, started.elapsed().as_secs_f64(), broken.notice);
    for line in lines.lines() {
        println!("    {line}");
    }
    noticed
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: Break = Break {
        name: "sample",
        promise: "",
        file: "",
        text: "a();",
        with: "b();",
        notice: Notice::Xtask("tidy"),
    };

    #[test]
    fn a_text_is_replaced_if_it_is_there_once() {
        assert_eq!(SAMPLE.of("x(); a(); y();"), Ok("x(); b(); y();".to_owned()));
        assert!(SAMPLE.of("x();").is_err());
        assert!(SAMPLE.of("a(); a();").is_err());
        assert!(Break { with: "a();", ..SAMPLE }.of("a();").is_err());
    }

    #[test]
    fn names_are_told_apart() {
        let mut names: Vec<&str> = BREAKS.iter().map(|broken| broken.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), BREAKS.len());
    }
}
