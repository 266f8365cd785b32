//! `ring3 bench`: the kernel and ring3 side by side in one run, in turn.
//!
//! Each measurement is a process of its own: this binary as `ring3 bench-worker ROW MS`, once as it is and once
//! with the agent in front, in a private namespace made for the whole run. Rounds alternate between the two
//! sides, so that what else the machine does falls on both; the median of the rounds is the figure.

mod cpus;
mod crowd;
mod gate;
mod machine;
mod measure;
mod report;
mod rows;
mod scene;
mod sysv;
mod together;
pub(crate) mod worker;

use crate::args::Bench;
use crate::fault::{Fault, Result};
use crate::keeper::{self, Broker};
use crate::limit::Terms;
use crate::manual;
use crate::place::{self, Namespace};
use crate::sys::{self, Signals};
use machine::Machine;
use report::{Outcome, Side};
use rows::{ROWS, Row};
use std::io::{self, IsTerminal, Write};
use std::process::Stdio;
use std::time::Duration;

/// Measures, prints, and returns 1 when a row failed to run.
pub(crate) fn main(args: &Bench) -> Result<u8> {
    if args.list {
        let names: String = ROWS.iter().map(|row| format!("{:<14} {}\n", row.name, row.what)).collect();
        return manual::print(names.as_bytes());
    }
    let rows = chosen(args)?;
    keeper::leave()?;
    sys::set_name(c"ring3");
    // Before there is a broker, whose process is a fork of this one: that wants one thread.
    let machine = Machine::measure(Duration::from_millis(args.time));
    let signals = Signals::take().map_err(|why| Fault::io("take over signals", why))?;
    let mut broker = Broker::start(Namespace::named(&place::private_name())?, &Terms::default())?;
    let outcomes: Vec<Outcome> = rows
        .iter()
        .enumerate()
        .map(|(at, row)| {
            Run { args, signals: &signals, namespace: &broker.namespace, at, of: rows.len() }.row(row)
        })
        .collect();
    clear_line();
    broker.finish();
    let left = broker.report();
    let text =
        if args.json { report::json(args, &machine, &outcomes) } else { report::table(&machine, &outcomes) };
    manual::print(text.as_bytes())?;
    left?;
    Ok(u8::from(outcomes.iter().any(Outcome::failed)))
}

fn chosen(args: &Bench) -> Result<Vec<&'static Row>> {
    if args.rows.is_empty() {
        return Ok(ROWS.iter().collect());
    }
    let find = |name: &String| {
        ROWS.iter().find(|row| row.name == name).ok_or_else(|| {
            Fault::new(format!("no row {name:?}"))
                .remedy("see their names with: ring3 bench --list")
                .status(2)
        })
    };
    args.rows.iter().map(find).collect()
}

/// What the measurements of one row need.
struct Run<'a> {
    args: &'a Bench,
    signals: &'a Signals,
    namespace: &'a Namespace,
    at: usize,
    of: usize,
}

impl Run<'_> {
    /// Measures a row on both sides, in turn. A side that failed once is not tried again.
    fn row(&self, row: &'static Row) -> Outcome {
        let mut outcome = Outcome::new(row);
        for round in 0..self.args.rounds {
            // The side that goes first changes, too.
            let order =
                if round % 2 == 0 { [Side::Kernel, Side::Ring3] } else { [Side::Ring3, Side::Kernel] };
            for side in order {
                if outcome.is_good(side) {
                    self.progress(row, round, side);
                    outcome.add(side, self.measure(row, side));
                }
            }
        }
        outcome
    }

    /// One measurement, ns; or why there is none.
    fn measure(&self, row: &Row, side: Side) -> std::result::Result<f64, String> {
        let mut command = sys::myself();
        command.args(["bench-worker", row.name, &self.args.time.to_string()]);
        command.env_remove("RING3_LOG");
        if side == Side::Ring3 {
            keeper::enter(&mut command, self.namespace);
        }
        self.signals.give_to(&mut command);
        command.stdin(Stdio::null());
        let out = command.output().map_err(|why| why.to_string())?;
        if !out.status.success() {
            let said = String::from_utf8_lossy(&out.stderr);
            let last = said.lines().last().unwrap_or_default().trim_start_matches("ring3: ").to_string();
            return Err(if last.is_empty() { out.status.to_string() } else { last });
        }
        let text = String::from_utf8_lossy(&out.stdout);
        text.trim().parse().map_err(|_| format!("the worker said {:?}", text.trim()))
    }

    fn progress(&self, row: &Row, round: u32, side: Side) {
        if io::stderr().is_terminal() {
            let (at, of, rounds) = (self.at + 1, self.of, self.args.rounds);
            // A lost progress line is no loss.
            let _ = write!(
                io::stderr(),
                "\r\x1b[K[{at}/{of}] {}: round {}/{rounds}, {}",
                row.what,
                round + 1,
                side.word()
            );
        }
    }
}

fn clear_line() {
    if io::stderr().is_terminal() {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}
