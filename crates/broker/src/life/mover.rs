//! Who is held up by a process that does not go on: a stopped one is led out of its section, and of one that cannot be the broker knows for how long it has
//! not run. signal(7), ptrace(2); docs/stopped.md.
//!
//! # Invariants
//! Q4. The leading is done by a process of its own (`escort.rs`). The broker never waits for it, and ends one that takes longer than it may.
//! Q5. At most [`MOST`] run at once, one for a victim; in vain, the next for that victim waits twice as long.
//! Q6. A process that has not run since somebody was seen to wait for it has held what it is named for all that time, if it holds it at all: it has
//!     not taken it since. After [`GIVE_UP`] those who wait are told so.

use crate::host::monotonic;
use crate::life::escort::{LONGEST, Plan, run_time};
use ring3_abi::Pid;
use ring3_engine::Region;
use ring3_engine::lock::{self, Named};
use ring3_os::tracing;
use std::collections::HashMap;
use std::ops::Range;

/// How many run at once.
const MOST: usize = 8;
/// When one is ended that has not come to its end by itself, nanoseconds: it looks at another's memory, where it may wait without end.
const OVERDUE: u64 = 2 * LONGEST;
/// The least and the longest rest between two for the same process.
const RESTS: Range<u64> = 10_000_000..1_000_000_000;
/// How long a process may hold others up without running, nanoseconds.
const GIVE_UP: u64 = 10_000_000_000;
/// How many that do not run are remembered.
const IDLERS: usize = 256;

/// Those that run, and how their victims have been treated.
#[derive(Debug, Default)]
pub(crate) struct Movers {
    /// The leading process, by victim, and when it began.
    running: HashMap<Pid, (Pid, u64)>,
    /// When the next may start for a victim, and the rest after that.
    rests: HashMap<Pid, (u64, u64)>,
    /// Those that others have waited for, and since when they have not run (Q6).
    idlers: HashMap<Pid, Idler>,
}

/// A process that others wait for.
#[derive(Debug)]
struct Idler {
    thread: Pid,
    /// For how long that has run in its life, nanoseconds.
    run: u64,
    since: u64,
    /// When somebody was last seen to wait.
    seen: u64,
}

impl Movers {
    /// Whether any run.
    pub(crate) fn are_at_work(&self) -> bool {
        !self.running.is_empty()
    }

    /// Forgets those that have ended, and ends those that take too long.
    pub(crate) fn reap(&mut self) {
        let now = monotonic();
        let mut moved = Vec::new();
        self.running.retain(|&victim, &mut (mover, since)| {
            let outcome = tracing::outcome(mover);
            moved.extend(outcome.filter(|&moved| moved).map(|_| victim));
            if outcome.is_none() && now > since + OVERDUE {
                tracing::end(mover);
            }
            outcome.is_none()
        });
        for victim in moved {
            self.rests.remove(&victim);
        }
    }

    /// Has a process led out of the section that it holds this region's lock in, if it is stopped there. Answers whether those who wait for it need not
    /// wait any more (Q6), as it is at this moment: a process that was given up may have gone on since.
    pub(crate) fn look(&mut self, region: Region<'_>, holder: Pid) -> bool {
        let Some(named) = lock::named(region).ok().filter(|named| named.process() == holder) else {
            return false;
        };
        self.reap();
        let now = monotonic();
        let is_given_up = self.note(holder, named.thread(), now);
        if !self.running.contains_key(&holder) && self.running.len() < MOST {
            self.lead(named, holder, now);
        }
        is_given_up
    }

    /// Has a process led that is named, unless that was in vain a moment ago.
    fn lead(&mut self, named: Named<'_>, holder: Pid, now: u64) {
        let rest = match self.rests.get(&holder) {
            Some(&(until, _)) if now < until => return,
            // One that has been left alone for a while begins anew.
            Some(&(until, rest)) if now < until + RESTS.end => (rest * 2).min(RESTS.end),
            _ => RESTS.start,
        };
        let Some(plan) = Plan::of(holder, named.thread()) else { return };
        self.rests.retain(|_, (until, _)| now < *until + RESTS.end);
        self.rests.insert(holder, (now + rest, rest));
        if let Ok(mover) = tracing::beside(|| plan.carry_out(named)) {
            self.running.insert(holder, (mover, now));
        }
    }

    /// Remembers whether a holder has run since it was looked at last. Answers whether it has held others up for so long that they need not wait any
    /// more (Q6).
    fn note(&mut self, holder: Pid, thread: Pid, now: u64) -> bool {
        let Some((thread, run)) = run_time(holder, thread) else { return false };
        if self.idlers.len() >= IDLERS {
            self.idlers.retain(|_, idler| now < idler.seen + GIVE_UP);
        }
        let is_full = self.idlers.len() >= IDLERS;
        match self.idlers.get_mut(&holder) {
            Some(idler) if idler.thread == thread && idler.run == run => idler.seen = now,
            None if is_full => {}
            _ => _ = self.idlers.insert(holder, Idler { thread, run, since: now, seen: now }),
        }
        self.idlers.get(&holder).is_some_and(|idler| now >= idler.since + GIVE_UP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_does_not_run_is_given_up_after_a_while() {
        let (mut movers, mut child) =
            (Movers::default(), std::process::Command::new("sleep").arg("60").spawn().unwrap());
        let holder = child.id();
        while run_time(holder, holder).is_none() || stat_says_awake(holder) {
            std::thread::yield_now();
        }
        assert!(!movers.note(holder, holder, 1));
        assert!(!movers.note(holder, holder, GIVE_UP));
        assert!(movers.note(holder, holder, GIVE_UP + 1));
        // Another thread's word for it counts anew; so does this thread, which runs.
        let own = std::process::id();
        let thread = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
        assert!(!movers.note(own, thread, 1));
        let before = run_time(own, thread);
        while run_time(own, thread) == before {
            std::hint::spin_loop();
        }
        assert!(!movers.note(own, thread, GIVE_UP + 1));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn stat_says_awake(pid: Pid) -> bool {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        !text.contains("(sleep) S")
    }
}
