//! `cargo xtask storm`: many processes do real work on shared objects while they, the broker and its keeper are killed.
//!
//! Everything in the objects is counted twice, in the objects and in a ledger that needs no System V call (`ledger.rs`): so what a dead
//! process has done, has not done, and may have done are told apart. `messages.rs`, `tokens.rs`, `pages.rs` and `names.rs` say what is
//! done and what must hold; `conductor.rs` kills and looks; this file starts it in a namespace. docs/reliability.md.

mod chance;
mod conductor;
pub(crate) mod keepers;
mod ledger;
mod messages;
mod names;
mod options;
mod pages;
mod probe;
mod tokens;
mod verdict;
mod worker;

use crate::cargo::{self, Done};
pub(crate) use chance::{Chance, mix};
use options::Options;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
pub(crate) use worker::again;

/// How much longer than asked for it may take, until somebody must hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// The word before a verdict that is good.
const CLEAN: &str = "clean";

/// Runs the storm, or says why it cannot be.
pub(crate) fn run(arguments: &[String]) -> Done {
    let mut options = Options::parse(arguments)?;
    if !options.native && options.ring3.is_none() {
        options.ring3 = Some(cargo::build_ring3()?);
    }
    if options.kills.broker {
        probe(&options, "broker")?;
    }
    if options.kills.keeper {
        probe(&options, "keeper")?;
    }
    let lines = play(&options, &[], options.time + PATIENCE)?;
    let clean = lines.last().is_some_and(|line| line == CLEAN);
    for line in lines.iter().filter(|line| *line != CLEAN) {
        println!("{line}");
    }
    if clean { Ok(()) } else { Err("the storm has left something wrong".to_owned()) }
}

/// Refuses to kill what the namespace does not survive.
fn probe(options: &Options, whom: &str) -> Done {
    let answer = play(options, &["--probe", whom], Duration::from_secs(20));
    match answer {
        Ok(lines) if lines.last().is_some_and(|line| line == CLEAN) => Ok(()),
        Ok(lines) => {
            let why = lines.last().cloned().unwrap_or_else(|| "the namespace ended".to_owned());
            Err(format!("--kill {whom}: {why}"))
        }
        Err(why) => Err(format!("--kill {whom}: the namespace does not survive it: {why}")),
    }
}

/// Plays it inside: `storm-inside OPTIONS…`.
pub(crate) fn inside(arguments: &[String]) -> Done {
    if let Some(at) = arguments.iter().position(|word| word == "--probe") {
        let survives = probe::run(arguments.get(at + 1).map_or("", String::as_str));
        println!("{}", survives.err().unwrap_or_else(|| CLEAN.to_owned()));
        return Ok(());
    }
    let options = Options::parse(arguments)?;
    let verdict = conductor::run(&options)?;
    println!("{}", verdict.line());
    if verdict.found() > 0 {
        return Err("the storm has left something wrong".to_owned());
    }
    println!("{CLEAN}");
    Ok(())
}

/// Starts the process inside and returns its lines. It may outlive `ring3 run`, which can be killed: what counts is that its output ends.
fn play(options: &Options, more: &[&str], time: Duration) -> Result<Vec<String>, String> {
    let mut child = start(options, more).map_err(|why| format!("cannot start: {why}"))?;
    let output = child.stdout.take().ok_or("no output")?;
    let (to, from) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    });
    let mut lines = Vec::new();
    let ended = loop {
        match from.recv_timeout(time) {
            Ok(line) => lines.push(line),
            Err(RecvTimeoutError::Disconnected) => break Ok(lines),
            Err(RecvTimeoutError::Timeout) => break Err("it does not end".to_owned()),
        }
    };
    if ended.is_err() {
        crate::family::kill(child.id());
    }
    let _ = child.wait();
    ended
}

fn start(options: &Options, more: &[&str]) -> std::io::Result<Child> {
    use std::os::unix::process::CommandExt;
    let this = std::env::current_exe()?;
    let mut command = match &options.ring3 {
        Some(ring3) if !options.native => {
            let mut command = Command::new(ring3);
            command.args(["run", "--quiet", "--"]).arg(this);
            command
        }
        _ => Command::new(this),
    };
    command.arg("storm-inside").args(more).args(options.words());
    if options.native {
        // SAFETY: between fork and exec only a system call is made.
        unsafe {
            command.pre_exec(|| match libc::unshare(libc::CLONE_NEWIPC) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()
}
