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

mod arrivals;
mod broker;
pub(crate) mod client;
mod deferred;
mod doors;
mod endings;
mod outcome;
mod resume;
mod route;
pub(crate) mod sleepers;
mod written;

pub use broker::{Broker, serve, unpack};

use crate::config::{Config, Keeper, Left, Log, Lookout, Report, Word};
use crate::failure::Failure;
use crate::host::monotonic;
use crate::life::ConnId;
use crate::mechanism;
use crate::namespace::Trouble;
use crate::object::query;
use crate::procfs::Written;
use crate::spaces::Spaces;
use crate::state::{InHand, Inbox, Noted, Table};
use client::{Answer, Conn, Request};
use deferred::{Deferred, is_overdue};
use doors::Doors;
use outcome::{Done, Told};
use ring3_abi::{IpcId, Kind, Pid};
use ring3_wire::{Op, Packet, decode};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fs::Timespec;
use rustix::io::Errno;
use sleepers::Sleeping;
use std::collections::{BTreeSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// Where an event comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Listener,
    Keeper,
    Deaths,
    Pipe,
    Lookout,
    Conn(ConnId),
}

impl Source {
    fn encode(self) -> EventData {
        EventData::new_u64(match self {
            Source::Listener => 0,
            Source::Keeper => 1,
            Source::Deaths => 2,
            Source::Pipe => 3,
            Source::Lookout => 4,
            Source::Conn(ConnId(n)) => n + 5,
        })
    }

    fn decode(data: EventData) -> Source {
        match data.u64() {
            0 => Source::Listener,
            1 => Source::Keeper,
            2 => Source::Deaths,
            3 => Source::Pipe,
            4 => Source::Lookout,
            n => Source::Conn(ConnId(n - 5)),
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

/// How long a broker that could not have a lookout waits before it tries again, nanoseconds.
const LOOKOUT_PAUSE: u64 = 100_000_000;

/// A running broker, as the rest of this crate sees it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) spaces: Spaces,
    pub(crate) log: Log,
    listener: OwnedFd,
    keeper: Option<Box<dyn Keeper>>,
    lookout: Option<Box<dyn Lookout>>,
    /// How many namespaces had been made when the lookout was: it has the mappings of their directories.
    watched: u64,
    /// When the next lookout may be made; `None`: there is one.
    lookout_at: Option<u64>,
    inbox: Rc<Inbox>,
    events: OwnedFd,
    /// The pidfds, apart from the rest so that they can be asked alone.
    pub(crate) deaths: OwnedFd,
    /// One of them may say something that was not heard: it was added just now.
    pub(crate) may_have_ended: bool,
    /// The dead process whose last words are being heard.
    heard_out: Option<Pid>,
    pub(crate) conns: Table<ConnId, Conn>,
    doors: Doors,
    last_conn: Noted<u64>,
    /// Requests that were received and not yet done, in the order of their arrival.
    line: VecDeque<Request>,
    pub(crate) sleeping: Table<ConnId, Sleeping>,
    /// By the numbers of their packets.
    later: Table<u64, Deferred>,
    /// What came of the packets that the last broker had in hand, as it committed.
    done: Table<u32, Done>,
    /// Answers that are committed and, as far as the state knows, not told.
    owed: Table<ConnId, Told>,
    /// Packets that stand in records from the next commit on.
    recorded: Vec<InHand>,
    /// The directories may have what another broker has left half written.
    unmended: bool,
    /// What could not be committed.
    failed: Option<Failure>,
    /// When `later` and the debts are looked at again.
    retry_at: u64,
    written: Table<u64, Written>,
    /// Processes that said they are about to exec.
    pub(crate) leaving: BTreeSet<Pid>,
    /// A mechanism wants to be refreshed.
    restless: bool,
    /// When it is done next.
    refresh_at: u64,
    /// The keeper wants it to end.
    called: bool,
    pub(crate) over: Noted<bool>,
}

impl Server {
    fn new(config: Config, spaces: Spaces, inbox: Rc<Inbox>) -> Result<Server, Failure> {
        let create =
            || epoll::create(CreateFlags::CLOEXEC).map_err(Failure::when("create an epoll instance"));
        let quota = spaces.quota();
        let server = Server {
            spaces,
            log: Log::new(config.name),
            listener: config.listener,
            keeper: config.keeper,
            lookout: config.lookout,
            watched: 0,
            lookout_at: None,
            inbox,
            events: create()?,
            deaths: create()?,
            may_have_ended: false,
            heard_out: None,
            conns: Table::default(),
            doors: Doors::new(quota),
            last_conn: Noted::default(),
            line: VecDeque::new(),
            sleeping: Table::default(),
            later: Table::default(),
            done: Table::default(),
            owed: Table::default(),
            recorded: Vec::new(),
            unmended: false,
            failed: None,
            retry_at: 0,
            written: Table::default(),
            leaving: BTreeSet::new(),
            restless: false,
            refresh_at: 0,
            called: false,
            over: Noted::default(),
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
        self.commit();
        while let Some(request) = self.line.pop_front() {
            let interrupted = request.interrupted.then_some(request.conn);
            self.answer(request, monotonic());
            if let Some(conn) = interrupted {
                self.interrupt(conn);
            }
            self.catch_up();
            self.commit();
        }
        self.confirm_execs();
        self.poll_sleepers();
        self.refresh();
        self.spaces.root().host.movers.borrow_mut().reap();
        self.spaces.clear();
        self.mend_directories();
        self.keep_watched();
        self.commit();
        // What was let go of is not kept while there is nothing to do.
        self.spaces.root().host.hand.keep();
        self.spaces.root().host.hand.has_done_something();
        self.failed.take().map_or(Ok(()), Err)
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
            || self.lookout_at.is_some()
            || self.spaces.all().any(|(_, ns)| ns.host.movers.borrow().are_at_work());
        if waits { Some(TICK) } else { self.restless.then_some(REFRESH) }
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
            Ok(None) => return self.noted(request),
            Err((Trouble::Errno(errno), value)) => Err((errno, value)),
            Err((Trouble::Later, _)) => return self.defer(request, since),
        };
        self.log.line(|| {
            let errno = result.as_ref().err().map(|failed| failed.0);
            format!("{} of {} (uid {}): {errno:?}", op_name(packet.op), request.creds.pid, request.creds.uid)
        });
        let tag = packet.tag;
        let lasts = packet.op == Op::MsgReceive;
        self.finish(request, tag, result, lasts);
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
        *self.over || self.called && self.living().is_empty()
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
        ns.host.hand.let_go();
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
