//! What the rounds gave: medians, spread, ratio, target; as a table and as JSON.

use super::machine::Machine;
use super::rows::Row;
use crate::args::Bench;
use crate::table::{self, Table};
use serde::Serialize;

/// Which side did the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The machine's kernel.
    Kernel,
    /// ring3.
    Ring3,
}

impl Side {
    /// Its name.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Side::Kernel => "kernel",
            Side::Ring3 => "ring3",
        }
    }
}

/// The rounds of one side, ns; or what went wrong in one of them.
struct Rounds {
    samples: Vec<f64>,
    wrong: Option<String>,
}

impl Rounds {
    fn new() -> Rounds {
        Rounds { samples: Vec::new(), wrong: None }
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    fn median(&self) -> Option<f64> {
        if self.wrong.is_some() { None } else { median(&self.sorted()) }
    }

    /// Half of the samples are no further than this from the median, as a part of it.
    fn spread(&self) -> Option<f64> {
        let middle = self.median()?;
        let mut off: Vec<f64> = self.samples.iter().map(|sample| (sample - middle).abs()).collect();
        off.sort_by(f64::total_cmp);
        Some(median(&off)? / middle)
    }

    fn cell(&self) -> (String, String) {
        match (self.median(), self.spread()) {
            (Some(middle), Some(spread)) => (duration(middle), format!("±{:.0}%", spread * 100.0)),
            _ => ("failed".to_string(), String::new()),
        }
    }

    fn figures(&self) -> Figures<'_> {
        let sorted = self.sorted();
        Figures {
            median_ns: self.median(),
            min_ns: sorted.first().copied(),
            max_ns: sorted.last().copied(),
            mad: self.spread(),
            samples_ns: &self.samples,
            error: self.wrong.as_deref(),
        }
    }
}

fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 { Some(upper) } else { Some((sorted.get(middle - 1)? + upper) / 2.0) }
}

/// A row and what it gave.
pub(crate) struct Outcome {
    row: &'static Row,
    kernel: Rounds,
    ring3: Rounds,
}

impl Outcome {
    /// Nothing measured yet.
    pub(crate) fn new(row: &'static Row) -> Outcome {
        Outcome { row, kernel: Rounds::new(), ring3: Rounds::new() }
    }

    fn rounds(&mut self, side: Side) -> &mut Rounds {
        match side {
            Side::Kernel => &mut self.kernel,
            Side::Ring3 => &mut self.ring3,
        }
    }

    /// Adds a measurement.
    pub(crate) fn add(&mut self, side: Side, figure: Result<f64, String>) {
        match figure {
            Ok(ns) => self.rounds(side).samples.push(ns),
            Err(why) => self.rounds(side).wrong = Some(why),
        }
    }

    /// Whether nothing failed on this side so far.
    pub(crate) fn is_good(&mut self, side: Side) -> bool {
        self.rounds(side).wrong.is_none()
    }

    /// Whether a side could not be measured. A kernel without System V IPC is no failure of the run.
    pub(crate) fn failed(&self) -> bool {
        let kernel_lacks = self.kernel.wrong.as_deref().is_some_and(|why| why.contains("not implemented"));
        self.ring3.wrong.is_some() || (self.kernel.wrong.is_some() && !kernel_lacks)
    }

    fn ratio(&self) -> Option<f64> {
        Some(self.kernel.median()? / self.ring3.median()?)
    }
}

/// The table, and below it what failed, and what the machine itself takes.
pub(crate) fn table(machine: &Machine, outcomes: &[Outcome]) -> String {
    use table::Side::{Left, Right};
    let mut table = Table::new(&[
        ("ROW", Left),
        ("KERNEL", Right),
        ("", Right),
        ("RING3", Right),
        ("", Right),
        ("RATIO", Right),
        ("TARGET", Right),
        ("", Left),
    ]);
    for outcome in outcomes {
        let ((kernel, kernel_spread), (ring3, ring3_spread)) = (outcome.kernel.cell(), outcome.ring3.cell());
        let (ratio, verdict) = match outcome.ratio() {
            Some(ratio) => (times(ratio), if ratio >= outcome.row.target { "" } else { "below" }),
            None => ("-".to_string(), ""),
        };
        table.row(vec![
            outcome.row.what.to_string(),
            kernel,
            kernel_spread,
            ring3,
            ring3_spread,
            ratio,
            times(outcome.row.target),
            verdict.to_string(),
        ]);
    }
    let mut text = table.text();
    for outcome in outcomes {
        for (side, rounds) in [(Side::Kernel, &outcome.kernel), (Side::Ring3, &outcome.ring3)] {
            if let Some(why) = &rounds.wrong {
                text.push_str(&format!("{} on {}: {why}\n", outcome.row.name, side.word()));
            }
        }
    }
    text.push_str("\nThe machine itself:\n");
    for (what, ns) in machine.lines() {
        text.push_str(&format!("{what:<40} {:>8}\n", ns.map_or("-".to_string(), duration)));
    }
    text
}

/// A duration, three digits of it.
fn duration(ns: f64) -> String {
    let digits = |value: f64| if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    let (value, unit) = match ns {
        ns if ns < 999.5 => (ns, "ns"),
        ns if ns < 999_500.0 => (ns / 1e3, "µs"),
        ns => (ns / 1e6, "ms"),
    };
    format!("{value:.*} {unit}", digits(value))
}

fn times(ratio: f64) -> String {
    if ratio < 9.95 { format!("{ratio:.2}×") } else { format!("{ratio:.0}×") }
}

#[derive(Serialize)]
struct Figures<'a> {
    median_ns: Option<f64>,
    min_ns: Option<f64>,
    max_ns: Option<f64>,
    mad: Option<f64>,
    samples_ns: &'a [f64],
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct Line<'a> {
    row: &'a str,
    what: &'a str,
    kernel: Figures<'a>,
    ring3: Figures<'a>,
    ratio: Option<f64>,
    target: f64,
}

impl Line<'_> {
    fn new(outcome: &Outcome) -> Line<'_> {
        Line {
            row: outcome.row.name,
            what: outcome.row.what,
            kernel: outcome.kernel.figures(),
            ring3: outcome.ring3.figures(),
            ratio: outcome.ratio(),
            target: outcome.row.target,
        }
    }
}

#[derive(Serialize)]
struct Whole<'a> {
    version: &'a str,
    kernel_release: String,
    cpus: usize,
    rounds: u32,
    time_ms: u64,
    /// Nanoseconds.
    machine: &'a Machine,
    rows: Vec<Line<'a>>,
}

/// The same as JSON.
pub(crate) fn json(args: &Bench, machine: &Machine, outcomes: &[Outcome]) -> String {
    let whole = Whole {
        version: env!("CARGO_PKG_VERSION"),
        kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        rounds: args.rounds,
        time_ms: args.time,
        machine,
        rows: outcomes.iter().map(Line::new).collect(),
    };
    serde_json::to_string_pretty(&whole).unwrap_or_default() + "\n"
}
