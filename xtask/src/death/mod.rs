//! `cargo xtask death`: a process is single-stepped through a call and killed after every instruction.
//!
//! Whoever waited already, and whoever comes new, must find the call done wholly or not at all: nobody hangs, no
//! lock is held, counts, lists and undo are right, and further operations are. On the kernel's own IPC (`--native`)
//! the same cases show that the harness itself is right. `cases.rs` lists what is stepped through; `sem.rs`, `msg.rs`
//! and `object.rs` know what must be found; `trace.rs` steps; `inside.rs` runs inside the namespace, on one CPU,
//! because a step across CPUs costs twenty times as much. This file starts it, a case at a time, and watches it. `broker.rs` kills the broker instead.

mod arch;
mod broker;
mod cases;
mod inside;
mod msg;
mod object;
mod options;
mod process;
mod scene;
mod sem;
mod story;
mod symbol;
mod sysv;
mod trace;
mod watch;

use crate::cargo::{self, Done};
use options::Options;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use watch::Count;

/// Runs inside the namespace.
pub(crate) fn inside(arguments: &[String]) -> Done {
    if arguments.first().is_some_and(|word| word == "--broker") {
        return broker::inside(&Options::parse(arguments)?);
    }
    inside::inside(arguments)
}

/// Runs the cases.
pub(crate) fn run(arguments: &[String]) -> Done {
    let mut options = Options::parse(arguments)?;
    if options.broker {
        return broker::run(&options);
    }
    let mut cases: Vec<&str> = cases::all().iter().map(|case| case.name()).collect();
    if let Some(only) = &options.only {
        let meant = |name: &str, word: &str| {
            name == word || word.strip_suffix('*').is_some_and(|w| name.starts_with(w))
        };
        cases.retain(|name| only.split(',').any(|word| meant(name, word)));
    }
    if options.list || cases.is_empty() {
        println!("{}", cases::all().iter().map(|case| case.name()).collect::<Vec<_>>().join("\n"));
        return if options.list { Ok(()) } else { Err("no such case".to_owned()) };
    }
    let ring3 = match (&options.ring3, options.native) {
        (_, true) => None,
        (Some(given), _) => Some(given.clone()),
        (None, _) => Some(cargo::build_ring3()?),
    };
    if let Some(sample) = options.sample {
        println!("a sample of {sample} points, seed {}", options.seed);
        options.sample = Some(sample.div_ceil(cases.len()));
    }
    let (verb, started) = (if options.stop { "late" } else { "violations" }, Instant::now());
    println!("{:34} {:>8} {:>8} {:>8} {:>10} {:>7}", "case", "points", "done", "not", verb, "s");
    let (next, total) = (AtomicUsize::new(0), Mutex::new(Count::default()));
    std::thread::scope(|scope| {
        for cpu in 0..options.jobs.min(cases.len()) {
            let (next, total, cases, options, ring3) = (&next, &total, &cases, &options, ring3.as_deref());
            scope.spawn(move || {
                while let Some(name) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let count = watch::case(name, cpu, options, ring3);
                    println!("{}", count.row(name, options.stop));
                    let _ = total.lock().map(|mut total| total.add(&count));
                }
            });
        }
    });
    let total = total.into_inner().map_err(|_| "a worker failed")?;
    println!("{}", total.row(&format!("total ({:.0} s)", started.elapsed().as_secs_f64()), options.stop));
    if options.stop {
        println!("{}", total.waits());
    }
    println!("{} points, {} violations", total.points, total.violations);
    if total.violations == 0 { Ok(()) } else { Err(format!("{} violations", total.violations)) }
}
