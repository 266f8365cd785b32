//! The process inside the namespace that starts the workers, kills and stops them, and looks at what is left.
//!
//! A round takes some seconds: workers work, random ones are killed and started again, then nobody is started any more, everybody ends, and
//! the objects are looked at and removed. In between the sums that hold at every moment are looked at, and that everybody goes on.

use super::chance::Chance;
use super::keepers::{self, Keepers};
use super::ledger::{Ledger, SLOTS, WORKERS, Wrong};
use super::options::Options;
use super::verdict::Verdict;
use super::worker::{self, STATIONS};
use super::{messages, names, pages, tokens};
use crate::ipc::{self, Kind};
use std::io;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// A round's length.
const ROUND: Duration = Duration::from_secs(12);
/// Who has not gone on for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(10);
/// After so many findings nothing new is learnt.
const ENOUGH: u64 = 30;
/// How often the sums are looked at.
const LOOK: Duration = Duration::from_millis(40);

/// A process that was stopped, and until when.
struct Stopped {
    at: usize,
    pid: i32,
    until: Instant,
}

/// One round.
struct Round<'o> {
    options: &'o Options,
    ledger: &'static Ledger,
    fd: i32,
    chance: &'o mut Chance,
    verdict: &'o mut Verdict,
    keepers: Option<&'o mut Keepers>,
    stopped: Vec<Stopped>,
    /// For each lane: receivers that died in msgrcv.
    doubts: Vec<u64>,
    /// Those that died while they changed a page.
    page_doubts: u64,
    /// For each slot: operations when it was looked at, and since when there are no more.
    seen: Vec<(u64, Instant)>,
    next_kill: Instant,
    next_stop: Instant,
    next_broker: Instant,
    next_keeper: Instant,
}

/// Plays the storm.
pub(super) fn run(options: &Options) -> Result<Verdict, String> {
    // SAFETY: prctl(2) with numbers: who loses a parent below this process becomes its child.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
    // SAFETY: alarm(2) takes a number: a conductor that hangs ends, and everybody with it.
    unsafe { libc::alarm((options.time + 4 * PATIENCE).as_secs() as u32) };
    let mut verdict = Verdict::default();
    let mut chance = Chance::new(options.seed);
    let mut keepers = if options.native { None } else { Some(Keepers::new()?) };
    let began = Instant::now();
    while began.elapsed() < options.time && verdict.found() < ENOUGH {
        let left = options.time.saturating_sub(began.elapsed());
        let played = Round::new(options, &mut chance, &mut verdict, keepers.as_mut())
            .and_then(|round| round.play(left.min(ROUND)));
        played.map_err(|why| format!("a call of the conductor's: {why}"))?;
    }
    verdict.time = began.elapsed();
    Ok(verdict)
}

impl<'o> Round<'o> {
    fn new(
        options: &'o Options,
        chance: &'o mut Chance,
        verdict: &'o mut Verdict,
        keepers: Option<&'o mut Keepers>,
    ) -> io::Result<Round<'o>> {
        let (ledger, fd) = Ledger::create()?;
        ledger.workers.store(options.workers as u32, SeqCst);
        for queue in &ledger.queues {
            queue.store(ipc::msgget(libc::IPC_PRIVATE, 0o666)?, SeqCst);
        }
        tokens::make(ledger)?;
        pages::make(ledger)?;
        let now = Instant::now();
        Ok(Round {
            options,
            ledger,
            fd,
            chance,
            verdict,
            keepers,
            stopped: Vec::new(),
            doubts: vec![0; messages::lanes(ledger)],
            page_doubts: 0,
            seen: vec![(0, now); SLOTS],
            next_kill: now,
            next_stop: now,
            next_broker: now,
            next_keeper: now + Duration::from_secs(1),
        })
    }

    fn play(mut self, time: Duration) -> io::Result<()> {
        for at in 0..self.options.workers {
            self.start(at)?;
        }
        let began = Instant::now();
        let mut looked = began;
        while began.elapsed() < time && self.findings() < ENOUGH {
            self.reap(|_| true)?;
            self.let_go(false);
            self.strike()?;
            if looked.elapsed() > LOOK {
                looked = Instant::now();
                tokens::watch(self.ledger)?;
                self.watch();
            }
            pause(1000);
        }
        self.end()?;
        self.look()
    }

    /// Starts a slot's next process.
    fn start(&mut self, at: usize) -> io::Result<()> {
        let slot = &self.ledger.slots[at];
        slot.generation.fetch_add(1, SeqCst);
        // SAFETY: this process has one thread.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            worker::life(self.ledger, at, self.fd);
        }
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        slot.pid.store(pid, SeqCst);
        self.seen[at] = (slot.operations.load(SeqCst), Instant::now());
        Ok(())
    }

    /// Takes in who has ended, and starts the next one in its place if wanted.
    fn reap(&mut self, again: fn(usize) -> bool) -> io::Result<()> {
        loop {
            let mut status = 0;
            // SAFETY: the status outlives the call.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
            if pid <= 0 {
                return Ok(());
            }
            worker::judge(self.ledger, status, pid);
            let all = self.ledger.slots.iter();
            let Some(at) = all.enumerate().position(|(_, slot)| slot.pid.load(SeqCst) == pid) else {
                continue;
            };
            let slot = &self.ledger.slots[at];
            self.stopped.retain(|stopped| stopped.at != at);
            self.page_doubts += u64::from(slot.paging.swap(0, SeqCst));
            slot.pid.store(0, SeqCst);
            if at < WORKERS {
                self.bury(at)?;
                if again(at) {
                    self.start(at)?;
                }
            }
        }
    }

    /// Settles what a dead worker leaves.
    fn bury(&mut self, at: usize) -> io::Result<()> {
        let slot = &self.ledger.slots[at];
        if let Some(lane) = messages::settle(self.ledger, slot) {
            self.doubts[lane] += 1;
        }
        slot.carried.store(0, SeqCst);
        names::settle(self.ledger, slot, at)?;
        let child = &self.ledger.slots[at + WORKERS];
        match child.pid.load(SeqCst) {
            0 => {}
            // It was about to be born: if it was, it is among this process's children now.
            -1 => child.pid.store(self.unknown_child().unwrap_or(0), SeqCst),
            pid if is_child(pid) => {}
            _ => {
                self.page_doubts += u64::from(child.paging.swap(0, SeqCst));
                child.pid.store(0, SeqCst);
            }
        }
        Ok(())
    }

    fn unknown_child(&self) -> Option<i32> {
        let text = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        let known = |pid: i32| self.ledger.slots.iter().any(|slot| slot.pid.load(SeqCst) == pid);
        text.split_whitespace().filter_map(|word| word.parse().ok()).find(|pid| !known(*pid))
    }

    /// Kills and stops whom it is time for.
    fn strike(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if now >= self.next_kill && self.options.kills.clients {
            self.next_kill = now + Duration::from_micros(3000 + self.chance.below(15_000) as u64);
            self.kill_someone();
        }
        if now >= self.next_stop {
            self.next_stop = now + Duration::from_millis(5 + self.chance.below(60) as u64);
            self.stop_someone(now);
        }
        if now >= self.next_broker && self.options.kills.broker {
            self.next_broker = now + Duration::from_millis(200 + self.chance.below(500) as u64);
            self.strike_pair(|pair| pair.broker, |verdict| &mut verdict.brokers)?;
        }
        if now >= self.next_keeper && self.options.kills.keeper {
            self.next_keeper = now + Duration::from_millis(2000 + self.chance.below(4000) as u64);
            self.strike_pair(|pair| pair.keeper, |verdict| &mut verdict.keepers)?;
        }
        Ok(())
    }

    fn kill_someone(&mut self) {
        let at = self.chance.below(self.options.workers);
        let child = self.chance.below(4) == 0;
        let slot = &self.ledger.slots[if child { at + WORKERS } else { at }];
        let pid = slot.pid.load(SeqCst);
        if pid <= 0 {
            return;
        }
        if child {
            self.kill_child(at, pid);
            return;
        }
        slot.killed.store(slot.generation.load(SeqCst), SeqCst);
        // SAFETY: only this process reaps the worker, so the number is its own.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        self.verdict.clients += 1;
    }

    /// Kills a worker's child, whose number is good as long as its parent is the worker or this process.
    fn kill_child(&mut self, at: usize, pid: i32) {
        let slot = &self.ledger.slots[at + WORKERS];
        // SAFETY: it takes numbers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as i32;
        if fd < 0 {
            return;
        }
        let parent = self.ledger.slots[at].pid.load(SeqCst);
        let of = keepers::process(pid).map(|(_, parent)| parent);
        if of == Some(parent) || is_child(pid) {
            slot.killed.store(slot.generation.load(SeqCst), SeqCst);
            // SAFETY: the descriptor names the process that has just been looked at.
            let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, libc::SIGKILL, 0usize, 0) };
            self.verdict.clients += u64::from(sent == 0);
        }
        // SAFETY: the descriptor was opened above.
        unsafe { libc::close(fd) };
    }

    fn stop_someone(&mut self, now: Instant) {
        let at = self.chance.below(self.options.workers);
        let pid = self.ledger.slots[at].pid.load(SeqCst);
        if pid > 0 && !self.stopped.iter().any(|stopped| stopped.at == at) {
            // SAFETY: only this process reaps the worker, so the number is its own.
            unsafe { libc::kill(pid, libc::SIGSTOP) };
            let until = now + Duration::from_millis(1 + self.chance.below(50) as u64);
            self.stopped.push(Stopped { at, pid, until });
            self.verdict.stops += 1;
        }
    }

    /// Continues those whose time is over.
    fn let_go(&mut self, all: bool) {
        let now = Instant::now();
        self.stopped.retain(|stopped| {
            let over = all || now >= stopped.until;
            if over {
                // SAFETY: it was taken off the list if it has been reaped.
                unsafe { libc::kill(stopped.pid, libc::SIGCONT) };
            }
            !over
        });
    }

    /// Kills the broker or its keeper, and waits until the next one answers.
    fn strike_pair(
        &mut self,
        whom: fn(keepers::Pair) -> i32,
        count: fn(&mut Verdict) -> &mut u64,
    ) -> io::Result<()> {
        let Some(keepers) = self.keepers.as_mut() else { return Ok(()) };
        let Some(pair) = keepers.await_pair() else {
            self.ledger.report(Wrong::Stuck, "nobody serves the namespace, or nobody keeps it");
            return Ok(());
        };
        if keepers::kill(whom(pair)) {
            *count(self.verdict) += 1;
            let began = Instant::now();
            // A key that nobody uses: only the broker knows that.
            let asked = ipc::semget(0x5370_ffff, 1, 0);
            if !ipc::failed(&asked, libc::ENOENT) {
                self.ledger.report(Wrong::Failed, &format!("asked the next broker: {asked:?}"));
            }
            self.verdict.longest = self.verdict.longest.max(began.elapsed());
        }
        Ok(())
    }

    /// Looks who does not go on.
    fn watch(&mut self) {
        for at in 0..self.options.workers {
            let slot = &self.ledger.slots[at];
            let operations = slot.operations.load(SeqCst);
            let stopped = self.stopped.iter().any(|stopped| stopped.at == at);
            if operations != self.seen[at].0 || stopped {
                self.seen[at] = (operations, Instant::now());
            } else if self.seen[at].1.elapsed() > PATIENCE {
                self.seen[at].1 = Instant::now();
                self.report_stuck(at);
            }
        }
    }

    fn report_stuck(&self, at: usize) {
        let slot = &self.ledger.slots[at];
        let (pid, station) = (slot.pid.load(SeqCst), slot.station.load(SeqCst) as usize);
        let place = std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
        let what = format!("worker {at} (process {pid}) in {}, {place}", STATIONS[station % STATIONS.len()]);
        self.ledger.report(Wrong::Stuck, &what);
    }

    fn findings(&self) -> u64 {
        self.ledger.wrong.iter().map(|count| count.load(SeqCst)).sum()
    }

    /// Everybody ends: receivers last, for senders may wait for them.
    fn end(&mut self) -> io::Result<()> {
        self.let_go(true);
        self.ledger.closing.store(1, SeqCst);
        self.end_these(|at| !messages::receives(at), messages::receives)?;
        self.ledger.closing.store(2, SeqCst);
        self.end_these(|_| true, |_| false)
    }

    /// Waits for some slots' processes to end; those of others are started again when they do.
    fn end_these(&mut self, these: fn(usize) -> bool, again: fn(usize) -> bool) -> io::Result<()> {
        let began = Instant::now();
        let mut overdue = false;
        while (0..SLOTS).any(|at| these(at) && self.ledger.slots[at].pid.load(SeqCst) != 0) {
            self.reap(again)?;
            for at in (0..self.options.workers).filter(|at| these(*at) && messages::receives(*at)) {
                if self.ledger.slots[at].pid.load(SeqCst) != 0 {
                    messages::farewell(self.ledger, messages::lane_of(self.ledger, at / 4));
                }
            }
            if began.elapsed() > PATIENCE && !overdue {
                overdue = true;
                self.end_by_force(these);
            }
            if began.elapsed() > 2 * PATIENCE {
                return Err(io::Error::other("killed processes do not end"));
            }
            pause(2000);
        }
        Ok(())
    }

    fn end_by_force(&mut self, these: fn(usize) -> bool) {
        for at in (0..SLOTS).filter(|at| these(*at)) {
            let slot = &self.ledger.slots[at];
            let pid = slot.pid.load(SeqCst);
            if pid > 0 {
                self.report_stuck(at);
                slot.killed.store(slot.generation.load(SeqCst), SeqCst);
                if at < WORKERS || is_child(pid) {
                    // SAFETY: it is a child of this process that has not been reaped.
                    unsafe { libc::kill(pid, libc::SIGKILL) };
                }
            }
        }
    }

    /// Looks at what is left, and removes it.
    fn look(self) -> io::Result<()> {
        let slot = &self.ledger.slots[SLOTS - 1];
        let taken = messages::close(self.ledger, slot, &self.doubts)?;
        tokens::close(self.ledger)?;
        pages::close(self.ledger, self.page_doubts)?;
        for queue in &self.ledger.queues {
            Kind::Msg.remove(queue.load(SeqCst))?;
        }
        for kind in Kind::ALL {
            let left = kind.used()?;
            if left != 0 {
                self.ledger.report(Wrong::Doubled, &format!("{left} {}s are left", kind.word()));
            }
        }
        self.verdict.doubts += self.doubts.iter().sum::<u64>();
        self.verdict.taken += taken;
        self.verdict.add(self.ledger);
        self.ledger.close(self.fd);
        Ok(())
    }
}

/// Whether a process is a child of this one.
fn is_child(pid: i32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let parent = text.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<u32>().ok());
    parent == Some(std::process::id())
}

fn pause(micros: u32) {
    // SAFETY: usleep(3) takes a number.
    unsafe { libc::usleep(micros) };
}
