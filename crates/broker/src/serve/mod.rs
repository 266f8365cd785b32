//! The loop: events in, requests in the order of their arrival, answers out.
//!
//! # Invariants
//! V1. Before a request is handled, everything that happened before it and that its sender can know of is done: deaths, hang-ups of
//!     images that said they would go, writes to files of limits, and notes (one-way requests) that arrived on any connection.
//! V2. A connection has at most one request in hand; whoever sends a second one before the answer loses the connection.
//! V3. What waits for a lock or sleeps is looked at every millisecond; with nothing to look at, the loop sleeps without end.
//! V4. A request waits in [`Server`]'s line or among those that wait for a lock, and is taken out just before it is done: so whoever settles its
//!     sender's end finds it there and drops it. What a dead process asked for is done before its end is settled, or never.
//! V5. What waits for a lock is tried a few at a time (`deferred.rs`): who may write the lock's word can keep it from coming free.

pub(crate) mod client;
mod deferred;
mod doors;
mod endings;
mod route;
pub(crate) mod sleepers;

use crate::config::{Config, Keeper, Left, Log, Report, Word};
use crate::failure::Failure;
use crate::host::monotonic;
use crate::life::ConnId;
use crate::mechanism;
use crate::namespace::Trouble;
use crate::object::query;
use crate::procfs::Written;
use crate::spaces::{Space, Spaces};
use client::{Answer, Arrival, Conn, Request};
use deferred::{Deferred, is_overdue};
use doors::Doors;
use ring3_abi::{IpcId, Kind, Pid};
use ring3_wire::{MAX_PACKET, Op, Packet, decode};
use route::Note;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fs::Timespec;
use rustix::io::Errno;
use sleepers::Sleeping;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd};

/// Where an event comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Listener,
    Keeper,
    Deaths,
    Pipe,
    Conn(ConnId),
}

impl Source {
    fn encode(self) -> EventData {
        EventData::new_u64(match self {
            Source::Listener => 0,
            Source::Keeper => 1,
            Source::Deaths => 2,
            Source::Pipe => 3,
            Source::Conn(ConnId(n)) => n + 4,
        })
    }

    fn decode(data: EventData) -> Source {
        match data.u64() {
            0 => Source::Listener,
            1 => Source::Keeper,
            2 => Source::Deaths,
            3 => Source::Pipe,
            n => Source::Conn(ConnId(n - 4)),
        }
    }
}

/// How many packets a connection may have read in one go.
const BURST: usize = 64;
/// How often what waits is looked at.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
/// How often what waits for a lock is tried again, nanoseconds.
const RETRY: u64 = 5_000_000;
/// How often a mechanism that has something to refresh does so.
const REFRESH: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// The same, nanoseconds: a little less, so that the second that the loop sleeps is enough.
const REFRESH_PAUSE: u64 = 990_000_000;

/// A running broker.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) spaces: Spaces,
    pub(crate) log: Log,
    listener: OwnedFd,
    keeper: Option<Box<dyn Keeper>>,
    events: OwnedFd,
    /// The pidfds, apart from the rest so that they can be asked alone.
    pub(crate) deaths: OwnedFd,
    /// One of them may say something that was not heard: it was added just now.
    pub(crate) may_have_ended: bool,
    /// The dead process whose last words are being heard.
    heard_out: Option<Pid>,
    pub(crate) conns: BTreeMap<ConnId, Conn>,
    doors: Doors,
    last_conn: u64,
    pub(crate) sleeping: Vec<Sleeping>,
    /// Requests that have arrived, in their order.
    line: VecDeque<Request>,
    later: Vec<Deferred>,
    /// When `later` and the debts are looked at again.
    retry_at: u64,
    written: Vec<Written>,
    /// Processes that said they are about to exec.
    pub(crate) leaving: BTreeSet<Pid>,
    /// A mechanism wants to be refreshed.
    restless: bool,
    /// When it is done next.
    refresh_at: u64,
    /// The keeper wants it to end.
    called: bool,
    pub(crate) over: bool,
    buffer: Vec<u8>,
}

/// Runs a namespace until its keeper calls and no client is left, or until it is told to end.
///
/// # Errors
/// What the machine refuses: memory files, epoll.
pub fn serve(config: Config) -> Result<Report, Failure> {
    let mut server = Server::new(config)?;
    while !server.is_over() {
        server.turn()?;
    }
    Ok(server.report())
}

impl Server {
    fn new(config: Config) -> Result<Server, Failure> {
        raise_limits();
        let made = |errno: ring3_abi::Errno| Errno::from_raw_os_error(i32::from(errno.0));
        let spaces = Spaces::new(config.limits).map_err(made).map_err(Failure::when("make the directory"))?;
        let create =
            || epoll::create(CreateFlags::CLOEXEC).map_err(Failure::when("create an epoll instance"));
        let server = Server {
            spaces,
            log: Log::new(config.name),
            listener: config.listener,
            keeper: config.keeper,
            events: create()?,
            deaths: create()?,
            may_have_ended: false,
            heard_out: None,
            conns: BTreeMap::new(),
            doors: Doors::new(),
            last_conn: 0,
            sleeping: Vec::new(),
            line: VecDeque::new(),
            later: Vec::new(),
            retry_at: 0,
            written: Vec::new(),
            leaving: BTreeSet::new(),
            restless: false,
            refresh_at: 0,
            called: false,
            over: false,
            buffer: vec![0; MAX_PACKET],
        };
        server.watch(&server.listener, Source::Listener).map_err(Failure::when("watch the socket"))?;
        server.watch(&server.deaths, Source::Deaths).map_err(Failure::when("watch processes"))?;
        if let Some(keeper) = &server.keeper {
            server.watch(keeper.voice(), Source::Keeper).map_err(Failure::when("watch the keeper"))?;
        }
        Ok(server)
    }

    fn watch(&self, fd: impl AsFd, source: Source) -> Result<(), Errno> {
        epoll::add(&self.events, fd, source.encode(), EventFlags::IN)
    }

    /// One turn of the loop.
    fn turn(&mut self) -> Result<(), Failure> {
        let patience = self.patience();
        self.sweep(patience)?;
        // Another look after each that has found requests: at notes that were sent, and processes that had ended, before these (V1).
        let mut seen = 0;
        while self.line.len() > seen {
            seen = self.line.len();
            self.sweep(Some(Timespec::default()))?;
        }
        if monotonic() >= self.retry_at {
            // In front of the new ones.
            self.retry();
            for (_, ns) in self.spaces.all_mut() {
                ns.settle_debts();
            }
            self.retry_at = monotonic() + RETRY;
        }
        self.catch_up();
        while let Some(request) = self.line.pop_front() {
            let interrupted = request.interrupted.then_some(request.conn);
            self.answer(request, monotonic());
            if let Some(conn) = interrupted {
                self.interrupt(conn);
            }
            self.catch_up();
        }
        self.confirm_execs();
        self.poll_sleepers();
        self.refresh();
        self.spaces.root().host.movers.borrow_mut().reap();
        self.spaces.clear();
        Ok(())
    }

    /// How long the loop may sleep; `None`: without end (V3).
    fn patience(&self) -> Option<Timespec> {
        if !self.line.is_empty() {
            // An end that was settled after the last request was done has brought them in.
            return Some(Timespec::default());
        }
        let waits = !self.later.is_empty()
            || !self.sleeping.is_empty()
            || self.spaces.all().any(|(_, ns)| !ns.debts.is_empty())
            || !self.leaving.is_empty()
            || self.spaces.all().any(|(_, ns)| ns.host.movers.borrow().are_at_work());
        if waits { Some(TICK) } else { self.restless.then_some(REFRESH) }
    }

    /// Takes what has arrived: notes are done at once, requests put into line.
    fn sweep(&mut self, patience: Option<Timespec>) -> Result<(), Failure> {
        let mut found = Vec::with_capacity(64);
        match epoll::wait(&self.events, rustix::buffer::spare_capacity(&mut found), patience.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Failure::when("wait for events")(errno)),
        }
        let mut written = false;
        // What did not fit into the hand may be anything.
        self.may_have_ended |= found.len() == found.capacity();
        for event in found {
            match Source::decode(event.data) {
                Source::Listener => self.accept(),
                Source::Keeper => self.keeper_called(),
                Source::Deaths => self.may_have_ended = true,
                Source::Pipe => written = true,
                Source::Conn(conn) => self.read(conn),
            }
        }
        self.settle_if_ended();
        self.drain_written(written);
        Ok(())
    }

    fn keeper_called(&mut self) {
        let Some(mut keeper) = self.keeper.take() else { return };
        // Level-triggered: it would be heard for ever.
        let _ = epoll::delete(&self.events, keeper.voice());
        match keeper.hear() {
            Word::End => self.called = true,
            Word::Stay => {}
            // One that cannot be heard any more is as good as gone.
            Word::Later => self.called = self.watch(keeper.voice(), Source::Keeper).is_err(),
        }
        self.keeper = Some(keeper);
    }

    /// Reads a connection up to its next request, which is put into line.
    pub(crate) fn read(&mut self, conn: ConnId) {
        for _ in 0..BURST {
            let Some(there) = self.conns.get(&conn) else { return };
            let request = match there.receive(conn, &mut self.buffer) {
                Arrival::Packet(request) => request,
                Arrival::Nothing => return,
                Arrival::Over => return self.hang_up(conn),
            };
            let Ok(packet) = decode(&request.bytes) else { return self.hang_up(conn) };
            self.own(conn, request.creds.pid);
            match self.note(&request, &packet) {
                Note::Done => {}
                Note::Broken => return self.hang_up(conn),
                Note::WantsAnswer if self.has_in_hand(conn) => return self.hang_up(conn),
                Note::WantsAnswer => return self.line.push_back(request),
            }
        }
    }

    /// Whether a request of this connection waits for its answer (V2).
    fn has_in_hand(&self, conn: ConnId) -> bool {
        let waiting = self.later.iter().map(|deferred| &deferred.request);
        self.line.iter().chain(waiting).any(|request| request.conn == conn)
            || self.sleeping.iter().any(|sleeping| sleeping.conn == conn)
    }

    /// The first known process to speak on a connection owns it.
    fn own(&mut self, conn: ConnId, pid: Pid) {
        let Some(there) = self.conns.get_mut(&conn).filter(|there| there.owner.is_none()) else { return };
        if let Some(process) = self.spaces.of_mut(pid).processes.get_mut(&pid) {
            there.owner = Some(pid);
            process.conns.insert(conn);
        }
    }

    /// Does all that happened before a request and has not been done (V1).
    fn catch_up(&mut self) {
        self.settle_if_ended();
        self.confirm_execs();
    }

    /// Settles those that have ended, if there may be any.
    fn settle_if_ended(&mut self) {
        if std::mem::take(&mut self.may_have_ended) {
            self.settle_the_dead();
        }
    }

    /// Puts in force what was written to files of limits. `heard`: some file says so, perhaps one that was opened without us.
    fn drain_written(&mut self, heard: bool) {
        let files = self.spaces.all().filter_map(|(_, ns)| ns.opened_limits());
        let writers = files.map(|files| files.writers()).sum::<usize>();
        if self.written.is_empty() && writers == 0 && !heard {
            return;
        }
        for (_, ns) in self.spaces.all_mut() {
            ns.take_up_limits();
        }
        let spaces = &mut self.spaces;
        self.written.retain_mut(|written| written.drain(spaces.at_mut(written.space)));
        self.publish_writers();
    }

    /// Tells everybody whether limits may be changing without a request.
    pub(crate) fn publish_writers(&mut self) {
        for (space, ns) in self.spaces.all() {
            let files = ns.opened_limits().map_or(0, |files| files.writers());
            let pipes = self.written.iter().filter(|written| written.space == space).count();
            if let Some(directory) = ns.directory() {
                directory.set_limit_writers(files + pipes);
            }
        }
    }

    /// Watches a file of limits that is open for writing.
    pub(crate) fn watch_written(&mut self, written: Written) {
        // Not watched, it is still drained before each request.
        let _ = self.watch(&written.fd, Source::Pipe);
        self.written.push(written);
        self.publish_writers();
    }

    /// Watches the kernel's files of limits, if they were opened.
    pub(crate) fn watch_limits(&self, space: Space) {
        let Some(files) = self.spaces.at(space).opened_limits() else { return };
        // Not watched, they are still looked at before each request.
        let _ = epoll::add(&self.events, files.events(), Source::Pipe.encode(), EventFlags::IN);
    }

    /// Sends a request's answer, or puts it off. It was tried first at `since`.
    fn answer(&mut self, mut request: Request, since: u64) {
        let ns = self.spaces.of(request.creds.pid);
        request.creds.authority = ns.authority.clone();
        request.creds.directory = ns.directory_file().1;
        let Ok(packet) = decode(&request.bytes) else { return };
        let outcome = match self.handle(&request, &packet) {
            Err((Trouble::Later, _)) if is_overdue(packet.op, since) => {
                route::last_resort(self.spaces.of_mut(request.creds.pid), &request.creds, &packet)
            }
            outcome => outcome,
        };
        let result = match outcome {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => return,
            Err((Trouble::Errno(errno), value)) => Err((errno, value)),
            Err((Trouble::Later, _)) => return self.later.push(Deferred::new(request, since)),
        };
        self.log.line(|| {
            let errno = result.as_ref().err().map(|failed| failed.0);
            format!("{} of {} (uid {}): {errno:?}", op_name(packet.op), request.creds.pid, request.creds.uid)
        });
        self.reply(request.conn, packet.tag, &result);
    }

    /// Sends an answer; a client that does not take it loses its connection.
    pub(crate) fn reply(&mut self, conn: ConnId, tag: u32, result: &Result<Answer, (ring3_abi::Errno, i64)>) {
        let taken = self.conns.get(&conn).is_none_or(|there| there.send(tag, result));
        if !taken {
            self.hang_up(conn);
        }
    }

    /// Lets the mechanisms refresh what they must: at most once a second, and for a small part of the time, for the more a client has locked
    /// the longer it takes.
    fn refresh(&mut self) {
        let began = monotonic();
        if began < self.refresh_at && self.restless {
            return;
        }
        let refreshed = |ns| mechanism::all().fold(false, |any, (_, mechanism)| mechanism.refresh(ns) || any);
        self.restless = self.spaces.all().fold(false, |any, (_, ns)| refreshed(ns) || any);
        let took = monotonic().saturating_sub(began);
        self.refresh_at = began + REFRESH_PAUSE.max(took.saturating_mul(50));
    }

    /// Whether there is nothing left to do.
    fn is_over(&self) -> bool {
        self.over || self.called && self.living().is_empty()
    }

    /// The client processes that live.
    fn living(&self) -> BTreeSet<Pid> {
        let processes = self.spaces.all().flat_map(|(_, ns)| ns.processes.iter());
        processes.filter(|(_, process)| !process.is_dead()).map(|(pid, _)| *pid).collect()
    }

    /// What is left in the root, after all that is dead is settled. What other namespaces hold goes with them (spaces.rs, M3).
    fn report(mut self) -> Report {
        self.settle_the_dead();
        let ns = self.spaces.root();
        ns.settle_debts();
        let mut left = Vec::new();
        for kind in Kind::ALL {
            let ids: Vec<IpcId> = ns.names(kind).iter().map(|(id, _)| id).collect();
            left.extend(
                ids.into_iter()
                    .filter_map(|id| query::detail_of(ns, kind, id).ok())
                    .map(|detail| Left { kind, detail }),
            );
        }
        Report { left }
    }
}

fn op_name(op: Op) -> String {
    format!("{op:?}").to_lowercase()
}

/// Raises what the command's limits should not lower: descriptors (one a class and one a process), the size of files (memory files are meant
/// to be sparse), locked memory (SHM_LOCK is counted by client).
fn raise_limits() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    for resource in [Resource::Nofile, Resource::Fsize, Resource::Memlock] {
        let maximum = getrlimit(resource).maximum;
        // Refused, the old limit stays: objects then fail with ENOMEM earlier.
        let _ = setrlimit(resource, Rlimit { current: maximum, maximum });
    }
}
