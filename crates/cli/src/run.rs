//! `ring3 run`: a program in a namespace, from its start to the end of its last descendant.
//!
//! This process is the keeper and, as a subreaper, the ancestor of everything CMD starts: when its broker is its
//! only child, nobody of the namespace is left. It keeps out of the way of CMD's terminal: same session, same
//! process group, descriptors untouched.
//!
//! # Invariants
//! R1. No descendant but this process's children can be without a living parent that is a descendant; so "my only
//!     child is the broker" means "no descendant is left". kernel: find_new_reaper(), kernel/exit.c.
//! R2. Only this process reaps its children, so a child seen once stays visible until it is reaped here.

use crate::args::Run;
use crate::client::Client;
use crate::fault::{Fault, Result, plain};
use crate::keeper::{self, Broker, News};
use crate::launch::launch;
use crate::place::{self, Namespace};
use crate::sys::{self, Arrival, Event, Signals};
use crate::{family, leak, limit};
use rustix::process::{WaitOptions, WaitStatus};
use std::io::{self, IsTerminal};
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// How long the wait for CMD's descendants may last before a terminal is told about it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs it and returns the exit status.
pub(crate) fn main(args: &Run) -> Result<u8> {
    keeper::leave()?;
    sys::set_name(c"ring3");
    match &args.name {
        Some(name) => join(args, &Namespace::named(name)?),
        None => private(args),
    }
}

/// CMD's command line.
fn command(args: &Run, namespace: &Namespace) -> Result<Command> {
    let (program, rest) = args.command.split_first().ok_or_else(|| Fault::new("no CMD").status(2))?;
    let mut command = Command::new(program);
    command.args(rest);
    keeper::enter(&mut command, namespace);
    Ok(command)
}

/// Why CMD could not be started; 127 and 126 as a shell says them.
fn unstartable(args: &Run, why: &io::Error) -> Fault {
    let name = args.command.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let status = if why.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
    let text = if status == 127 { "not found".to_string() } else { plain(why) };
    Fault::new(format!("cannot run {name:?}: {text}")).status(status)
}

/// Becomes CMD inside a namespace that somebody else keeps.
fn join(args: &Run, namespace: &Namespace) -> Result<u8> {
    if !namespace.served() {
        return Err(namespace.missing());
    }
    let mut command = command(args, namespace)?;
    Client::to(Some(&namespace.name))?.join()?;
    sys::give_sigpipe_to(&mut command);
    Err(unstartable(args, &command.exec()))
}

/// Runs CMD in a namespace of its own.
fn private(args: &Run) -> Result<u8> {
    let signals = Signals::take().map_err(|why| Fault::io("take over signals", why))?;
    let broker =
        Broker::start(Namespace::named(&place::private_name())?, &limit::terms(&args.limits, args.share))?;
    if let Some(path) = keeper::trace_path(&broker.namespace) {
        eprintln!("ring3: tracing to {}", path.display());
    }
    if !args.keep {
        let me = rustix::process::getpid();
        rustix::process::set_child_subreaper(Some(me)).map_err(|why| Fault::io("become a subreaper", why))?;
    }
    let command = command(args, &broker.namespace)?;
    let started = match early_end(&signals) {
        Some(signal) => {
            Err(Fault::new(format!("ended by signal {signal} before CMD started")).status(over(signal)))
        }
        None => launch(&command, signals.before()).map_err(|why| unstartable(args, &why)),
    };
    let scene = match started {
        Ok(command) => Scene { signals, broker, command, status: None, asked: 0, dead: false },
        Err(fault) => {
            let mut broker = broker;
            broker.finish();
            broker.report()?;
            return Err(fault);
        }
    };
    if args.keep { scene.keep(args) } else { scene.play(args) }
}

/// A signal that came while the broker was being started and that would have ended this process.
fn early_end(signals: &Signals) -> Option<i32> {
    const ENDING: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];
    while let Event::Signal(arrival) = signals.next(None, Some(Duration::ZERO)) {
        if ENDING.contains(&arrival.signal) {
            return Some(arrival.signal);
        }
    }
    None
}

/// The exit status that says "ended by this signal".
fn over(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

/// CMD, its descendants, its broker.
struct Scene {
    signals: Signals,
    broker: Broker,
    command: i32,
    /// CMD's exit status, once it has ended.
    status: Option<u8>,
    /// How often the user asked for the rest to end.
    asked: u32,
    /// The broker died.
    dead: bool,
}

impl Scene {
    /// Waits for the last descendant, then for the broker's report.
    fn play(mut self, args: &Run) -> Result<u8> {
        let mut told = args.quiet || !io::stderr().is_terminal();
        loop {
            self.reap();
            if self.status.is_some() && self.alone() {
                break;
            }
            let within = (self.status.is_some() && !told).then_some(PATIENCE);
            match self.signals.next(self.voice(), within) {
                Event::Signal(arrival) => self.hear(arrival),
                Event::Readable => self.hear_broker(),
                Event::Nothing if within.is_some() => {
                    told = true;
                    self.say_waiting();
                }
                Event::Nothing => {}
            }
        }
        let status = self.status.unwrap_or(1);
        match self.finish() {
            Ok(leaks) if !args.quiet => leak::say(&leaks),
            Ok(_) => {}
            Err(fault) => eprintln!("ring3: {fault}"),
        }
        Ok(status)
    }

    /// Waits for CMD only and leaves the broker serving.
    fn keep(mut self, args: &Run) -> Result<u8> {
        while self.status.is_none() {
            self.reap();
            if self.status.is_some() {
                break;
            }
            match self.signals.next(self.voice(), None) {
                Event::Signal(arrival) => self.hear(arrival),
                Event::Readable => self.hear_broker(),
                Event::Nothing => {}
            }
        }
        let name = self.broker.namespace.name.clone();
        self.broker.stay()?;
        if !args.quiet {
            eprintln!("ring3: namespace {name} goes on; end it with: ring3 stop {name}");
        }
        Ok(self.status.unwrap_or(1))
    }

    /// Asks the broker for its report. Whoever joined by name is waited for; a signal ends that.
    fn finish(mut self) -> Result<Vec<leak::Leak>> {
        if self.dead {
            // That was said when it happened; now only its remains are left.
            self.broker.namespace.clear();
            return Ok(Vec::new());
        }
        self.broker.finish();
        loop {
            match self.signals.next(Some(self.broker.control()), None) {
                Event::Readable => match self.broker.latest() {
                    News::Another => {}
                    News::Ended(leaks) => return self.broker.after(Some(leaks)),
                    News::Gone => return self.broker.after(None),
                },
                Event::Signal(arrival) if ends(arrival.signal) => self.broker.kill(),
                Event::Signal(_) | Event::Nothing => {}
            }
        }
    }

    /// What becomes readable when there is news of the broker.
    fn voice(&self) -> Option<BorrowedFd<'_>> {
        (!self.dead).then(|| self.broker.control())
    }

    /// The broker is another process, or gone.
    fn hear_broker(&mut self) {
        if !matches!(self.broker.latest(), News::Another) {
            self.dead = true;
            eprintln!("ring3: {}", self.broker.died());
        }
    }

    /// Takes in every child that has ended or stopped.
    fn reap(&mut self) {
        let options = WaitOptions::NOHANG | WaitOptions::UNTRACED;
        while let Ok(Some((pid, status))) = rustix::process::wait(options) {
            let pid = pid.as_raw_nonzero().get();
            if pid == self.command {
                self.command_changed(status);
            }
        }
    }

    fn command_changed(&mut self, status: WaitStatus) {
        if let Some(code) = status.exit_status() {
            self.status = Some(u8::try_from(code).unwrap_or(u8::MAX));
        } else if let Some(signal) = status.terminating_signal() {
            self.status = Some(over(signal));
        } else if status.stopped() && in_foreground() {
            // The shell waits for this process, not for CMD: stop along, and go on along.
            sys::kill(std::process::id().cast_signed(), libc::SIGSTOP);
            sys::kill(self.command, libc::SIGCONT);
        }
    }

    /// Passes a signal on. One from the kernel (the terminal's) has reached CMD already; one from CMD's own family
    /// was meant for a group that this process happens to be in.
    fn hear(&mut self, arrival: Arrival) {
        if arrival.signal == libc::SIGCHLD {
            return;
        }
        if self.status.is_some() {
            if ends(arrival.signal) {
                self.end_rest();
            }
            return;
        }
        if let Some(sender) = arrival.sender
            && !family::is_descendant(sender)
        {
            sys::kill(self.command, arrival.signal);
        }
    }

    /// CMD is gone and somebody wants the rest to go too: politely at first.
    fn end_rest(&mut self) {
        self.asked += 1;
        let signal = if self.asked == 1 { libc::SIGTERM } else { libc::SIGKILL };
        for pid in self.rest() {
            sys::kill(pid, signal);
        }
    }

    /// Everybody of the namespace that descends from here.
    fn rest(&self) -> Vec<i32> {
        family::descendants_but(self.broker.pid())
    }

    /// R1, R2.
    fn alone(&self) -> bool {
        family::only_child(self.broker.pid())
    }

    fn say_waiting(&self) {
        let rest: Vec<String> =
            self.rest().into_iter().map(|pid| format!("{} {pid}", family::name(pid))).collect();
        if !rest.is_empty() {
            eprintln!(
                "ring3: CMD has ended; waiting for what it started: {} (Ctrl-C ends it)",
                rest.join(", ")
            );
        }
    }
}

/// Whether a signal asks a program to end.
fn ends(signal: i32) -> bool {
    [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT].contains(&signal)
}

/// Whether this process group has the terminal, so that a shell with job control looks at this process.
fn in_foreground() -> bool {
    std::fs::File::open("/dev/tty").is_ok_and(|tty| {
        rustix::termios::tcgetpgrp(&tty).is_ok_and(|group| group == rustix::process::getpgrp())
    })
}
