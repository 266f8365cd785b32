//! Queue scenes: one queue, a model of it, and what processes find.

use super::process::Peer;
use super::scene::{Case, Fate, Scene, gone};
use super::sysv::{self, Outcome, must};
use std::time::Duration;

/// A call on the queue.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// msgsnd: type, bytes.
    Send(i64, usize),
    /// msgrcv: room, type wished, flags.
    Receive(usize, i64, i32),
    /// IPC_SET of msg_qbytes.
    Limit(u64),
    /// IPC_RMID.
    Remove,
    /// IPC_STAT.
    Stat,
}

/// One case; `DEFAULT` is the one in which nobody else takes part.
pub(super) struct MsgCase {
    /// Its name.
    pub(super) name: &'static str,
    /// msg_qbytes, 0 for the namespace's.
    pub(super) limit: u64,
    /// Messages that are there already: type, bytes.
    pub(super) queued: &'static [(i64, usize)],
    /// Who waits already, first come first.
    pub(super) waiters: &'static [Act],
    /// The operation.
    pub(super) act: Act,
    /// What completes the victim's wait.
    pub(super) complete: Option<Act>,
    /// The operation is this process's first on the queue.
    pub(super) cold: bool,
}

impl MsgCase {
    /// Nobody but the victim, and an empty queue.
    pub(super) const DEFAULT: MsgCase = MsgCase {
        name: "",
        limit: 0,
        queued: &[],
        waiters: &[],
        act: Act::Stat,
        complete: None,
        cold: false,
    };
}

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Harness,
    Completer,
    Victim,
    Peer(usize),
}

/// One message: its type, its length, and the seed of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Message {
    mtype: i64,
    len: usize,
    seed: u64,
}

/// What the queue must be like.
#[derive(Clone)]
struct Model {
    limit: u64,
    queue: Vec<Message>,
    pending: Vec<(Who, Act)>,
    finished: Vec<(usize, Outcome)>,
    senders: Option<Who>,
    receivers: Option<Who>,
    removed: bool,
}

impl Model {
    /// Says whether a text fits now.
    fn fits(&self, len: usize) -> bool {
        let bytes: usize = self.queue.iter().map(|message| message.len).sum();
        (bytes + len) as u64 <= self.limit && (self.queue.len() as u64) < self.limit
    }

    /// Returns where the message that a wish means is.
    fn find(&self, wish: i64, flags: i32) -> Option<usize> {
        let queue = self.queue.iter();
        if wish < 0 {
            let fitting = queue.enumerate().filter(|(_, message)| message.mtype <= -wish);
            return fitting.min_by_key(|(at, message)| (message.mtype, *at)).map(|(at, _)| at);
        }
        self.queue.iter().position(|message| wanted(message.mtype, wish, flags))
    }

    /// Carries a call out, or queues it.
    fn run(&mut self, who: Who, act: Act, seed: u64) {
        match act {
            Act::Send(mtype, len) => self.send(who, Message { mtype, len, seed }),
            Act::Receive(room, wish, flags) => match self.find(wish, flags) {
                Some(at) => {
                    let message = self.queue.remove(at);
                    self.receivers = Some(who);
                    self.finish(who, received(message, room));
                    self.make_room();
                }
                None => self.pending.push((who, act)),
            },
            Act::Limit(limit) => {
                self.limit = limit;
                self.make_room();
            }
            Act::Remove => self.removed = true,
            Act::Stat => {}
        }
    }

    /// Sends to whoever waits for it, else into the queue, else waits.
    fn send(&mut self, who: Who, message: Message) {
        if !self.fits(message.len) {
            return self.pending.push((who, Act::Send(message.mtype, message.len)));
        }
        self.senders = Some(who);
        self.finish(who, Outcome::plain(0));
        while let Some(at) = self.pending.iter().position(
            |(_, act)| matches!(act, Act::Receive(_, wish, flags) if wanted(message.mtype, *wish, *flags)),
        ) {
            let (receiver, act) = self.pending.remove(at);
            let Act::Receive(room, _, flags) = act else { continue };
            if message.len > room && flags & libc::MSG_NOERROR == 0 {
                self.finish(receiver, Outcome::plain(-i64::from(libc::E2BIG)));
                continue;
            }
            self.receivers = Some(receiver);
            return self.finish(receiver, received(message, room));
        }
        self.queue.push(message);
    }

    /// Lets waiting senders go on, first come first served.
    fn make_room(&mut self) {
        let fitting = |(_, act): &(Who, Act)| matches!(act, Act::Send(_, len) if self.fits(*len));
        if let Some(at) = self.pending.iter().position(fitting) {
            let (who, act) = self.pending.remove(at);
            self.run(who, act, seed(who));
            self.make_room();
        }
    }

    /// Notes how a peer's call ended.
    fn finish(&mut self, who: Who, outcome: Outcome) {
        if let Who::Peer(index) = who {
            self.finished.push((index, outcome));
        }
    }
}

/// Says whether a wish (not a negative one, among queued messages) means this type.
fn wanted(mtype: i64, wish: i64, flags: i32) -> bool {
    match wish {
        0 => true,
        _ if wish < 0 => mtype <= -wish,
        _ if flags & libc::MSG_EXCEPT != 0 => mtype != wish,
        _ => mtype == wish,
    }
}

/// Returns what msgrcv gives for a message.
fn received(message: Message, room: usize) -> Outcome {
    let len = message.len.min(room);
    // A text that is cut is the beginning of the whole one; seeds make texts whose beginnings are alike.
    Outcome { result: len as i64, mtype: message.mtype, digest: sysv::digest_of(message.seed, len) }
}

/// Returns the seed of the texts that somebody sends.
fn seed(who: Who) -> u64 {
    match who {
        Who::Harness => 1000,
        Who::Completer => 1500,
        Who::Victim => 2000,
        Who::Peer(index) => 3000 + index as u64,
    }
}

/// What processes find.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    count: u64,
    bytes: u64,
    limit: u64,
    pids: (i32, i32),
    peers: Vec<Option<Outcome>>,
}

/// One point's queue and peers.
struct MsgScene {
    case: &'static MsgCase,
    queue: i32,
    limit: u64,
    peers: Vec<Peer>,
    completer: Option<Peer>,
    /// What must stand in the queue, once judged; unknown where somebody was stopped, not killed.
    content: Option<Vec<Message>>,
}

impl Case for MsgCase {
    fn name(&self) -> &'static str {
        self.name
    }

    fn completes(&self) -> bool {
        self.complete.is_some()
    }

    fn overtakes(&self) -> bool {
        self.complete.is_some()
    }

    fn set_up(&self) -> Result<Box<dyn Scene>, String> {
        // Cases are statics; the scene keeps the one that it was made from.
        let case = super::cases::msg(self.name).ok_or("no such case")?;
        let queue = must("msgget", sysv::msgget(libc::IPC_PRIVATE, 0o600))? as i32;
        if case.limit != 0 {
            must("IPC_SET", sysv::msg_set(queue, case.limit))?;
        }
        let limit = sysv::msg_stat(queue).map_err(|errno| format!("IPC_STAT gave {errno}"))?.msg_qbytes;
        for (index, (mtype, len)) in case.queued.iter().enumerate() {
            must("msgsnd", sysv::msgsnd(queue, *mtype, index as u64 + 1, *len, libc::IPC_NOWAIT))?;
        }
        let mut scene = MsgScene { case, queue, limit, peers: Vec::new(), completer: None, content: None };
        for (index, act) in case.waiters.iter().enumerate() {
            let who = Who::Peer(index);
            scene.peers.push(Peer::start(|| perform(queue, *act, who))?);
        }
        Ok(Box::new(scene))
    }
}

/// Carries a call out in this process.
fn perform(queue: i32, act: Act, who: Who) -> Outcome {
    match act {
        Act::Send(mtype, len) => Outcome::plain(sysv::msgsnd(queue, mtype, seed(who), len, 0)),
        Act::Receive(room, wish, flags) => sysv::msgrcv(queue, room, wish, flags),
        Act::Limit(limit) => Outcome::plain(sysv::msg_set(queue, limit)),
        Act::Remove => Outcome::plain(sysv::msg_remove(queue)),
        Act::Stat => Outcome::plain(sysv::msg_stat(queue).err().unwrap_or(0)),
    }
}

impl MsgScene {
    /// Returns the model after the victim's end.
    fn after(&self, fate: &Fate, done: bool) -> Model {
        let queued = self.case.queued.iter().enumerate();
        let queue: Vec<Message> = queued
            .map(|(at, (mtype, len))| Message { mtype: *mtype, len: *len, seed: at as u64 + 1 })
            .collect();
        let senders = (!queue.is_empty()).then_some(Who::Harness);
        let (pending, finished) = (Vec::new(), Vec::new());
        let mut model =
            Model { limit: self.limit, queue, pending, finished, senders, receivers: None, removed: false };
        for (index, act) in self.case.waiters.iter().enumerate() {
            model.run(Who::Peer(index), *act, seed(Who::Peer(index)));
        }
        if done {
            model.run(Who::Victim, self.case.act, seed(Who::Victim));
        }
        if let Some(act) = self.case.complete.filter(|_| fate.completed) {
            model.run(Who::Completer, act, seed(Who::Completer));
        }
        model.pending.retain(|(who, _)| *who != Who::Victim);
        model
    }

    /// Looks at the queue and at the peers.
    fn look(&mut self) -> Result<Found, String> {
        // The peers first: the kernel's senders, once woken, post for themselves.
        let mut peers = Vec::new();
        for peer in &mut self.peers {
            peers.push(peer.rest()?);
        }
        let stat = sysv::msg_stat(self.queue).map_err(|errno| format!("IPC_STAT gave {errno}"))?;
        Ok(Found {
            count: stat.msg_qnum,
            bytes: stat.__msg_cbytes,
            limit: stat.msg_qbytes,
            pids: (stat.msg_lspid, stat.msg_lrpid),
            peers,
        })
    }

    /// Returns what the model says that processes must find.
    fn wanted(&self, model: &Model, fate: &Fate) -> Found {
        let pid = |who: Option<Who>| match who {
            None => 0,
            Some(Who::Harness) => std::process::id() as i32,
            Some(Who::Victim) => fate.victim,
            Some(Who::Completer) => self.completer.as_ref().map_or(0, |peer| peer.pid),
            Some(Who::Peer(index)) => self.peers.get(index).map_or(0, |peer| peer.pid),
        };
        let outcome =
            |index| model.finished.iter().find(|(peer, _)| *peer == index).map(|(_, outcome)| *outcome);
        Found {
            count: model.queue.len() as u64,
            bytes: model.queue.iter().map(|message| message.len as u64).sum(),
            limit: model.limit,
            pids: (pid(model.senders), pid(model.receivers)),
            peers: (0..self.peers.len()).map(outcome).collect(),
        }
    }

    /// Judges a queue that is gone: everybody who waited was told so.
    fn judge_removed(&mut self) -> Result<bool, String> {
        for peer in &mut self.peers {
            match peer.rest()? {
                Some(outcome) if outcome.result == -i64::from(libc::EIDRM) => {}
                other => return Err(format!("the queue is gone, a sleeper has {other:?}")),
            }
        }
        Ok(true)
    }

    /// Takes everything out and compares it with what must be there.
    fn drain(&mut self) -> Result<(), String> {
        let content = self.content.replace(Vec::new());
        for message in content.iter().flatten() {
            let got = sysv::msgrcv(self.queue, sysv::TEXT, 0, libc::IPC_NOWAIT);
            let wanted = received(*message, sysv::TEXT);
            if got != wanted {
                return Err(format!("the queue held {got:?}, not {wanted:?}"));
            }
        }
        loop {
            let rest = sysv::msgrcv(self.queue, sysv::TEXT, 0, libc::IPC_NOWAIT);
            if rest.result == -i64::from(libc::ENOMSG) {
                break;
            }
            if content.is_some() || rest.result < 0 {
                return Err(format!("the queue should be empty, but held {rest:?}"));
            }
        }
        match self.look()? {
            Found { count: 0, bytes: 0, .. } => Ok(()),
            other => Err(format!("the queue is empty, but counts {other:?}")),
        }
    }
}

impl Scene for MsgScene {
    fn prepare(&self) -> Box<dyn FnOnce() -> i64 + '_> {
        let queue = self.queue;
        if !self.case.cold {
            let _ = sysv::msg_stat(queue);
            sysv::msgrcv(queue, 0, 99, libc::IPC_NOWAIT);
        }
        match self.case.act {
            Act::Send(mtype, len) => Box::new(sysv::prepare_send(queue, mtype, seed(Who::Victim), len, 0)),
            Act::Receive(room, wish, flags) => Box::new(sysv::receive_blind(queue, room, wish, flags)),
            Act::Limit(limit) => Box::new(sysv::prepare_set(queue, limit)),
            act => Box::new(move || perform(queue, act, Who::Victim).result),
        }
    }

    fn complete(&mut self) -> Result<(), String> {
        let Some(act) = self.case.complete else { return Ok(()) };
        let queue = self.queue;
        self.completer = Some(Peer::spawn(|| perform(queue, act, Who::Completer))?);
        Ok(())
    }

    fn completed(&mut self, patience: Duration) -> Option<i64> {
        self.completer.as_mut()?.end(patience).map(|outcome| outcome.result)
    }

    fn completing(&self) -> String {
        self.completer.as_ref().map(Peer::place).unwrap_or_default()
    }

    fn judge(&mut self, fate: &Fate) -> Result<bool, String> {
        let (not, done) = (self.after(fate, false), self.after(fate, true));
        if done.removed && sysv::msg_stat(self.queue).is_err_and(gone) {
            return self.judge_removed();
        }
        let found = self.look()?;
        let (wanted_not, wanted_done) = (self.wanted(&not, fate), self.wanted(&done, fate));
        if !done.removed && found == wanted_done {
            self.content = Some(done.queue);
            return Ok(true);
        }
        if !fate.ended && found == wanted_not {
            self.content = Some(not.queue);
            return Ok(false);
        }
        Err(format!("found {found:?}, neither {wanted_not:?} nor {wanted_done:?} (victim {})", fate.victim))
    }

    fn go_on(&mut self, operations: usize) -> Result<(), String> {
        self.peers.clear();
        if sysv::msg_stat(self.queue).is_err_and(gone) {
            return Ok(());
        }
        self.drain()?;
        for turn in 0..operations {
            let (mtype, len) =
                (1 + turn as i64 % 7, [16, 64, 900, 3000][turn % 4].min(self.limit as usize / 2));
            let seed = 5000 + turn as u64;
            must("msgsnd", sysv::msgsnd(self.queue, mtype, seed, len, libc::IPC_NOWAIT))?;
            let wish = [0, mtype, -mtype][turn % 3];
            let got = sysv::msgrcv(self.queue, sysv::TEXT, wish, libc::IPC_NOWAIT);
            let wanted = received(Message { mtype, len, seed }, sysv::TEXT);
            if got != wanted {
                return Err(format!("operation {turn} received {got:?}, not {wanted:?}"));
            }
        }
        self.drain()
    }

    fn probe(&self) {
        sysv::msgsnd(self.queue, 7, 1, 32, libc::IPC_NOWAIT);
        sysv::msgrcv(self.queue, 32, 7, libc::IPC_NOWAIT);
        sysv::msgsnd(self.queue, 7, 1, 2000.min(self.limit as usize / 4), libc::IPC_NOWAIT);
        sysv::msgrcv(self.queue, 2000, 7, libc::IPC_NOWAIT);
        let _ = sysv::msg_stat(self.queue);
    }

    fn tear_down(&mut self) -> Result<(), String> {
        self.peers.clear();
        self.completer = None;
        sysv::msg_remove(self.queue);
        match sysv::msg_used() {
            (0, 0, 0) => Ok(()),
            (queues, messages, bytes) => {
                Err(format!("{queues} queues, {messages} messages, {bytes} bytes are left"))
            }
        }
    }
}
