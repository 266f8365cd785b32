//! Semaphore scenes: one set, a model of it, and what processes find.
//!
//! The model is the small part of semop(2) that the cases need; the run on the kernel shows that it is right.

use super::process::Peer;
use super::scene::{Case, Fate, Scene, gone};
use super::sysv::{self, Outcome, Sop, must};
use std::time::Duration;

/// Who operated on a semaphore last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Harness,
    Completer,
    Victim,
    Holder,
    Peer(usize),
}

/// What the victim does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// semop.
    Semop(&'static [Sop]),
    /// semtimedop, which runs out of time.
    Timed(&'static [Sop], i64),
    /// SETVAL.
    SetVal(u16, u16),
    /// SETALL.
    SetAll(&'static [u16]),
    /// IPC_RMID.
    Remove,
    /// GETALL.
    GetAll,
}

/// One case; `DEFAULT` is the one in which nobody else takes part.
pub(super) struct SemCase {
    /// Its name.
    pub(super) name: &'static str,
    /// The values at the start.
    pub(super) initial: &'static [u16],
    /// What the victim did before.
    pub(super) held: &'static [Sop],
    /// What another living process did before, to be undone in the end.
    pub(super) holder: &'static [Sop],
    /// Who waits already, first come first.
    pub(super) waiters: &'static [&'static [Sop]],
    /// The operation.
    pub(super) act: Act,
    /// Who comes to wait after the victim.
    pub(super) behind: &'static [&'static [Sop]],
    /// What completes the victim's wait.
    pub(super) complete: &'static [Sop],
    /// The operation is this process's first on the set.
    pub(super) cold: bool,
    /// Many operations on one semaphore at a time came before: the shortest way is open.
    pub(super) calm: bool,
}

impl SemCase {
    /// Nobody but the victim.
    pub(super) const DEFAULT: SemCase = SemCase {
        name: "",
        initial: &[3, 3, 3],
        held: &[],
        holder: &[],
        waiters: &[],
        act: Act::GetAll,
        behind: &[],
        complete: &[],
        cold: false,
        calm: false,
    };
}

/// What the set must be like.
#[derive(Clone)]
struct Model {
    values: Vec<i32>,
    pids: Vec<Who>,
    owed: [Vec<i32>; 2],
    pending: Vec<(Who, &'static [Sop])>,
    finished: Vec<usize>,
    removed: bool,
}

impl Model {
    /// Returns the set as the harness made it.
    fn new(initial: &[u16]) -> Model {
        let none = vec![0; initial.len()];
        Model {
            values: initial.iter().map(|value| i32::from(*value)).collect(),
            pids: vec![Who::Harness; initial.len()],
            owed: [none.clone(), none],
            pending: Vec::new(),
            finished: Vec::new(),
            removed: false,
        }
    }

    /// Returns the index of the first operation that cannot be done.
    fn obstacle(&self, sops: &[Sop]) -> Option<usize> {
        let mut values = self.values.clone();
        sops.iter().position(|Sop(number, change, _)| {
            let value = &mut values[usize::from(*number)];
            let stuck = if *change == 0 { *value != 0 } else { *value + i32::from(*change) < 0 };
            *value += i32::from(*change);
            stuck
        })
    }

    /// Carries operations out, or queues them.
    fn run(&mut self, who: Who, sops: &'static [Sop]) {
        if self.obstacle(sops).is_some() {
            return self.pending.push((who, sops));
        }
        for Sop(number, change, undo) in sops {
            let number = usize::from(*number);
            self.values[number] += i32::from(*change);
            self.pids[number] = who;
            if *undo && let Some(owed) = owed(who) {
                self.owed[owed][number] -= i32::from(*change);
            }
        }
        if let Who::Peer(index) = who {
            self.finished.push(index);
        }
        self.cascade();
    }

    /// Lets everybody go on who can, first come first served.
    fn cascade(&mut self) {
        if let Some(at) = self.pending.iter().position(|(_, sops)| self.obstacle(sops).is_none()) {
            let (who, sops) = self.pending.remove(at);
            self.run(who, sops);
        }
    }

    /// Ends a process: it waits no more, and what it owes is paid.
    fn die(&mut self, who: Who) {
        self.pending.retain(|(waiting, _)| *waiting != who);
        let Some(owed) = owed(who) else { return };
        for number in 0..self.values.len() {
            let change = std::mem::take(&mut self.owed[owed][number]);
            if change != 0 {
                self.values[number] = (self.values[number] + change).clamp(0, 32767);
                self.pids[number] = who;
            }
        }
        self.cascade();
    }

    /// Carries out the victim's operation.
    fn act(&mut self, act: Act) {
        match act {
            Act::Semop(sops) | Act::Timed(sops, _) => self.run(Who::Victim, sops),
            Act::SetVal(number, value) => self.set(usize::from(number), value),
            Act::SetAll(values) => {
                for (number, value) in values.iter().enumerate() {
                    self.set(number, *value);
                }
            }
            Act::Remove => self.removed = true,
            Act::GetAll => {}
        }
        if !self.removed {
            self.cascade();
        }
    }

    /// SETVAL.
    fn set(&mut self, number: usize, value: u16) {
        self.values[number] = value.into();
        self.pids[number] = Who::Victim;
        for owed in &mut self.owed {
            owed[number] = 0;
        }
    }

    /// Returns how many wait for an increase and for zero, by semaphore.
    fn waiting(&self) -> Vec<(i64, i64)> {
        let mut counts = vec![(0, 0); self.values.len()];
        for (_, sops) in &self.pending {
            if let Some(Sop(number, change, _)) = self.obstacle(sops).map(|at| sops[at]) {
                let count = &mut counts[usize::from(number)];
                if change == 0 { count.1 += 1 } else { count.0 += 1 }
            }
        }
        counts
    }
}

/// Returns which ledger is this process's.
fn owed(who: Who) -> Option<usize> {
    match who {
        Who::Victim => Some(0),
        Who::Holder => Some(1),
        _ => None,
    }
}

/// What processes find.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    values: Vec<u16>,
    pids: Vec<i64>,
    waiting: Vec<(i64, i64)>,
    peers: Vec<Option<i64>>,
}

/// One point's set and peers.
struct SemScene {
    case: &'static SemCase,
    set: i32,
    spare: i32,
    holder: Option<Peer>,
    peers: Vec<Peer>,
    completer: Option<Peer>,
}

impl Case for SemCase {
    fn name(&self) -> &'static str {
        self.name
    }

    fn completes(&self) -> bool {
        !self.complete.is_empty()
    }

    fn overtakes(&self) -> bool {
        self.completes() && self.behind.is_empty()
    }

    fn set_up(&self) -> Result<Box<dyn Scene>, String> {
        // Cases are statics; the scene keeps the one that it was made from.
        let case = super::cases::sem(self.name).ok_or("no such case")?;
        let set = must("semget", sysv::semget(libc::IPC_PRIVATE, case.initial.len() as i32, 0o600))? as i32;
        let spare = must("semget", sysv::semget(libc::IPC_PRIVATE, 1, 0o600))? as i32;
        must("SETALL", sysv::semctl_all(set, libc::SETALL, &mut case.initial.to_vec()))?;
        for _ in 0..if case.calm { 32 } else { 0 } {
            must("semop", sysv::semop(set, &[Sop(0, 1, false)], 0, None))?;
            must("semop", sysv::semop(set, &[Sop(0, -1, false)], 0, None))?;
        }
        let mut scene = SemScene { case, set, spare, holder: None, peers: Vec::new(), completer: None };
        if !case.holder.is_empty() {
            scene.holder = Some(Peer::start(|| {
                sysv::semop(set, case.holder, 0, None);
                Outcome::plain(sysv::semop(spare, &[Sop(0, -1, false)], 0, None))
            })?);
        }
        for sops in case.waiters {
            scene.peers.push(Peer::start(|| Outcome::plain(sysv::semop(set, sops, 0, None)))?);
        }
        Ok(Box::new(scene))
    }
}

impl SemScene {
    /// Returns the model up to where the victim comes.
    fn before(&self) -> Model {
        let mut model = Model::new(self.case.initial);
        if !self.case.holder.is_empty() {
            model.run(Who::Holder, self.case.holder);
        }
        for (index, sops) in self.case.waiters.iter().enumerate() {
            model.run(Who::Peer(index), sops);
        }
        if !self.case.held.is_empty() {
            model.run(Who::Victim, self.case.held);
        }
        model
    }

    /// Returns the model after the victim's end.
    fn after(&self, fate: &Fate, done: bool) -> Model {
        let mut model = self.before();
        if done {
            model.act(self.case.act);
        }
        if fate.completed {
            for (index, sops) in self.case.behind.iter().enumerate() {
                model.run(Who::Peer(self.case.waiters.len() + index), sops);
            }
            model.run(Who::Completer, self.case.complete);
        }
        model.die(Who::Victim);
        model
    }

    /// Looks at the set and at the peers.
    fn look(&mut self) -> Result<Found, String> {
        let count = self.case.initial.len();
        let mut values = vec![0; count];
        must("GETALL", sysv::semctl_all(self.set, libc::GETALL, &mut values))?;
        let get = |number: usize, command| must("semctl", sysv::semctl(self.set, number as i32, command, 0));
        let mut found = Found { values, pids: Vec::new(), waiting: Vec::new(), peers: Vec::new() };
        for number in 0..count {
            found.pids.push(get(number, libc::GETPID)?);
            found.waiting.push((get(number, libc::GETNCNT)?, get(number, libc::GETZCNT)?));
        }
        for peer in &mut self.peers {
            found.peers.push(peer.rest()?.map(|outcome| outcome.result));
        }
        Ok(found)
    }

    /// Returns what the model says that processes must find.
    fn wanted(&self, model: &Model, fate: &Fate) -> Found {
        let pid = |who: &Who| -> i64 {
            match who {
                Who::Harness => i64::from(std::process::id()),
                Who::Victim => fate.victim.into(),
                Who::Completer => self.completer.as_ref().map_or(0, |peer| peer.pid.into()),
                Who::Holder => self.holder.as_ref().map_or(0, |peer| peer.pid.into()),
                Who::Peer(index) => self.peers.get(*index).map_or(0, |peer| peer.pid.into()),
            }
        };
        Found {
            values: model.values.iter().map(|value| *value as u16).collect(),
            pids: model.pids.iter().map(pid).collect(),
            waiting: model.waiting(),
            peers: (0..self.peers.len()).map(|index| model.finished.contains(&index).then_some(0)).collect(),
        }
    }

    /// Judges a set that is gone: everybody who waited was told so.
    fn judge_removed(&mut self) -> Result<bool, String> {
        for peer in &mut self.peers {
            match peer.rest()? {
                Some(outcome) if outcome.result == -i64::from(libc::EIDRM) => {}
                other => return Err(format!("the set is gone, a sleeper has {other:?}")),
            }
        }
        Ok(true)
    }

    /// Ends the other process that owes something, and compares.
    fn settle_holder(&mut self, model: &mut Model) -> Result<(), String> {
        let Some(holder) = &mut self.holder else { return Ok(()) };
        holder.finish().map_err(|why| why.to_string())?;
        model.die(Who::Holder);
        let wanted: Vec<u16> = model.values.iter().map(|value| *value as u16).collect();
        let found = self.look()?.values;
        if found == wanted {
            Ok(())
        } else {
            Err(format!("after the holder's end {found:?}, not {wanted:?}"))
        }
    }
}

impl Scene for SemScene {
    fn prepare(&self) -> Box<dyn FnOnce() -> i64 + '_> {
        let (set, act) = (self.set, self.case.act);
        if !self.case.cold {
            sysv::semctl(set, 0, libc::GETVAL, 0);
        }
        if !self.case.held.is_empty() {
            sysv::semop(set, self.case.held, 0, None);
        }
        match act {
            Act::Semop(sops) => Box::new(move || sysv::semop(set, sops, 0, None)),
            Act::Timed(sops, ms) => Box::new(move || sysv::semop(set, sops, 0, Some(ms))),
            Act::SetVal(number, value) => {
                Box::new(move || sysv::semctl(set, number.into(), libc::SETVAL, value.into()))
            }
            Act::SetAll(values) => {
                let mut values = values.to_vec();
                Box::new(move || sysv::semctl_all(set, libc::SETALL, &mut values))
            }
            Act::Remove => Box::new(move || sysv::semctl(set, 0, libc::IPC_RMID, 0)),
            Act::GetAll => {
                let mut values = self.case.initial.to_vec();
                Box::new(move || sysv::semctl_all(set, libc::GETALL, &mut values))
            }
        }
    }

    fn complete(&mut self) -> Result<(), String> {
        let set = self.set;
        for sops in self.case.behind {
            self.peers.push(Peer::start(|| Outcome::plain(sysv::semop(set, sops, 0, None)))?);
        }
        let sops = self.case.complete;
        self.completer =
            Some(Peer::spawn(|| Outcome::plain(sysv::semop(set, sops, libc::IPC_NOWAIT, None)))?);
        Ok(())
    }

    fn completed(&mut self, patience: Duration) -> Option<i64> {
        self.completer.as_mut()?.end(patience).map(|outcome| outcome.result)
    }

    fn completing(&self) -> String {
        self.completer.as_ref().map(Peer::place).unwrap_or_default()
    }

    fn judge(&mut self, fate: &Fate) -> Result<bool, String> {
        let (mut not, mut done) = (self.after(fate, false), self.after(fate, true));
        if done.removed && gone(sysv::semctl(self.set, 0, libc::GETVAL, 0)) {
            return self.judge_removed();
        }
        let found = self.look()?;
        let (wanted_not, wanted_done) = (self.wanted(&not, fate), self.wanted(&done, fate));
        if !done.removed && found == wanted_done {
            return self.settle_holder(&mut done).map(|()| true);
        }
        if !fate.ended && found == wanted_not {
            return self.settle_holder(&mut not).map(|()| false);
        }
        Err(format!("found {found:?}, neither {wanted_not:?} nor {wanted_done:?} (victim {})", fate.victim))
    }

    fn go_on(&mut self, operations: usize) -> Result<(), String> {
        self.peers.clear();
        if gone(sysv::semctl(self.set, 0, libc::GETVAL, 0)) {
            return Ok(());
        }
        let left = self.look()?;
        if left.waiting.iter().any(|counts| *counts != (0, 0)) {
            return Err(format!("the sleepers are dead, but {:?} are counted", left.waiting));
        }
        let count = self.case.initial.len() as u16;
        must("SETALL", sysv::semctl_all(self.set, libc::SETALL, &mut vec![5; count.into()]))?;
        for turn in 0..operations {
            let number = turn as u16 % count;
            let undo = turn % 3 == 0;
            let (up, down) = (Sop(number, 1, undo), Sop(number, -1, undo));
            match turn % 4 {
                0 | 1 => {
                    must("semop up", sysv::semop(self.set, &[up], libc::IPC_NOWAIT, None))?;
                    must("semop down", sysv::semop(self.set, &[down], libc::IPC_NOWAIT, None))?;
                }
                2 => {
                    let list = [down, Sop(0, -1, undo), Sop(0, 1, undo), up];
                    must("semop of four", sysv::semop(self.set, &list, libc::IPC_NOWAIT, None))?;
                }
                _ => {
                    let errno = sysv::semop(self.set, &[Sop(number, -6, undo)], libc::IPC_NOWAIT, None);
                    if errno != -i64::from(libc::EAGAIN) {
                        return Err(format!("5 - 6 gave {errno}, not EAGAIN"));
                    }
                }
            }
        }
        let values = self.look()?.values;
        if values.iter().all(|value| *value == 5) {
            Ok(())
        } else {
            Err(format!("{values:?} instead of fives"))
        }
    }

    fn probe(&self) {
        let count = self.case.initial.len() as u16;
        for number in 0..count {
            sysv::semop(self.set, &[Sop(number, 1, false)], libc::IPC_NOWAIT, None);
            sysv::semop(self.set, &[Sop(number, -1, true)], libc::IPC_NOWAIT, None);
            // Without an adjustment left: the probe's end would change the value, and the victim may wait for 0.
            sysv::semop(self.set, &[Sop(number, 1, true)], libc::IPC_NOWAIT, None);
            sysv::semop(self.set, &[Sop(number, -1, false)], libc::IPC_NOWAIT, None);
        }
        sysv::semop(self.set, &[Sop(0, 1, false), Sop(0, -1, false)], libc::IPC_NOWAIT, None);
        sysv::semctl_all(self.set, libc::GETALL, &mut vec![0; count.into()]);
    }

    fn tear_down(&mut self) -> Result<(), String> {
        self.peers.clear();
        self.completer = None;
        self.holder = None;
        sysv::semctl(self.set, 0, libc::IPC_RMID, 0);
        sysv::semctl(self.spare, 0, libc::IPC_RMID, 0);
        match sysv::sem_used() {
            (0, 0) => Ok(()),
            (sets, semaphores) => Err(format!("{sets} sets and {semaphores} semaphores are left")),
        }
    }
}
