//! When a step is over: every busy worker has answered or provably sleeps, and the answers are taken.

use super::process::State;
use super::{Hang, PATIENCE, Pace, Player};
use crate::oracle::script::{Op, WORKERS};
use crate::oracle::watch::{self, Watch};
use ring3_abi::Errno;
use std::sync::atomic::Ordering;
use std::time::Instant;

impl Player {
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
    pub(super) fn settle(
        &mut self,
        must: Option<usize>,
        caller: Option<usize>,
    ) -> Result<Vec<(usize, String)>, Hang> {
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

    /// Waits until those who work for the workers have nothing to do.
    pub(super) fn rest(&self) {
        let begun = Instant::now();
        while !self.quiet() && begun.elapsed() < PATIENCE {
            self.shared.wait(self.shared.bell.load(Ordering::Acquire), 50);
        }
    }
}
