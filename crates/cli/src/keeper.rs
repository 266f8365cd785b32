//! The keeper: starts a namespace's broker, waits for it, learns what was left.
//!
//! The broker is a fork of the keeper that goes its own way (`broker.rs`): an exec would cost more than all the rest of its start. It has
//! the listening socket, the lock and a socket to the keeper. Over that:
//!
//! | from | what |
//! | --- | --- |
//! | keeper | one byte, [`FINISH`] (end when the last client is gone) or [`STAY`] (go on without a keeper); [`DIE`]: nobody is to go on |
//! | broker | [`BROKER`] and a process's number, a line, from each that has taken a dead one's place |
//! | broker | one line of JSON, [`crate::leak::Leak`]s, and the end of file |
//!
//! Nothing says that the broker is ready: its socket listens before it is born, and whoever calls early waits for an answer.
//!
//! # Death
//! A keeper that is killed hangs up: the broker ends with its last client and removes the namespace. A broker that is killed is followed by
//! its lookout (`lookout.rs`). Both killed at once, they hang up: the keeper says so and removes the namespace.

use crate::broker::{self, Start};
use crate::fault::{Fault, Result};
use crate::leak::Leak;
use crate::limit::Terms;
use crate::narrow;
use crate::notify::FdStore;
use crate::place::{Fresh, Namespace};
use crate::sys;
use rustix::process::{Pid, WaitOptions};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

/// Tells the broker to end when the last client is gone.
pub(crate) const FINISH: u8 = b'f';
/// Tells the broker to go on without a keeper until `ring3 stop`.
pub(crate) const STAY: u8 = b's';
/// Tells whoever would take the broker's place not to.
pub(crate) const DIE: u8 = b'd';
/// What the line begins with by which a broker says that it is the one.
pub(crate) const BROKER: &str = "broker ";

/// What the broker says.
pub(crate) enum News {
    /// It is another process now.
    Another,
    /// It has ended, and left this behind.
    Ended(Vec<Leak>),
    /// It is gone, and nobody has taken its place.
    Gone,
}

/// A running broker, seen by its keeper.
pub(crate) struct Broker {
    /// The namespace it serves.
    pub(crate) namespace: Namespace,
    process: Pid,
    control: BufReader<UnixStream>,
}

impl Broker {
    /// Makes a namespace and starts its broker. For a process with one thread.
    pub(crate) fn start(namespace: Namespace, terms: &Terms) -> Result<Broker> {
        let fresh = namespace.create()?;
        let namespace = fresh.namespace.clone();
        fork(fresh, terms).map_err(|why| {
            namespace.clear();
            Fault::io("start the broker", why)
        })
    }

    /// Starts a broker that goes on where all processes of the namespace were killed at once, from what a service manager has kept of it. For a process with
    /// one thread.
    pub(crate) fn go_on(namespace: Namespace, given: Vec<OwnedFd>, terms: &Terms) -> Result<Broker> {
        let fail = |why: io::Error| Fault::io("start the broker again", why);
        let (control, its) = UnixStream::pair().map_err(fail)?;
        let null = OpenOptions::new().read(true).write(true).open("/dev/null").map_err(fail)?;
        let trace = trace_file(&namespace);
        let start = Start { namespace: namespace.clone(), terms: terms.clone(), control: its, null, trace };
        let Some(process) = sys::fork().map_err(fail)? else { broker::take_up(start, given) };
        drop((start, given));
        let mut broker = Broker { namespace, process, control: BufReader::new(control) };
        if let News::Another = broker.news() {
            return Ok(broker);
        }
        let ended = rustix::process::waitpid(Some(process), WaitOptions::empty()).ok().flatten();
        if ended.and_then(|(_, status)| status.exit_status()) == Some(broker::IS_SERVED) {
            return Err(Fault::new(format!("namespace {:?} is being served already", broker.namespace.name)));
        }
        // The next start finds nothing, and begins anew.
        terms.store.iter().for_each(FdStore::clear);
        Err(Fault::new(format!("what was kept of namespace {:?} is of no use", broker.namespace.name))
            .remedy("start it again: it will be empty"))
    }

    /// Hears what it says next.
    fn news(&mut self) -> News {
        let mut line = String::new();
        if self.control.read_line(&mut line).is_err() {
            return News::Gone;
        }
        let number =
            line.strip_prefix(BROKER).and_then(|number| Pid::from_raw(number.trim_end().parse().ok()?));
        if let Some(process) = number {
            self.process = process;
            return News::Another;
        }
        serde_json::from_str(&line).map_or(News::Gone, News::Ended)
    }

    /// Hears all that it has said: what [`Broker::control`] tells then is new.
    pub(crate) fn latest(&mut self) -> News {
        loop {
            match self.news() {
                News::Another if !self.control.buffer().is_empty() => {}
                news => return news,
            }
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> i32 {
        self.process.as_raw_nonzero().get()
    }

    /// Becomes readable when the broker has something to say, or is gone.
    pub(crate) fn control(&self) -> BorrowedFd<'_> {
        self.control.get_ref().as_fd()
    }

    /// Asks it to end as soon as no client is left; then [`Broker::report`] has an answer.
    pub(crate) fn finish(&mut self) {
        // If it is gone already, the report says so.
        let _ = self.control.get_mut().write_all(&[FINISH]);
    }

    /// Waits for the broker's end and returns what was left behind.
    pub(crate) fn report(mut self) -> Result<Vec<Leak>> {
        let leaks = loop {
            match self.news() {
                News::Another => {}
                News::Ended(leaks) => break Some(leaks),
                News::Gone => break None,
            }
        };
        self.after(leaks)
    }

    /// What follows from its end.
    pub(crate) fn after(self, leaks: Option<Vec<Leak>>) -> Result<Vec<Leak>> {
        // The process is gone or about to be; its status tells nothing that the report does not.
        let _ = rustix::process::waitpid(Some(self.process), WaitOptions::empty());
        self.namespace.clear();
        leaks.ok_or_else(|| self.died())
    }

    /// Ends it at once, even if processes still need it.
    pub(crate) fn kill(&mut self) {
        let _ = self.control.get_mut().write_all(&[DIE]);
        // Nobody has waited for it yet, so the number is its own.
        sys::kill(self.pid(), libc::SIGKILL);
    }

    /// Lets it go on alone.
    pub(crate) fn stay(mut self) -> Result<()> {
        self.control.get_mut().write_all(&[STAY]).map_err(|_| self.died())
    }

    /// What to say when it is gone.
    pub(crate) fn died(&self) -> Fault {
        Fault::new(format!("the broker of namespace {:?} (process {}) died", self.namespace.name, self.pid()))
            .remedy("programs in it cannot use System V IPC any more; RING3_LOG=debug records what happens")
    }
}

/// Starts the broker's process.
fn fork(fresh: Fresh, terms: &Terms) -> io::Result<Broker> {
    let (control, its) = UnixStream::pair()?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let trace = trace_file(&fresh.namespace);
    match sys::fork()? {
        Some(process) => Ok(Broker { namespace: fresh.namespace, process, control: BufReader::new(control) }),
        None => {
            let Fresh { namespace, listener, lock } = fresh;
            let start = Start { namespace, terms: terms.clone(), control: its, null, trace };
            broker::main(start, listener, lock)
        }
    }
}

/// The file that `RING3_LOG=debug` asks for, opened for appending by every user of the namespace.
fn trace_file(namespace: &Namespace) -> Option<File> {
    let file = OpenOptions::new().append(true).create(true).mode(0o666).open(trace_path(namespace)?).ok()?;
    // Programs of the namespace may change user; the umask must not keep them out.
    let _ = rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o666));
    Some(file)
}

/// Where the trace goes, if there is one.
pub(crate) fn trace_path(namespace: &Namespace) -> Option<PathBuf> {
    if env::var_os("RING3_LOG").is_none_or(|level| level != "debug") {
        return None;
    }
    Some(env::var_os("RING3_LOG_FILE").map_or_else(|| namespace.log(), PathBuf::from))
}

/// Makes `command` a program of the namespace: the agent goes first in LD_PRELOAD. One of 32 bits cannot be, and that is said.
pub(crate) fn enter(command: &mut Command, namespace: &Namespace) {
    let library = namespace.library();
    let mut preload = preloaded_besides_agent();
    if narrow::is_narrow(command.get_program()) {
        eprintln!(
            "ring3: {} is a program of 32 bits: it, and what it starts, reaches the kernel's own IPC, not this namespace",
            command.get_program().display()
        );
    } else {
        preload.insert(0, library.clone().into_os_string());
    }
    if preload.is_empty() {
        command.env_remove("LD_PRELOAD");
    } else {
        command.env("LD_PRELOAD", preload.join(OsStr::new(":")));
    }
    command.env("RING3_SOCKET", namespace.socket()).env("RING3_LIB", library);
    command.env("RING3_NS", &namespace.name);
    if let Some(path) = trace_path(namespace) {
        command.env("RING3_LOG_FILE", std::path::absolute(&path).unwrap_or(path));
    }
}

/// Leaves the namespace that this command itself runs in, if it does: by executing itself again without its agent,
/// so that what it starts belongs to nobody else. `ring3 run` inside `ring3 run` is a namespace of its own.
pub(crate) fn leave() -> Result<()> {
    if env::var_os("RING3_SOCKET").is_none_or(|path| path.is_empty()) {
        return Ok(());
    }
    let ours = ["LD_PRELOAD", "RING3_SOCKET", "RING3_LIB", "RING3_NS", "RING3_LOG_FILE"];
    let mut environment: Vec<(OsString, OsString)> =
        env::vars_os().filter(|(name, _)| !ours.iter().any(|our| name == our)).collect();
    // Empty, it says that the namespace is left on purpose: the agent does not put it back.
    environment.push(("RING3_SOCKET".into(), OsString::new()));
    let others = preloaded_besides_agent();
    if !others.is_empty() {
        environment.push(("LD_PRELOAD".into(), others.join(OsStr::new(":"))));
    }
    Err(Fault::io("leave the namespace that this runs in", sys::again_with(&environment)))
}

/// The libraries that LD_PRELOAD names, without an agent of ours.
fn preloaded_besides_agent() -> Vec<OsString> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let agent = env::var_os("RING3_LIB");
    let preload = env::var_os("LD_PRELOAD").unwrap_or_default();
    let names = preload.as_bytes().split(|byte| matches!(byte, b':' | b' ')).filter(|name| !name.is_empty());
    names.map(|name| OsString::from_vec(name.to_vec())).filter(|name| Some(name) != agent.as_ref()).collect()
}
