//! Runs one case in a namespace of its own and watches that it goes on.

use super::options::Options;
use crate::family;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Longest time between two lines of a worker: beyond it, somebody hangs.
const HANG: Duration = Duration::from_secs(40);

/// A case is given up after so many hangs.
const GIVE_UP: usize = 3;

/// What others may be held up by a stopped process, microseconds; more counts as late.
const LATE: u64 = 100_000;

/// At most so many violations of a case are printed.
const SHOWN: usize = 12;

/// What was counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Count {
    pub(super) points: usize,
    pub(super) violations: usize,
    /// How long others took beside a stopped process, microseconds.
    waits: Vec<u64>,
    done: usize,
    not: usize,
    seconds: f64,
}

impl Count {
    /// Adds another count to this one.
    pub(super) fn add(&mut self, other: &Count) {
        self.points += other.points;
        self.violations += other.violations;
        self.waits.extend(&other.waits);
        self.done += other.done;
        self.not += other.not;
        self.seconds += other.seconds;
    }

    /// How often others took longer than they should.
    fn late(&self) -> usize {
        self.waits.iter().filter(|&&wait| wait > LATE).count()
    }

    /// Says how long others took beside stopped processes.
    pub(super) fn waits(&self) -> String {
        let mut sorted = self.waits.clone();
        sorted.sort_unstable();
        let at = |share: usize| {
            let micros = sorted.get((sorted.len() * share / 1000).min(sorted.len().saturating_sub(1)));
            *micros.unwrap_or(&0) as f64 / 1000.0
        };
        let late = self.late();
        format!(
            "others passed in {:.1} ms (median), {:.1} (99 %), {:.1} (longest); {late} took more than {} ms",
            at(500),
            at(990),
            at(1000),
            LATE / 1000
        )
    }

    /// Returns a row of the table.
    pub(super) fn row(&self, name: &str, stop: bool) -> String {
        let what = match (stop, self.violations) {
            (false, violations) => violations.to_string(),
            (true, 0) => self.late().to_string(),
            (true, violations) => format!("{}, {violations} bad", self.late()),
        };
        format!("{name:34} {:8} {:8} {:8} {what:>10} {:7.1}", self.points, self.done, self.not, self.seconds)
    }
}

/// Runs a case; starts again behind a point that hangs.
pub(super) fn case(name: &str, cpu: usize, options: &Options, ring3: Option<&Path>) -> Count {
    let mut count = Count::default();
    let started = Instant::now();
    let (mut from, mut hangs) = (0, 0);
    loop {
        let mut run = Run { name, count: &mut count, reached: 0, event: String::new(), closed: false };
        let end = run.watch(from, cpu, options, ring3);
        let (reached, event, closed) = (run.reached, run.event, run.closed);
        match end {
            Ok(()) if closed => break,
            Ok(()) => complain(name, &event, "the worker ended early", &mut count),
            Err(why) => complain(name, &event, &why, &mut count),
        }
        hangs += 1;
        count.points += reached.max(1);
        from += reached.max(1);
        if hangs == GIVE_UP {
            complain(name, &event, "given up", &mut count);
            break;
        }
    }
    count.seconds = started.elapsed().as_secs_f64();
    count
}

/// Prints a violation and counts it.
fn complain(name: &str, event: &str, what: &str, count: &mut Count) {
    count.violations += 1;
    if count.violations <= SHOWN {
        println!("{name}, event {event}: {what}");
    }
}

/// One run of a worker.
struct Run<'c> {
    name: &'c str,
    count: &'c mut Count,
    /// Points begun.
    reached: usize,
    /// The event of the last one.
    event: String,
    /// It has said its last line.
    closed: bool,
}

impl Run<'_> {
    /// Starts a worker and takes its lines until it ends or hangs.
    fn watch(
        &mut self,
        from: usize,
        cpu: usize,
        options: &Options,
        ring3: Option<&Path>,
    ) -> Result<(), String> {
        let mut child =
            start(self.name, from, cpu, options, ring3).map_err(|why| format!("cannot start: {why}"))?;
        let lines = lines(child.stdout.take());
        let errors = lines_text(child.stderr.take());
        let ended = self.take(&lines);
        if ended.is_err() {
            family::kill(child.id());
        }
        let status = child.wait().map_err(|why| why.to_string())?;
        let said = errors.join().unwrap_or_default();
        ended?;
        if !said.trim().is_empty() {
            complain(self.name, "end", &format!("standard error: {}", said.trim()), self.count);
        }
        if !status.success() && !self.closed { Err(format!("{status}")) } else { Ok(()) }
    }

    /// Takes lines until there are no more, or none in time.
    fn take(&mut self, lines: &Receiver<String>) -> Result<(), String> {
        loop {
            match lines.recv_timeout(HANG) {
                Ok(line) => self.line(&line),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("nothing happens for {} s", HANG.as_secs()));
                }
            }
        }
    }

    /// Takes one line in.
    fn line(&mut self, line: &str) {
        let (what, rest) = line.split_at_checked(2).unwrap_or((line, ""));
        let (event, text) = rest.split_once(' ').unwrap_or((rest, ""));
        match what {
            "P " => {
                self.reached += usize::from(!self.event.is_empty());
                event.clone_into(&mut self.event);
            }
            "V " => complain(self.name, event, text, self.count),
            "B " => self.count.waits.push(text.parse().unwrap_or(u64::MAX)),
            "S " => {
                let mut numbers = rest.split(' ').map(|number| number.parse().unwrap_or(0));
                let mut next = || numbers.next().unwrap_or(0);
                self.count.points += next();
                self.count.done += next();
                self.count.not += next();
                self.closed = true;
            }
            _ => println!("{}: {line}", self.name),
        }
    }
}

/// Starts a worker on one CPU; what it starts, and the broker, stay there.
fn start(
    name: &str,
    from: usize,
    cpu: usize,
    options: &Options,
    ring3: Option<&Path>,
) -> std::io::Result<Child> {
    let this = std::env::current_exe()?;
    let mut command = match ring3 {
        Some(ring3) => {
            let mut command = Command::new(ring3);
            command.args(["run", "--"]).arg(this);
            command
        }
        None => Command::new(this),
    };
    command.args([
        "death-inside",
        "--only",
        name,
        "--from",
        &from.to_string(),
        "--seed",
        &options.seed.to_string(),
    ]);
    if let Some(sample) = options.sample {
        command.args(["--sample", &sample.to_string()]);
    }
    if options.stop {
        command.arg("--stop");
    }
    if options.trace {
        command.arg("--trace");
    }
    let native = options.native;
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(move || {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(cpu, &mut set);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
            // Refused to ordinary users; then others on this CPU merely make it slower.
            libc::setpriority(libc::PRIO_PROCESS, 0, -10);
            if native && libc::unshare(libc::CLONE_NEWIPC) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Passes a worker's lines on.
fn lines(output: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (to, from) = channel();
    std::thread::spawn(move || {
        let Some(output) = output else { return };
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    });
    from
}

/// Collects what a worker complains about.
fn lines_text(output: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut output) = output {
            let _ = output.read_to_string(&mut text);
        }
        text
    })
}
