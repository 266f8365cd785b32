//! The part of the harness that runs inside the namespace: steps, kills, judges.
//!
//! It tells the part outside, a line at a time on standard output: `P EVENT` before each point, `V EVENT TEXT` for a
//! violation, `B EVENT MICROSECONDS` for how long others took beside a stopped process, `S POINTS DONE NOT` in the end.

use super::arch::Kind;
use super::cases;
use super::options::Options;
use super::process::{self, PATIENCE};
use super::scene::{Case, Fate, Scene};
use super::symbol;
use super::trace::{self, Event, Tracee};
use crate::cargo::Done;
use crate::ptrace;
use std::collections::HashMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// How long a completing process may take before its lock must be a dead man's.
const SOON: Duration = Duration::from_millis(15);

/// How long others may take beside a stopped process before that is a violation: much more than `watch.rs` calls late, for the machine may be busy.
const BOUND: Duration = Duration::from_secs(2);

/// Further operations after most points, and after every 50th.
const FEW: usize = 12;
/// See `FEW`.
const MANY: usize = 1000;

/// More events than any operation has.
const ENDLESS: u64 = 2_000_000;

/// A point: the event to die at, and whether the completing operation comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    event: u64,
    overtaken: bool,
}

/// What came of a point.
enum Result {
    /// The victim was killed; the operation had been done or not.
    Killed(bool),
    /// The victim came to its end before that event, after so many.
    Ended(u64),
    /// The victim was stopped, and others took so long.
    Passed(Duration),
}

/// Runs one case's points.
pub(crate) fn inside(arguments: &[String]) -> Done {
    let options = Options::parse(arguments)?;
    let name = options.only.clone().unwrap_or_default();
    let case =
        cases::all().into_iter().find(|case| case.name() == name).ok_or_else(|| format!("no case {name}"))?;
    // SAFETY: PR_SET_CHILD_SUBREAPER takes a number: orphans of victims are ours to reap.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    let mut worker = Worker { case, stop: options.stop, kinds: HashMap::new(), way: Vec::new(), pc: 0 };
    say(&format!("P {}", options.from));
    let events = worker.measure()?;
    if options.trace {
        worker.way.iter().for_each(|(event, pc)| say(&format!("{event} {}", symbol::name(*pc))));
        say("S 1 0 0");
        return Ok(());
    }
    let (mut done, mut not, mut points) = (0, 0, 0);
    for (turn, point) in options.choose(points_of(case, events)).into_iter().enumerate() {
        say(&format!("P {}", point.event));
        points += 1;
        match worker.point(point, if turn % 50 == 0 { MANY } else { FEW }) {
            Ok(Result::Killed(true) | Result::Ended(_)) => done += 1,
            Ok(Result::Killed(false)) => not += 1,
            Ok(Result::Passed(took)) => say(&format!("B {} {}", point.event, took.as_micros())),
            Err(why) => {
                let order = if point.overtaken { "after the completing call, " } else { "" };
                let place = symbol::name(worker.pc);
                say(&format!("V {} {order}at {place}: {}", point.event, why.replace('\n', " ")));
                worker.recover();
            }
        }
    }
    say(&format!("S {points} {done} {not}"));
    Ok(())
}

/// Returns all points of a case that has so many events.
fn points_of(case: &dyn Case, events: u64) -> Vec<Point> {
    let plain = (0..=events).map(|event| Point { event, overtaken: false });
    let overtaken =
        plain.clone().filter(|_| case.overtakes()).map(|point| Point { overtaken: true, ..point });
    plain.chain(overtaken).collect()
}

/// Tells the part outside.
fn say(line: &str) {
    println!("{line}");
    let _ = io::stdout().flush();
}

/// What is kept between points.
struct Worker {
    case: &'static dyn Case,
    stop: bool,
    kinds: HashMap<u64, Kind>,
    /// The way of the victim that came to its end: event, address of what it does next.
    way: Vec<(u64, u64)>,
    /// Where the victim was killed last.
    pc: u64,
}

impl Worker {
    /// Runs the case to its end and returns how many events that has.
    fn measure(&mut self) -> std::result::Result<u64, String> {
        let stop = std::mem::take(&mut self.stop);
        let result = self.point(Point { event: ENDLESS, overtaken: false }, MANY);
        self.stop = stop;
        match result {
            Ok(Result::Ended(events)) => Ok(events),
            Ok(_) => Err(format!("it has more than {ENDLESS} events")),
            Err(why) => {
                say(&format!("V 0 without a death: {}", why.replace('\n', " ")));
                say("S 1 0 0");
                self.recover();
                Err(why)
            }
        }
    }

    /// Forgets what a violation may have left.
    fn recover(&mut self) {
        super::sysv::clear();
    }

    /// Carries out one point on fresh objects.
    fn point(&mut self, point: Point, operations: usize) -> std::result::Result<Result, String> {
        let mut scene = self.case.set_up().map_err(|why| format!("set-up: {why}"))?;
        let result = self.carry_out(scene.as_mut(), point);
        let went_on = match &result {
            Ok(_) => scene.go_on(operations).map_err(|why| format!("afterwards: {why}")),
            Err(_) => Ok(()),
        };
        let torn_down = scene.tear_down();
        let result = result?;
        went_on.and(torn_down)?;
        Ok(result)
    }

    /// Starts the victim, steps it to the point, ends or stops it there, and judges.
    fn carry_out(&mut self, scene: &mut dyn Scene, point: Point) -> std::result::Result<Result, String> {
        let victim = process::fork(|| {
            let operation = scene.prepare();
            ptrace::offer();
            std::hint::black_box(operation());
            trace::end_mark();
        });
        let victim = victim.map_err(|why| why.to_string())?;
        let mark = trace::end_mark as extern "C" fn() as usize as u64;
        let hop = if self.case.forks() { None } else { hop(&self.way, point.event) };
        let mut walk = Walk { point, events: 0, completed: false, pc: 0, way: Vec::new(), hop };
        let mut kinds = std::mem::take(&mut self.kinds);
        let walked = Tracee::take(victim, mark, &mut kinds).map_err(|why| format!("victim: {why}")).and_then(
            |mut tracee| walk.go(&mut tracee, scene, self.case.completes()).map(|there| (tracee, there)),
        );
        let result = match walked {
            Ok((tracee, there)) => {
                self.pc = tracee.pc;
                self.end(tracee, victim, there, &mut walk, scene)
            }
            Err(why) => {
                self.pc = walk.pc;
                let _ = process::kill(victim);
                Err(why)
            }
        };
        self.kinds = kinds;
        if self.way.is_empty() {
            self.way = walk.way;
        }
        result
    }

    /// Ends the victim where it is, or stops it there, and judges.
    fn end(
        &self,
        tracee: Tracee<'_>,
        victim: libc::pid_t,
        there: bool,
        walk: &mut Walk,
        scene: &mut dyn Scene,
    ) -> std::result::Result<Result, String> {
        if there && self.stop {
            return hold(tracee, victim, walk, scene, self.case.completes());
        }
        if there && walk.point.overtaken && !walk.completed {
            scene.complete()?;
            scene.completed(SOON);
            walk.completed = true;
        }
        if there {
            process::kill(victim).map_err(|why| why.to_string())?;
        } else {
            tracee.release().map_err(|why| why.to_string())?;
            let status = process::reap(victim).map_err(|why| format!("the victim: {why}"))?;
            if !libc::WIFEXITED(status) {
                return Err(format!("the victim was to end by itself, but its status is {status:#x}"));
            }
        }
        if walk.completed {
            match scene.completed(PATIENCE) {
                Some(result) if result >= 0 => {}
                other => return Err(format!("the completing call gave {other:?} ({})", scene.completing())),
            }
        }
        let fate = Fate { victim, ended: !there, completed: walk.completed };
        let done = scene.judge(&fate)?;
        Ok(if there { Result::Killed(done) } else { Result::Ended(walk.events) })
    }
}

/// Leaves the victim stopped and sees whether others get through.
fn hold(
    tracee: Tracee<'_>,
    victim: libc::pid_t,
    walk: &mut Walk,
    scene: &mut dyn Scene,
    completes: bool,
) -> std::result::Result<Result, String> {
    tracee.freeze().map_err(|why| why.to_string())?;
    let began = Instant::now();
    let probe = process::Peer::spawn(|| {
        scene.probe();
        super::sysv::Outcome::plain(0)
    });
    let mut probe = probe?;
    let passed = probe.end(BOUND).is_some();
    let took = began.elapsed();
    // The one that moved it may have it in hand still.
    while process::state(victim) != Some('T') && began.elapsed() < BOUND * 2 {
        process::give_way();
    }
    let state = process::state(victim);
    process::signal(victim, libc::SIGCONT);
    if probe.end(PATIENCE).is_none() {
        return Err("a bystander does not go on after the stopped process has".to_owned());
    }
    drop(probe);
    if completes && !walk.completed {
        scene.complete()?;
        scene.completed(PATIENCE).ok_or("the completing call does not end")?;
    }
    process::reap(victim).map_err(|why| format!("the continued victim: {why}"))?;
    if !passed {
        return Err("the stopped process holds others up".to_owned());
    }
    if state != Some('T') {
        return Err(format!("the stopped process is in state {state:?}"));
    }
    Ok(Result::Passed(took))
}

/// The way of a victim to its point.
struct Walk {
    point: Point,
    events: u64,
    completed: bool,
    pc: u64,
    way: Vec<(u64, u64)>,
    hop: Option<Hop>,
}

/// A short way to an event: the n-th arrival at an address.
struct Hop {
    event: u64,
    at: u64,
    arrivals: u32,
}

/// Finds a short way to an event, or to one shortly before it; none if stepping there is as fast.
fn hop(way: &[(u64, u64)], event: u64) -> Option<Hop> {
    let last = way.partition_point(|(at, _)| *at <= event).checked_sub(1)?;
    let arrives = |index: usize| index == 0 || way[index - 1].1 != way[index].1;
    let index = (0..=last).rev().find(|index| arrives(*index))?;
    let (event, at) = way[index];
    let arrivals = (0..=index).filter(|index| arrives(*index) && way[*index].1 == at).count() as u32;
    (event > 10 && u64::from(arrivals) * 4 < event).then_some(Hop { event, at, arrivals })
}

impl Walk {
    /// Steps; true if the point was reached, false if the victim came to its end first.
    fn go(
        &mut self,
        tracee: &mut Tracee<'_>,
        scene: &mut dyn Scene,
        completes: bool,
    ) -> std::result::Result<bool, String> {
        while self.hop.is_some() || self.events < self.point.event {
            self.pc = tracee.pc;
            let hopping = self.hop.is_some();
            let mut event = match self.next(tracee).map_err(|why| why.to_string())? {
                Some(event) => event,
                None => continue,
            };
            if event == Event::Asleep {
                self.events += u64::from(!hopping);
                if self.events == self.point.event {
                    return Ok(true);
                }
                event = self.sleep(tracee, scene, completes)?;
            }
            match event {
                Event::End => return Ok(false),
                Event::Gone(status) => return Err(format!("the victim died by itself (status {status:#x})")),
                Event::Step | Event::Asleep => self.events += u64::from(!hopping),
            }
        }
        Ok(true)
    }

    /// Takes the next step, or a hop; `None` if a hop has just arrived.
    fn next(&mut self, tracee: &mut Tracee<'_>) -> io::Result<Option<Event>> {
        let Some(hop) = &mut self.hop else {
            self.way.push((self.events, tracee.pc));
            return tracee.step().map(Some);
        };
        if tracee.pc != hop.at {
            return if tracee.ended() { Ok(Some(Event::End)) } else { tracee.run(hop.at).map(Some) };
        }
        if tracee.arrives() {
            hop.arrivals -= 1;
        }
        if hop.arrivals == 0 {
            self.events = hop.event;
            self.hop = None;
            return Ok(None);
        }
        tracee.step().map(Some)
    }

    /// Lets a sleeping victim be woken.
    fn sleep(
        &mut self,
        tracee: &mut Tracee<'_>,
        scene: &mut dyn Scene,
        completes: bool,
    ) -> std::result::Result<Event, String> {
        if completes && !self.completed {
            scene.complete()?;
            // Not waited for: it may need a lock that the victim, once awake, is stopped with.
            self.completed = true;
        }
        let event = tracee.awake(PATIENCE).map_err(|why| why.to_string())?;
        event.ok_or_else(|| {
            format!("the victim does not wake up ({}; {})", tracee.place(), scene.completing())
        })
    }
}
