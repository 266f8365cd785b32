//! The namespace's broker and its keeper, found by who is whose child, and killed by number.
//!
//! The keeper is this process's parent at first (`ring3 run`), the broker the keeper's child, and the broker's lookout the broker's. Once the keeper
//! was killed the lookout is who keeps. Those that take a dead one's place are children of processes known before.

use std::fs;
use std::time::{Duration, Instant};

/// How long the namespace may be without one of them.
const PATIENCE: Duration = Duration::from_secs(5);

/// Those who were seen.
#[derive(Debug)]
pub(crate) struct Keepers {
    known: Vec<i32>,
    /// `ring3 run`, as long as it lives.
    first: i32,
}

/// Who keeps and who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) keeper: i32,
    pub(crate) broker: i32,
}

impl Keepers {
    /// For a process that `ring3 run` has started.
    pub(crate) fn new() -> Result<Keepers, String> {
        // SAFETY: getppid(2) takes nothing.
        let parent = unsafe { libc::getppid() };
        match process(parent) {
            Some((name, _)) if name == "ring3" => Ok(Keepers { known: vec![parent], first: parent }),
            other => Err(format!("the parent {parent} is no keeper: {other:?}")),
        }
    }

    /// Who they are now, if both are there.
    pub(super) fn pair(&mut self) -> Option<Pair> {
        let all = all();
        let mut at = 0;
        // Children's children, too: the list grows while it is walked.
        while let Some(parent) = self.known.get(at).copied() {
            for (pid, name, of) in &all {
                if *of == parent && name.starts_with("ring3-") && !self.known.contains(pid) {
                    self.known.push(*pid);
                }
            }
            at += 1;
        }
        self.known.retain(|known| all.iter().any(|(pid, ..)| pid == known));
        let keeps = |broker: i32| {
            let lookout = all.iter().find(|(_, name, of)| *of == broker && name == "ring3-lookout")?.0;
            Some(Pair { keeper: if self.known.contains(&self.first) { self.first } else { lookout }, broker })
        };
        let serves =
            |(pid, name, _): &&(i32, String, i32)| name == "ring3-broker" && self.known.contains(pid);
        all.iter().filter(serves).find_map(|(broker, ..)| keeps(*broker))
    }

    /// The same, waiting until both are there.
    pub(crate) fn await_pair(&mut self) -> Option<Pair> {
        let began = Instant::now();
        loop {
            if let Some(pair) = self.pair() {
                return Some(pair);
            }
            if began.elapsed() > PATIENCE {
                return None;
            }
            // SAFETY: usleep(3) takes a number.
            unsafe { libc::usleep(1000) };
        }
    }
}

/// Kills one of them and waits until it is dead.
pub(super) fn kill(pid: i32) -> bool {
    // SAFETY: it takes numbers. The process was seen as a ring3 process of this namespace a moment ago.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as i32;
    if fd < 0 {
        return false;
    }
    let is_ours = process(pid).is_some_and(|(name, _)| name.starts_with("ring3"));
    // SAFETY: as above; the descriptor names the process that has just been looked at.
    let sent =
        is_ours && unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, libc::SIGKILL, 0usize, 0) } == 0;
    let mut death = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: the structure outlives the call; a pidfd is readable when its process is dead.
    let died = sent && unsafe { libc::poll(&raw mut death, 1, PATIENCE.as_millis() as i32) } == 1;
    // SAFETY: the descriptor was opened above.
    unsafe { libc::close(fd) };
    died
}

/// All living processes: number, name, parent.
fn all() -> Vec<(i32, String, i32)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| process(pid).map(|(name, parent)| (pid, name, parent))).collect()
}

/// A living process's name and parent.
pub(super) fn process(pid: i32) -> Option<(String, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (front, rest) = stat.rsplit_once(") ")?;
    let name = front.split_once('(')?.1.to_owned();
    let mut words = rest.split(' ');
    let state = words.next()?;
    let parent = words.next()?.parse().ok()?;
    (state != "Z" && state != "X").then_some((name, parent))
}
