//! `ring3 serve`: keeps a namespace that programs can join, in the foreground, in the background or for systemd.

use crate::args::Serve;
use crate::fault::{Fault, Result};
use crate::keeper::{self, Broker, News};
use crate::limit;
use crate::notify::{self, FdStore, Manager};
use crate::place::Namespace;
use crate::sys::{self, Event, Signals};
use std::env;
use std::fs::OpenOptions;
use std::io::IsTerminal;
use std::process::{Child, Stdio};
use std::time::Duration;

/// How long the background process may take to be ready.
const PATIENCE: Duration = Duration::from_secs(20);

/// Serves and returns the exit status.
pub(crate) fn main(args: &Serve) -> Result<u8> {
    keeper::leave()?;
    if args.daemon { background(args) } else { keep(args) }
}

/// Starts `ring3 serve` again without a terminal, and waits until it says that it is ready.
fn background(args: &Serve) -> Result<u8> {
    let fail = |why| Fault::io("go to the background", why);
    // Said here, where somebody reads it.
    Namespace::named(&args.name)?;
    let manager = Manager::new().map_err(fail)?;
    let mut command = sys::myself();
    command.args(again()).arg("--detached").env(notify::VARIABLE, &manager.name).env_remove(notify::STORE);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.spawn().map_err(fail)?;
    wait_ready(&manager, &mut child)
}

/// This command line without `--daemon`.
fn again() -> impl Iterator<Item = std::ffi::OsString> {
    env::args_os().skip(1).filter(|word| word != "--daemon" && word != "-d")
}

fn wait_ready(manager: &Manager, child: &mut Child) -> Result<u8> {
    let step = Duration::from_millis(50);
    let mut waited = Duration::ZERO;
    while waited < PATIENCE {
        if manager.ready_within(step).map_err(|why| Fault::io("hear the background process", why))? {
            return Ok(0);
        }
        if let Ok(Some(status)) = child.try_wait() {
            // It has said why on standard error.
            return Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1));
        }
        waited += step;
    }
    // It is of no use any more; that it is gone already would be as good.
    let _ = child.kill();
    Err(Fault::new("the background process did not become ready").remedy("try without --daemon to see why"))
}

/// Keeps the namespace until it is stopped.
fn keep(args: &Serve) -> Result<u8> {
    sys::set_name(c"ring3");
    // Before anything else is opened, in whose way they would be.
    let given = notify::given_back(&args.name);
    let signals = Signals::take().map_err(|why| Fault::io("take over signals", why))?;
    if args.detached {
        // It fails only for a group leader, which a child of `background` is not.
        let _ = rustix::process::setsid();
    }
    let mut terms = limit::terms(&args.limits, args.share);
    terms.store = FdStore::of(&args.name);
    let namespace = Namespace::named(&args.name)?;
    let mut broker = match given {
        nothing if nothing.is_empty() => Broker::start(namespace, &terms)?,
        given => Broker::go_on(namespace, given, &terms)?,
    };
    notify::tell(&format!("READY=1\nSTATUS=Serving namespace {}", args.name));
    if args.detached {
        detach()?;
    } else if std::io::stderr().is_terminal() {
        eprintln!("ring3: serving namespace {0}; join it with: ring3 run --in {0} -- CMD", args.name);
    }
    let mut asked = 0_u32;
    let left = loop {
        match signals.next(Some(broker.control()), None) {
            Event::Readable => match broker.latest() {
                News::Another => {}
                News::Ended(leaks) => break Some(leaks),
                News::Gone => break None,
            },
            Event::Signal(arrival)
                if [libc::SIGINT, libc::SIGTERM, libc::SIGHUP].contains(&arrival.signal) =>
            {
                asked += 1;
                notify::tell("STOPPING=1");
                if asked == 1 { broker.finish() } else { broker.kill() }
            }
            Event::Signal(_) | Event::Nothing => {}
        }
    };
    if asked == 0 {
        notify::tell("STOPPING=1");
    }
    match broker.after(left) {
        Err(_) if asked > 1 => Ok(0),
        reported => reported.map(|_| 0),
    }
}

/// Lets go of the terminal and of the starter's directory and error output.
fn detach() -> Result<()> {
    let fail = |why: std::io::Error| Fault::io("go to the background", why);
    env::set_current_dir("/").map_err(fail)?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").map_err(fail)?;
    rustix::stdio::dup2_stderr(&null).map_err(|why| fail(why.into()))
}
