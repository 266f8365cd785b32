//! The broker's process, the other side of `keeper.rs`.
//!
//! It has a session of its own, holds no descriptor of its keeper's but the three it was given, and ends by
//! removing the namespace and handing in its report, whether or not a keeper is left to read it.

use crate::family;
use crate::keeper;
use crate::leak::Leak;
use crate::place::Fresh;
use crate::sys;
use ring3_abi::limits::Limits;
use ring3_broker::{Config, Keeper, Report, Word};
use std::env;
use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// How often a broker without a keeper looks whether programs are left.
const BETWEEN: Duration = Duration::from_millis(50);

/// What a broker is born with.
pub(crate) struct Start {
    /// The namespace, its socket and its lock.
    pub(crate) fresh: Fresh,
    /// Its limits.
    pub(crate) limits: Limits,
    /// The keeper.
    pub(crate) control: UnixStream,
    /// /dev/null.
    pub(crate) null: File,
    /// Where the trace goes.
    pub(crate) trace: Option<File>,
}

/// Serves until the end. For a process that its keeper has just forked: what else the keeper had is not dropped, only forgotten.
pub(crate) fn main(start: Start) -> ! {
    let Start { fresh, limits, control, null, trace } = start;
    let told =
        depart(&[fresh.listener.as_raw_fd(), fresh.lock.as_raw_fd(), control.as_raw_fd()], null, trace)
            .map_err(|why| format!("the broker cannot leave its keeper: {why}"))
            .and_then(|()| serve(fresh, limits, control));
    sys::exit(told.map_or_else(
        |why| {
            eprintln!("ring3: {why}");
            1
        },
        |()| 0,
    ))
}

/// Leaves the keeper's standard streams, descriptors, signals, session and directory.
fn depart(given: &[i32], null: File, trace: Option<File>) -> io::Result<()> {
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(trace.as_ref().unwrap_or(&null))?;
    drop((null, trace));
    sys::close_all_but(given);
    sys::unblock_signals();
    // It fails only for a group leader, which a forked child is not.
    let _ = rustix::process::setsid();
    sys::set_name(c"ring3-broker");
    sys::set_command_line(b"ring3\0broker");
    env::set_current_dir("/")
}

fn serve(fresh: Fresh, limits: Limits, control: UnixStream) -> Result<(), String> {
    let Fresh { namespace, listener, lock } = fresh;
    let heard = control.try_clone().map_err(|why| format!("the broker cannot hear its keeper: {why}"))?;
    let keeper = Heard { control: heard, socket: namespace.socket(), last_word: None };
    let served = ring3_broker::serve(Config {
        listener,
        name: namespace.name.clone(),
        limits,
        keeper: Some(Box::new(keeper)),
    });
    namespace.remove();
    let report = served.map_err(|why| format!("the broker of {:?} failed: {why}", namespace.name))?;
    hand_in(control, &report);
    drop(lock);
    Ok(())
}

/// The keeper, as it is heard here.
#[derive(Debug)]
struct Heard {
    control: UnixStream,
    /// The namespace's, as its programs find it in their environment.
    socket: PathBuf,
    /// The keeper died: hangs up when no program is left.
    last_word: Option<PipeReader>,
}

impl Keeper for Heard {
    fn voice(&self) -> BorrowedFd<'_> {
        self.last_word.as_ref().map_or_else(|| self.control.as_fd(), AsFd::as_fd)
    }

    fn hear(&mut self) -> Word {
        if self.last_word.is_some() {
            return Word::End;
        }
        let mut word = [0];
        match self.control.read(&mut word) {
            Ok(1) if word == [keeper::STAY] => Word::Stay,
            Ok(1) => Word::End,
            _ => self.outlive(),
        }
    }
}

impl Heard {
    /// After a death nobody has counted: programs that have not called yet are waited for, too. To look through all processes takes its time,
    /// and the kernel may let a reader of these files wait; so a thread reads them, while the broker serves.
    fn outlive(&mut self) -> Word {
        let Ok((last_word, end)) = io::pipe() else { return Word::End };
        let socket = self.socket.clone();
        let look = move || {
            while family::anybody_with("RING3_SOCKET", socket.as_os_str()) {
                thread::sleep(BETWEEN);
            }
            drop(end);
        };
        self.last_word = Some(last_word);
        // Without a thread the other end is let go here and now.
        let _ = thread::Builder::new().spawn(look);
        Word::Later
    }
}

/// Sends what was left behind; nobody may be there to hear it.
fn hand_in(mut keeper: UnixStream, report: &Report) {
    let leaks: Vec<Leak> = report.left.iter().map(|left| Leak::new(left.kind, &left.detail)).collect();
    let mut line = serde_json::to_vec(&leaks).unwrap_or_default();
    line.push(b'\n');
    let _ = keeper.write_all(&line);
}
