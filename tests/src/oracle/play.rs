//! Plays a script: hands each call to its worker, waits until nothing moves any more, writes down what happened.
//!
//! # Invariants
//! I1. A step is over when every busy worker has answered or provably sleeps (`watch`); only then is it written down.
//! I2. Nothing depends on time: short timeouts are waited out, signals are seen handled, deaths are reaped.

use super::dump;
use super::script::{Arg, Op, Step, WORKERS};
use super::slot::{Shared, Value};
use super::sys;
use super::watch::{self, Watch};
use super::worker::{PRIORITY, Worker};
use ring3_abi::Errno;
use std::collections::HashMap;
use std::fmt::Write;
use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Busy,
    Dead,
}

struct Process {
    pid: u32,
    tid: u32,
    state: State,
    stopped: bool,
    /// The driver's own child?
    ours: bool,
    watch: Option<Watch>,
    /// The call it is in: for the record, and where to keep the result.
    call: String,
    keep: Option<String>,
    op: Op,
}

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

    fn note_dump(&mut self) {
        let text = self.translate(&dump::dump());
        self.record.push_str(&text);
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

    fn note(&mut self, line: &str, what: &str) {
        let _ = if what.is_empty() {
            writeln!(self.record, "{line}")
        } else {
            writeln!(self.record, "{line} -> {what}")
        };
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

    /// Writes down who came back: the caller first, the others by number.
    fn note_done(&mut self, caller: usize, mut done: Vec<(usize, String)>) {
        done.sort_by_key(|(who, _)| (*who != caller, *who));
        for (who, text) in done {
            let line = self.workers[who].as_ref().map(|p| p.call.clone()).unwrap_or_default();
            let indent = if who == caller { "" } else { "  => " };
            let text = self.translate(&text);
            self.note(&format!("{indent}{line}"), &text);
        }
    }

    fn encode(&self, who: usize, op: Op, args: &[Arg]) -> (Vec<Value>, Vec<u8>) {
        let (mut values, mut data, mut natural) = (Vec::new(), Vec::new(), 0);
        for arg in args {
            let mut bytes = Vec::new();
            let mut number = None;
            match arg {
                Arg::Number(expr) => number = Some(expr.eval(who, &self.kept)),
                Arg::Natural => number = Some(natural),
                Arg::Sops(sops) => {
                    for (num, op, flags) in sops {
                        bytes.extend(num.to_ne_bytes());
                        bytes.extend(op.to_ne_bytes());
                        bytes.extend(flags.to_ne_bytes());
                    }
                    natural = sops.len() as i64;
                }
                Arg::Message(mtype, text) => {
                    bytes.extend(mtype.eval(who, &self.kept).to_ne_bytes());
                    bytes.extend(text);
                    natural = text.len() as i64;
                }
                Arg::Fields(fields) => {
                    for name in ["uid", "gid", "mode", "qbytes"] {
                        let value = fields.iter().find(|(known, _)| known == name);
                        bytes.extend(value.map_or(0, |(_, e)| e.eval(who, &self.kept)).to_ne_bytes());
                    }
                }
                Arg::Values(all) => {
                    bytes.extend(all.iter().flat_map(|v| v.to_ne_bytes()));
                    natural = all.len() as i64;
                }
                Arg::Time(sec, nsec) => {
                    bytes.extend(sec.to_ne_bytes());
                    bytes.extend(nsec.to_ne_bytes());
                }
                Arg::Text(text) => {
                    bytes.extend(text.as_bytes());
                    bytes.push(0);
                }
            }
            values.push(match number {
                Some(number) => Value { number, len: -1 },
                None => Value { number: data.len() as i64, len: bytes.len() as i64 },
            });
            data.extend(bytes);
        }
        if op == Op::Wait
            && let Some(value) = values.first_mut()
            && let Some(process) = self.workers.get(value.number as usize).and_then(Option::as_ref)
        {
            value.number = i64::from(process.pid);
        }
        (values, data)
    }

    /// Whether the process that a `wait` names has ended: else it would wait for ever.
    fn ended(&self, values: &[Value]) -> bool {
        let pid = values.first().map_or(0, |v| v.number as u32);
        !self.workers.iter().flatten().any(|p| p.pid == pid && p.state != State::Dead)
    }

    /// Takes what answers there are.
    fn collect(&mut self, done: &mut Vec<(usize, String)>) {
        for who in 0..WORKERS {
            let Some(process) = &mut self.workers[who] else { continue };
            if process.state != State::Busy {
                continue;
            }
            let Some((ret, errno, text)) = self.shared.slot(who).answer() else { continue };
            process.state = State::Free;
            if ret != -1
                && let Some(keep) = process.keep.take()
            {
                self.kept.insert(keep, ret);
            }
            let result = match (ret, process.op) {
                (-1, _) => Errno(errno as u16).name().map_or(format!("errno {errno}"), str::to_string),
                (_, Op::Shmat | Op::Peek | Op::Cat | Op::Sysctl | Op::Wait | Op::Vfork) => String::new(),
                _ => ret.to_string(),
            };
            let gap = if result.is_empty() || text.is_empty() { "" } else { " " };
            let text = if result.is_empty() && text.is_empty() { "0" } else { &text };
            done.push((who, format!("{result}{gap}{text}")));
        }
    }

    /// Waits until nothing moves (I1); `must` has to answer, not sleep. Without a caller something came from outside: then
    /// those who work for the workers must be at rest too, whoever is busy.
    fn settle(&mut self, must: Option<usize>, caller: Option<usize>) -> Result<Vec<(usize, String)>, Hang> {
        let mut done = Vec::new();
        let begun = Instant::now();
        loop {
            let seen = self.shared.bell.load(Ordering::Acquire);
            self.collect(&mut done);
            let waiting = must.is_some_and(|who| self.is_busy(who));
            if !waiting {
                let busy = (0..WORKERS).any(|who| self.is_busy(who));
                if !busy && caller.is_some() {
                    return Ok(done);
                }
                let before = done.len();
                let quiet = self.quiet();
                self.collect(&mut done);
                if quiet && done.len() == before {
                    return Ok(done);
                }
            }
            if begun.elapsed() > PATIENCE {
                self.note_done(caller.unwrap_or(WORKERS), done);
                let stuck = self.stuck();
                self.note("HANG", &stuck);
                return Err(Hang);
            }
            self.shared.wait(seen, if waiting { 1000 } else { 50 });
            self.bury();
        }
    }

    fn is_busy(&self, who: usize) -> bool {
        self.workers[who].as_ref().is_some_and(|p| p.state == State::Busy)
    }

    fn stuck(&self) -> String {
        let busy = self.workers.iter().flatten().filter(|p| p.state == State::Busy);
        busy.map(|p| p.call.clone()).collect::<Vec<_>>().join("; ")
    }

    fn quiet(&self) -> bool {
        if (0..WORKERS).any(|who| self.is_busy(who) && self.shared.slot(who).unseen()) {
            return false;
        }
        let busy =
            self.workers.iter().flatten().filter(|p| p.state == State::Busy).filter_map(|p| p.watch.as_ref());
        if !self.family.is_empty() && busy.clone().any(Watch::listens) {
            return self.served(busy);
        }
        let all = busy.chain(&self.family);
        match self.pace {
            Pace::OneCpu(_) => watch::quiet(all),
            Pace::Spread => {
                let first = watch::counts(all.clone());
                self.shared.wait(self.shared.bell.load(Ordering::Acquire), 300);
                first.is_some() && watch::counts(all) == first
            }
        }
    }

    /// Whether workers of which some sleep in the broker sleep on after it has looked at its sleepers, as it does by and by.
    fn served<'a>(&self, busy: impl Iterator<Item = &'a Watch> + Clone) -> bool {
        let looks = || self.family.iter().map(Watch::runs).sum::<u64>();
        let (first, before) = (watch::counts(busy.clone()), looks());
        for _ in 0..50 {
            if looks() >= before + 4 {
                return first.is_some() && watch::counts(busy) == first;
            }
            self.shared.wait(self.shared.bell.load(Ordering::Acquire), 1000);
        }
        false
    }

    /// Notices workers that died of themselves.
    fn bury(&mut self) {
        for who in 0..WORKERS {
            let Some(process) = &self.workers[who] else { continue };
            if process.ours
                && process.state != State::Dead
                && let Ok(Some(how)) = sys::wait(process.pid, false)
            {
                let call = process.call.clone();
                self.mark_dead(process.pid);
                self.note(&format!("DIED {who}: {how} in {call}"), "");
            }
        }
    }

    fn mark_dead(&mut self, pid: u32) {
        for process in self.workers.iter_mut().flatten().filter(|p| p.pid == pid) {
            process.state = State::Dead;
            process.watch = None;
        }
    }

    fn newborn(&mut self, who: usize) {
        self.workers[who] = None;
        self.shared.slot(who).reset();
    }

    fn start(&mut self, who: usize) -> io::Result<()> {
        self.newborn(who);
        let worker = Worker { shared: self.shared, fd: self.fd, who };
        if sys::fork()? == 0 {
            sys::die_with_parent();
            if matches!(self.pace, Pace::OneCpu(_)) {
                let _ = sys::schedule(PRIORITY);
            }
            worker.serve();
        }
        self.arrived(who, true).map_err(|Hang| io::ErrorKind::TimedOut.into())
    }

    /// Waits until a new worker has said who it is.
    fn arrived(&mut self, who: usize, ours: bool) -> Result<(), Hang> {
        let slot = self.shared.slot(who);
        let begun = Instant::now();
        while slot.tid.load(Ordering::Acquire) == 0 {
            if begun.elapsed() > PATIENCE {
                self.note(&format!("HANG: worker {who} does not start"), "");
                return Err(Hang);
            }
            let seen = self.shared.bell.load(Ordering::Acquire);
            if slot.tid.load(Ordering::Acquire) == 0 {
                self.shared.wait(seen, 1000);
            }
        }
        let (pid, tid) = (slot.pid.load(Ordering::Acquire), slot.tid.load(Ordering::Acquire));
        self.known.insert(tid, who);
        self.known.entry(pid).or_insert(who);
        self.workers[who] = Some(Process {
            pid,
            tid,
            state: State::Free,
            stopped: false,
            ours,
            watch: Watch::new(pid, tid).ok(),
            call: String::new(),
            keep: None,
            op: Op::Wait,
        });
        Ok(())
    }

    fn born(&mut self, parent: usize, who: usize, op: Op) -> Result<(), Hang> {
        let ours = op == Op::Thread && self.workers[parent].as_ref().is_some_and(|p| p.ours);
        self.arrived(who, ours)
    }

    /// After exec: the other threads are gone, the caller's thread has the process's number.
    fn renewed(&mut self, who: usize) -> Result<(), Hang> {
        let Some((pid, ours)) = self.workers[who].as_ref().map(|p| (p.pid, p.ours)) else { return Ok(()) };
        let call = self.workers[who].as_ref().map(|p| p.call.clone()).unwrap_or_default();
        self.mark_dead(pid);
        self.arrived(who, ours)?;
        if let Some(process) = &mut self.workers[who] {
            process.call = call;
        }
        Ok(())
    }

    fn exited(&mut self, line: &str, who: usize) -> Result<(), Hang> {
        let Some((pid, ours)) = self.workers[who].as_ref().map(|p| (p.pid, p.ours)) else { return Ok(()) };
        let how = self.gone(pid, ours)?;
        self.mark_dead(pid);
        let done = self.settle(None, None)?;
        self.note(line, &how);
        self.note_done(WORKERS, done);
        Ok(())
    }

    /// Waits for a process's end: ours is reaped, another's is a zombie then.
    fn gone(&mut self, pid: u32, ours: bool) -> Result<String, Hang> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if ours {
                if let Ok(Some(how)) = sys::wait(pid, false) {
                    return Ok(how);
                }
            } else if matches!(state_of(pid), None | Some('Z' | 'X')) {
                return Ok("a zombie".to_string());
            }
            self.shared.wait(self.shared.bell.load(Ordering::Acquire), 100);
        }
        self.note(&format!("HANG: {pid} does not end"), "");
        Err(Hang)
    }

    fn kill(&mut self, line: &str, who: usize) -> Result<(), Hang> {
        let Some((pid, ours)) = self.alive(who) else {
            self.note(line, "dead");
            return Ok(());
        };
        sys::kill(pid, libc::SIGKILL);
        let how = self.gone(pid, ours)?;
        self.mark_dead(pid);
        let done = self.settle(None, None)?;
        self.note(line, &how);
        self.note_done(WORKERS, done);
        Ok(())
    }

    fn alive(&self, who: usize) -> Option<(u32, bool)> {
        self.workers[who].as_ref().filter(|p| p.state != State::Dead).map(|p| (p.pid, p.ours))
    }

    fn signal(&mut self, line: &str, who: usize) -> Result<(), Hang> {
        let Some(process) = self.workers[who].as_ref().filter(|p| p.state != State::Dead) else {
            self.note(line, "dead");
            return Ok(());
        };
        let (pid, tid, stopped) = (process.pid, process.tid, process.stopped);
        let first = self.known.get(&pid).copied().unwrap_or(who);
        let handled = &self.shared.slot(first).handled;
        let before = handled.load(Ordering::Acquire);
        sys::tgkill(pid, tid, libc::SIGUSR1);
        let begun = Instant::now();
        while !stopped && handled.load(Ordering::Acquire) == before {
            if begun.elapsed() > PATIENCE {
                self.note(&format!("HANG: {line} is not handled"), "");
                return Err(Hang);
            }
            self.shared.wait(self.shared.bell.load(Ordering::Acquire), 50);
        }
        let done = self.settle(None, None)?;
        self.note(line, "");
        self.note_done(WORKERS, done);
        Ok(())
    }

    fn stop(&mut self, line: &str, who: usize) -> Result<(), Hang> {
        let Some((pid, _)) = self.alive(who) else {
            self.note(line, "dead");
            return Ok(());
        };
        sys::kill(pid, libc::SIGSTOP);
        let begun = Instant::now();
        while state_of(pid) != Some('T') && begun.elapsed() < PATIENCE {
            self.shared.wait(self.shared.bell.load(Ordering::Acquire), 50);
        }
        self.workers.iter_mut().flatten().filter(|p| p.pid == pid).for_each(|p| p.stopped = true);
        let done = self.settle(None, None)?;
        self.note(line, "");
        self.note_done(WORKERS, done);
        Ok(())
    }

    fn cont(&mut self, line: &str, who: usize) -> Result<(), Hang> {
        if let Some((pid, _)) = self.alive(who) {
            sys::kill(pid, libc::SIGCONT);
            self.workers.iter_mut().flatten().filter(|p| p.pid == pid).for_each(|p| p.stopped = false);
        }
        let done = self.settle(None, None)?;
        self.note(line, "");
        self.note_done(WORKERS, done);
        Ok(())
    }

    /// Ends and reaps all workers, one after the other, also those that have become orphans.
    fn end(&mut self) {
        for who in 0..WORKERS {
            let Some((pid, ours)) = self.alive(who) else { continue };
            sys::kill(pid, libc::SIGKILL);
            let gone = self.gone(pid, ours);
            self.mark_dead(pid);
            if gone.is_ok() {
                self.rest();
            }
        }
        while sys::wait_any() {}
        self.workers = Default::default();
    }

    /// Waits until those who work for the workers have nothing to do.
    fn rest(&self) {
        let begun = Instant::now();
        while !self.quiet() && begun.elapsed() < PATIENCE {
            self.shared.wait(self.shared.bell.load(Ordering::Acquire), 50);
        }
    }

    /// Replaces process numbers by workers and times by marks.
    fn translate(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let known = after.split_once('}').and_then(|(inner, tail)| Some((self.word(inner)?, tail)));
            rest = known.as_ref().map_or(after, |(_, tail)| tail);
            out.push_str(known.as_ref().map_or("{", |(word, _)| word));
        }
        out + rest
    }

    /// What `p:NUMBER` and `t:NUMBER` stand for.
    fn word(&self, marked: &str) -> Option<String> {
        let (what, number) = marked.split_once(':')?;
        let number: i64 = number.parse().ok()?;
        match what {
            "p" => Some(self.person(number)),
            "t" => Some(self.moment(number)),
            _ => None,
        }
    }

    fn person(&self, pid: i64) -> String {
        match (pid, self.known.get(&(pid as u32))) {
            (0, _) => "0".to_string(),
            (_, Some(who)) => format!("w{who}"),
            _ if pid == i64::from(std::process::id()) => "driver".to_string(),
            _ => "stranger".to_string(),
        }
    }

    fn moment(&self, time: i64) -> String {
        if time == 0 {
            return "0".to_string();
        }
        match self.marks.iter().rposition(|&mark| mark <= time) {
            None => "early".to_string(),
            Some(_) if time > sys::seconds() => "future".to_string(),
            Some(k) => format!("t{k}"),
        }
    }
}

/// The letter of a process's state.
fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
