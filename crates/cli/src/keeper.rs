//! The keeper: starts a namespace's broker, waits for it, learns what was left.
//!
//! The broker is this same binary, executed again as `ring3 broker`. Its standard input is a socket to the
//! keeper; nothing else of the keeper's goes with it. Over that socket:
//!
//! | from | what |
//! | --- | --- |
//! | keeper | one line of JSON, [`Start`], beside it two descriptors: the listening socket and the lock |
//! | broker | the line `ready` |
//! | keeper | one byte, [`FINISH`] (end when the last client is gone) or [`STAY`] (go on without a keeper) |
//! | broker | one line of JSON, [`crate::leak::Leak`]s, and the end of file |
//!
//! # Death
//! A keeper that is killed hangs up: the broker ends with its last client and removes the namespace. A broker
//! that is killed hangs up: the keeper says so and removes the namespace.

use crate::fault::{Fault, Result};
use crate::leak::Leak;
use crate::place::{self, Fresh, Namespace};
use crate::sys;
use ring3_abi::limits::Limits;
use rustix::io::IoSlice;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde::{Deserialize, Serialize};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Tells the broker to end when the last client is gone.
pub(crate) const FINISH: u8 = b'f';
/// Tells the broker to go on without a keeper until `ring3 stop`.
pub(crate) const STAY: u8 = b's';

/// What a broker is told at first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    /// The namespace's name.
    pub(crate) name: String,
    /// Its directory.
    pub(crate) dir: PathBuf,
    /// The limits, in the order of `Limits`' fields, each as its 64 bits.
    pub(crate) limits: Vec<u64>,
}

/// A running broker, seen by its keeper.
pub(crate) struct Broker {
    /// The namespace it serves.
    pub(crate) namespace: Namespace,
    child: Child,
    control: BufReader<UnixStream>,
}

impl Broker {
    /// Makes a namespace, starts its broker, and waits until that is ready. The broker's process comes first: it gets on its feet while the
    /// namespace is made.
    pub(crate) fn start(namespace: Namespace, limits: &Limits) -> Result<Broker> {
        let (mut child, control) = spawn(&namespace).map_err(|why| Fault::io("start the broker", why))?;
        let fresh = match namespace.create() {
            Ok(fresh) => fresh,
            Err(fault) => {
                // It hears that nobody wants it, and ends.
                drop(control);
                let _ = child.wait();
                return Err(fault);
            }
        };
        let broker = Broker { namespace: fresh.namespace.clone(), child, control: BufReader::new(control) };
        broker.begin(fresh, limits)
    }

    /// Tells it what to serve, and waits until it does.
    fn begin(mut self, fresh: Fresh, limits: &Limits) -> Result<Broker> {
        let words: [u64; size_of::<Limits>() / 8] = zerocopy::transmute!(*limits);
        let start = Start {
            name: fresh.namespace.name.clone(),
            dir: fresh.namespace.dir.clone(),
            limits: words.to_vec(),
        };
        let sent = send(self.control.get_ref(), &start, &fresh);
        drop(fresh);
        let mut line = String::new();
        match sent.and_then(|()| self.control.read_line(&mut line)) {
            Ok(_) if line == "ready\n" => Ok(self),
            _ => {
                self.kill();
                let status =
                    self.child.wait().map_or_else(|why| why.to_string(), |status| status.to_string());
                self.namespace.clear();
                Err(Fault::new(format!(
                    "the broker of namespace {:?} did not start: {status}",
                    self.namespace.name
                ))
                .remedy("RING3_LOG=debug records what happens"))
            }
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
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
        let mut report = String::new();
        let heard = self.control.read_line(&mut report);
        // The process is gone or about to be; its status tells nothing that the report does not.
        let _ = self.child.wait();
        self.namespace.clear();
        heard.ok().and_then(|_| serde_json::from_str(&report).ok()).ok_or_else(|| self.died())
    }

    /// Ends it at once, whoever still needs it.
    pub(crate) fn kill(&mut self) {
        // The only failure is that it is gone already.
        let _ = self.child.kill();
    }

    /// Lets it go on alone.
    pub(crate) fn stay(mut self) -> Result<()> {
        self.control.get_mut().write_all(&[STAY]).map_err(|_| self.died())
    }

    /// What to say when it is gone.
    pub(crate) fn died(&self) -> Fault {
        Fault::new(format!(
            "the broker of namespace {:?} (process {}) died",
            self.namespace.name,
            self.child.id()
        ))
        .remedy("programs in it cannot use System V IPC any more; RING3_LOG=debug records what happens")
    }
}

/// Starts the broker's process. The signals that this process keeps from what it starts it lets in by itself: a start without steps of
/// its own between fork and exec is a faster one.
fn spawn(namespace: &Namespace) -> std::io::Result<(Child, UnixStream)> {
    let (mine, its) = UnixStream::pair()?;
    let mut command = sys::myself();
    command.arg("broker").stdin(OwnedFd::from(its)).stdout(Stdio::null()).stderr(trace_file(namespace));
    Ok((command.current_dir("/").spawn()?, mine))
}

/// Sends the first line and the descriptors.
fn send(control: &UnixStream, start: &Start, fresh: &Fresh) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(start)?;
    line.push(b'\n');
    let descriptors = [fresh.listener.as_fd(), fresh.lock.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    beside.push(SendAncillaryMessage::ScmRights(&descriptors));
    rustix::net::sendmsg(control, &[IoSlice::new(&line)], &mut beside, SendFlags::empty())?;
    Ok(())
}

/// The file that `RING3_LOG=debug` asks for, opened for appending by every user of the namespace; else nothing.
fn trace_file(namespace: &Namespace) -> Stdio {
    trace_path(namespace)
        .and_then(|path| {
            // It may be the first thing in there.
            place::make_base().ok()?;
            let file = OpenOptions::new().append(true).create(true).mode(0o666).open(path).ok()?;
            // Programs of the namespace may change user; the umask must not keep them out.
            let _ = rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o666));
            Some(Stdio::from(file))
        })
        .unwrap_or_else(Stdio::null)
}

/// Where the trace goes, if there is one.
pub(crate) fn trace_path(namespace: &Namespace) -> Option<PathBuf> {
    if env::var_os("RING3_LOG").is_none_or(|level| level != "debug") {
        return None;
    }
    Some(env::var_os("RING3_LOG_FILE").map_or_else(|| namespace.log(), PathBuf::from))
}

/// Makes `command` a program of the namespace: the agent goes first in LD_PRELOAD.
pub(crate) fn enter(command: &mut Command, namespace: &Namespace) {
    let library = namespace.library();
    let mut preload = library.clone().into_os_string();
    for other in preloaded_besides_agent() {
        preload.push(":");
        preload.push(other);
    }
    command.env("LD_PRELOAD", preload).env("RING3_SOCKET", namespace.socket()).env("RING3_LIB", library);
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

/// Ends this process's hold on everything it inherited above standard error. For the broker's process only.
pub(crate) fn drop_inherited() {
    sys::close_from(3);
}
