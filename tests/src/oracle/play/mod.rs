//! Plays a script: hands each call to its worker, waits until nothing moves any more, writes down what happened.
//!
//! # Invariants
//! I1. A step is over when every busy worker has answered or provably sleeps (`watch`); only then is it written down.
//! I2. Nothing depends on time: short timeouts are waited out, signals are seen handled, deaths are reaped.

mod arguments;
mod event;
mod process;
mod quiet;
mod record;

use self::process::{Process, State};
use super::script::{Arg, Op, Step, WORKERS};
use super::slot::Shared;
use super::watch::{self, Watch};
use super::{dump, sys};
use std::collections::HashMap;
use std::fmt::Write;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How the driver runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Everything on one CPU, workers before the driver: as few switches as possible.
    OneCpu(usize),
    /// As the machine likes; quiet must last a little, since a wake-up may be on its way between CPUs.
    Spread,
}

/// After so long without quiet something hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// A script that did not come to an end.
#[derive(Debug)]
pub struct Hang;

/// Plays scripts, one after the other.
pub struct Player {
    shared: &'static Shared,
    fd: i32,
    pace: Pace,
    /// Processes that work for the workers: ring3's broker.
    family: Vec<Watch>,
    workers: [Option<Process>; WORKERS],
    kept: HashMap<String, i64>,
    /// Process and thread numbers of this script's workers.
    known: HashMap<u32, usize>,
    marks: Vec<i64>,
    record: String,
}

impl Player {
    /// Readies the driver.
    pub fn new(pace: Pace) -> io::Result<Player> {
        let (shared, fd) = Shared::create()?;
        let me = std::process::id();
        let mut family = Vec::new();
        if std::env::var_os("RING3_SOCKET").is_some() {
            for pid in watch::children(std::os::unix::process::parent_id()) {
                if pid != me {
                    family.push(Watch::new(pid, pid)?);
                }
            }
        }
        sys::adopt_orphans();
        if let Pace::OneCpu(cpu) = pace {
            sys::pin(cpu)?;
            let _ = sys::schedule(0);
        }
        Ok(Player {
            shared,
            fd,
            pace,
            family,
            workers: Default::default(),
            kept: HashMap::new(),
            known: HashMap::new(),
            marks: Vec::new(),
            record: String::new(),
        })
    }

    /// Plays one script and returns its record. After `Hang` this process and its namespace are good for nothing more.
    pub fn play(&mut self, lines: &[String]) -> (String, Result<(), Hang>) {
        self.record.clear();
        self.kept.clear();
        self.known.clear();
        self.marks = vec![sys::seconds()];
        let mut result = Ok(());
        for line in lines {
            let step = match Step::parse(line) {
                Ok(step) => step,
                Err(e) => {
                    let _ = writeln!(self.record, "{e}");
                    continue;
                }
            };
            result = self.step(line, &step);
            if result.is_err() {
                break;
            }
        }
        if result.is_ok() {
            self.note_dump();
        }
        self.end();
        if result.is_ok() {
            self.record.push_str("ended\n");
            self.note_dump();
            dump::clear();
        }
        (std::mem::take(&mut self.record), result)
    }

    fn step(&mut self, line: &str, step: &Step) -> Result<(), Hang> {
        let line = line.trim();
        match step {
            Step::Tick => {
                let seen = sys::seconds();
                while sys::seconds() <= seen {
                    self.shared.wait(self.shared.bell.load(Ordering::Acquire), 2000);
                }
                self.marks.push(sys::seconds());
                self.note(line, "");
                Ok(())
            }
            Step::Dump => {
                self.note(line, "");
                self.note_dump();
                Ok(())
            }
            Step::Signal(who) => self.signal(line, *who),
            Step::Kill(who) => self.kill(line, *who),
            Step::Stop(who) => self.stop(line, *who),
            Step::Cont(who) => self.cont(line, *who),
            Step::Call { who, any, keep, op, args } => {
                let who = if *any { self.free_from(*who) } else { *who };
                let rest = line.split_once(':').map_or(line, |(_, rest)| rest);
                self.call(&format!("{who}:{rest}"), who, keep.clone(), *op, args)
            }
        }
    }

    /// The first worker from `who` on, among 0 to 3, that is in no call.
    fn free_from(&self, who: usize) -> usize {
        let takes =
            |who: &usize| !self.workers[*who].as_ref().is_some_and(|p| p.state == State::Busy || p.stopped);
        (who..who + 4).map(|w| w % 4).find(takes).unwrap_or(who)
    }

    fn call(
        &mut self,
        line: &str,
        who: usize,
        keep: Option<String>,
        op: Op,
        args: &[Arg],
    ) -> Result<(), Hang> {
        if self.alive(who).is_none() && self.start(who).is_err() {
            return Err(Hang);
        }
        let (values, data) = self.encode(who, op, args);
        let other = values.first().map_or(0, |v| v.number as usize % WORKERS);
        let free = self.workers[who].as_ref().is_some_and(|p| p.state == State::Free && !p.stopped);
        let bears = matches!(op, Op::Fork | Op::Thread);
        if !free || bears && self.alive(other).is_some() || op == Op::Wait && !self.ended(&values) {
            self.note(line, "busy");
            return Ok(());
        }
        let ends = args.iter().any(|arg| matches!(arg, Arg::Time(sec, _) if *sec == 0));
        if let Some(process) = &mut self.workers[who] {
            (process.state, process.call, process.keep, process.op) =
                (State::Busy, line.to_string(), keep, op);
        }
        if bears {
            self.newborn(other);
        }
        self.shared.slot(who).command(op, &values, &data);
        if op == Op::Exit {
            return self.exited(line, who);
        }
        let done = self.settle((!op.may_sleep() || ends).then_some(who), Some(who))?;
        match op {
            Op::Fork | Op::Thread => self.born(who, other, op)?,
            Op::Exec => self.renewed(who)?,
            _ => {}
        }
        if !done.iter().any(|&(w, _)| w == who) {
            self.note(line, "sleeps");
        }
        self.note_done(who, done);
        Ok(())
    }
}
