//! Requests that wait for a region's lock: each is tried again by timer, more and more seldom, and not for ever. Whoever may write the lock's
//! word can keep it from coming free, so a try must be cheap, a turn of the loop has few of them, and they end.
//!
//! # Invariants
//! D1. A request is in here while its asker can hear the answer: it goes with its connection, and with its process.

use super::Server;
use super::client::Request;
use crate::host::monotonic;
use crate::life::ConnId;
use crate::state::keep;
use ring3_abi::Errno;
use ring3_wire::Op;

/// When a request is tried again first, nanoseconds; from then on half as long as it has waited.
const FIRST: u64 = 5_000_000;
/// How many are tried in one turn of the loop.
const TRIES: usize = 32;
/// How long IPC_RMID and IPC_STAT wait for a lock: they can do without.
const PATIENCE: u64 = 100_000_000;
/// How long the others wait.
const LONG_PATIENCE: u64 = 1_000_000_000;

/// A request that waits for a lock.
#[derive(Debug)]
pub(crate) struct Deferred {
    pub(super) request: Request,
    /// When it was tried first.
    pub(super) since: u64,
    retry_at: u64,
}
keep!(Deferred { request, since } derived { retry_at });

impl Deferred {
    /// A request whose first try, at `since`, was in vain.
    pub(super) fn new(request: Request, since: u64) -> Deferred {
        let now = monotonic();
        let pause = now.saturating_sub(since) / 2;
        Deferred { request, since, retry_at: now + pause.max(FIRST) }
    }
}

/// Whether a request that was first tried at `since` has waited long enough. A process introduces itself in the end, or its number is taken.
pub(super) fn is_overdue(op: Op, since: u64) -> bool {
    let waited = monotonic().saturating_sub(since);
    match op {
        Op::Hello => false,
        Op::Remove | Op::Stat => waited >= PATIENCE,
        _ => waited >= LONG_PATIENCE,
    }
}

impl Server {
    /// Tries those again that are due, the oldest first.
    pub(super) fn retry(&mut self) {
        let now = monotonic();
        for _ in 0..TRIES {
            self.catch_up();
            self.commit();
            let due =
                self.later.iter().find(|(_, deferred)| deferred.retry_at <= now).map(|(number, _)| *number);
            let Some(Deferred { request, since, .. }) = due.and_then(|number| self.later.remove(&number))
            else {
                return;
            };
            self.answer(request, since);
        }
    }

    /// Puts a request off that was tried first at `since`.
    pub(super) fn defer(&mut self, request: Request, since: u64) {
        self.put_off(Deferred::new(request, since));
    }

    /// Puts the requests in line off until the next turn, so that what they lie in is free: their packets stand in records then.
    pub(super) fn defer_line(&mut self) {
        for request in std::mem::take(&mut self.line) {
            self.put_off(Deferred { request, since: monotonic(), retry_at: 0 });
        }
        self.retry_at = 0;
        self.commit();
    }

    fn put_off(&mut self, mut deferred: Deferred) {
        self.recorded.extend(deferred.request.in_hand.take());
        self.later.insert(deferred.request.number, deferred);
    }

    /// Forgets what a process, or whoever had a connection, asked for and is not done yet.
    pub(crate) fn drop_asked(&mut self, of: impl Fn(&Request) -> bool) {
        self.line.retain(|request| !of(request));
        self.later.take(|_, deferred| of(&deferred.request));
    }

    /// A request of this connection that waits for a lock is over: a signal has come.
    pub(super) fn interrupt_deferred(&mut self, conn: ConnId) {
        for (_, Deferred { request, .. }) in self.later.take(|_, deferred| deferred.request.conn == conn) {
            if let Ok(packet) = ring3_wire::decode(&request.bytes) {
                self.tell(conn, packet.tag, Err((Errno::EINTR, 0)));
            }
        }
    }
}
