//! Requests that wait for a region's lock: each is tried again by timer, more and more seldom, and not for ever. Whoever may write the lock's
//! word can keep it from coming free, so a try must be cheap, a turn of the loop has few of them, and they end.
//!
//! # Invariants
//! D1. A request is in here while its asker can hear the answer: it goes with its connection, and with its process.

use super::Server;
use super::client::Request;
use crate::host::monotonic;
use crate::life::ConnId;
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
            let Some(at) = self.later.iter().position(|deferred| deferred.retry_at <= now) else { return };
            let Deferred { request, since, .. } = self.later.remove(at);
            self.answer(request, since);
        }
    }

    /// Forgets what a process, or whoever had a connection, asked for and is not done yet.
    pub(crate) fn drop_asked(&mut self, of: impl Fn(&Request) -> bool) {
        self.line.retain(|request| !of(request));
        self.later.retain(|deferred| !of(&deferred.request));
    }

    /// A request of this connection that waits for a lock is over: a signal has come.
    pub(super) fn interrupt_deferred(&mut self, conn: ConnId) {
        let of = |deferred: &mut Deferred| deferred.request.conn == conn;
        let over: Vec<Deferred> = self.later.extract_if(.., of).collect();
        for Deferred { request, .. } in over {
            if let Ok(packet) = ring3_wire::decode(&request.bytes) {
                self.reply(conn, packet.tag, &Err((Errno::EINTR, 0)));
            }
        }
    }
}
