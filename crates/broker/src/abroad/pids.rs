//! The numbers that processes have in PID namespaces below the broker's. pid_namespaces(7); kernel: pid_nr_ns(), kernel/pid.c.
//!
//! # Invariants
//! N1. A chain starts with the broker's own namespace, and has a namespace and a number for each level from there down to the process's own.
//! N2. What a process's numbers were is known after its end, as to the kernel, whose objects keep the `struct pid`: until another process has
//!     its number, or [`DEAD`] others have ended since.

use super::place::{self, Kind, Place};
use crate::state::{Sheet, Table, keep};
use ring3_abi::Pid;
use ring3_wire::claim::OwnPid;
use std::collections::VecDeque;
use std::fs;

/// How many processes that have ended are remembered.
const DEAD: usize = 1 << 16;

/// A process's numbers (N1).
#[derive(Debug, PartialEq, Eq)]
struct Chain {
    levels: Vec<(Place, Pid)>,
    /// It has ended, as the so-manyeth.
    ended: Option<u64>,
}
keep!(Chain { levels, ended });

/// The processes of a namespace that have several numbers, by the broker's.
#[derive(Debug, Default)]
pub(crate) struct Pids {
    known: Table<Pid, Chain>,
    ended: VecDeque<Pid>,
    /// How many have ended.
    ends: u64,
}

/// The numbers in a process's status file: its own in each namespace, the outermost first.
fn numbers(status: &str) -> Option<Vec<Pid>> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_ascii_whitespace().map(|word| word.parse().ok()).collect()
}

impl Chain {
    /// `None` for a process in the broker's own namespace, and for one of which nothing is known.
    fn of(pid: Pid) -> Option<Chain> {
        if place::same(Kind::Pid, pid) {
            return None;
        }
        let (_, file) = place::open(Kind::Pid, pid)?;
        let mut places = place::upwards(Kind::Pid, file);
        places.reverse();
        let numbers = numbers(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)?;
        let whole = places.len() == numbers.len() && numbers.first() == Some(&pid);
        whole.then(|| Chain { levels: places.into_iter().zip(numbers).collect(), ended: None })
    }

    fn number(&self, place: Place) -> Option<Pid> {
        self.levels.iter().find(|level| level.0 == place).map(|level| level.1)
    }
}

impl Pids {
    /// A process becomes known.
    pub(crate) fn add(&mut self, pid: Pid) {
        if self.known.remove(&pid).is_some() {
            self.ended.retain(|&ended| ended != pid);
        }
        if let Some(chain) = Chain::of(pid) {
            self.known.insert(pid, chain);
        }
    }

    /// A process has ended (N2).
    pub(crate) fn end(&mut self, pid: Pid) {
        if let Some(chain) = self.known.get_mut(&pid) {
            self.ends += 1;
            chain.ended = Some(self.ends);
            self.ended.push_back(pid);
        }
        if self.ended.len() > DEAD
            && let Some(oldest) = self.ended.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// The part of the state.
    pub(crate) fn sheet(&mut self) -> &mut dyn Sheet {
        &mut self.known
    }

    /// Everything was read: those that have ended are put into their order.
    pub(crate) fn derive(&mut self) {
        let mut ended: Vec<(u64, Pid)> =
            self.known.iter().filter_map(|(pid, chain)| Some((chain.ended?, *pid))).collect();
        ended.sort_unstable();
        self.ends = ended.last().map_or(0, |(last, _)| *last);
        self.ended = ended.into_iter().map(|(_, pid)| pid).collect();
    }

    /// Whether a process has other numbers for others than the broker has.
    pub(crate) fn is_nested(&self, pid: Pid) -> bool {
        self.known.contains_key(&pid)
    }

    /// The namespace in which a process reads numbers; `None` for the broker's own.
    pub(crate) fn place_of(&self, pid: Pid) -> Option<Place> {
        self.known.get(&pid)?.levels.last().map(|level| level.0)
    }

    /// A process's number in a namespace below the broker's; 0 if it has none there.
    pub(crate) fn number(&self, pid: Pid, place: Place) -> Pid {
        self.known.get(&pid).and_then(|chain| chain.number(place)).unwrap_or(0)
    }
}

/// The child of a process that has a number in the process's own namespace. A child that lives, or is not reaped, is found.
pub(crate) fn child(parent: Pid, named: OwnPid) -> Option<Pid> {
    let level = numbers(&fs::read_to_string(format!("/proc/{parent}/status")).ok()?)?.len().checked_sub(1)?;
    let is_it = |pid: &Pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let above = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        above.and_then(|above| above.trim().parse().ok()) == Some(parent)
            && numbers(&status).is_some_and(|numbers| numbers.get(level) == Some(&named.0))
    };
    let everybody = fs::read_dir("/proc").ok()?.flatten();
    everybody.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(is_it)
}

/// The thread of a process, by the number that the thread itself has. That is the broker's number too, outside of PID namespaces.
pub(crate) fn thread(pid: Pid, own: Pid) -> Option<Pid> {
    let is_it = |tid: &Pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).ok();
        // Kernels without PID namespaces say nothing.
        status.is_some_and(|status| numbers(&status).is_none_or(|numbers| numbers.last() == Some(&own)))
    };
    if is_it(&own) {
        return Some(own);
    }
    let all = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_file_names_every_number() {
        assert_eq!(numbers("Name:\tx\nNSpid:\t4711\t12\t1\nNSpgid:\t1\n"), Some(vec![4711, 12, 1]));
        assert_eq!(numbers("Name:\tx\n"), None);
    }

    #[test]
    fn a_child_is_found_by_its_number_until_it_is_reaped() {
        let mut sleep = std::process::Command::new("sleep").arg("1000").spawn().expect("sleep runs");
        let (own, number) = (std::process::id(), sleep.id());
        assert_eq!(child(own, OwnPid(number)), Some(number));
        assert_eq!(child(number, OwnPid(own)), None);
        sleep.kill().expect("alive");
        assert_eq!(child(own, OwnPid(number)), Some(number));
        sleep.wait().expect("ours");
        assert_eq!(child(own, OwnPid(number)), None);
    }

    #[test]
    fn the_thread_that_asks_is_found_by_its_own_number() {
        let own = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
        let nested = numbers(&fs::read_to_string("/proc/thread-self/status").expect("readable"));
        if nested.is_none_or(|numbers| numbers.len() == 1) {
            assert_eq!(thread(std::process::id(), own), Some(own));
        }
        assert_eq!(thread(std::process::id(), u32::MAX), None);
    }
}
