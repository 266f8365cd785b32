//! Calls that sleep in the broker, on behalf of clients who may not map what they sleep on.
//!
//! Their tickets are looked at after every request and once a millisecond; whoever completes one needs no word from the broker.

use super::Server;
use super::client::{Answer, Request};
use crate::host::monotonic;
use crate::life::ConnId;
use crate::mechanism;
use crate::namespace::{Namespace, Trouble};
use crate::object::Object;
use crate::object::arena::RangeId;
use crate::policy::creds::Creds;
use crate::spaces::Space;
use crate::state::Keep;
use ring3_abi::{Errno, IpcId, Kind};
use ring3_engine::{Caller, Parked, Result as Outcome, Ticket, WaitWord};
use ring3_wire::Packet;
use std::fmt::Debug;
use std::rc::Rc;

/// How far a call that may sleep got.
#[derive(Debug)]
pub(crate) enum Progress {
    Done(Answer),
    /// It sleeps until this time (nanoseconds of CLOCK_MONOTONIC).
    Asleep {
        id: IpcId,
        ticket: Ticket,
        call: Box<dyn Call>,
        deadline: u64,
    },
}

/// A call that sleeps, as far as it is its mechanism's own.
pub(crate) trait Call: Debug {
    /// The kind of object that it sleeps on.
    fn kind(&self) -> Kind;

    /// Goes on with a ticket; `None`: it waits still.
    fn resume(
        &self,
        ns: &mut Namespace,
        id: IpcId,
        who: Caller,
        ticket: Ticket,
        why: Parked,
    ) -> Result<Option<Answer>, Trouble>;

    /// The permission that the caller must still have for the call to go on after the object moved, as bits of a mode; 0 none.
    fn wanted(&self) -> i32 {
        0
    }

    /// Finds the call's ticket again after the object moved.
    fn adopt(&self, ns: &Namespace, id: IpcId, who: Caller) -> Outcome<Option<Ticket>>;

    /// Takes the call's ticket out: the call ends without a result.
    fn withdraw(&self, ns: &Namespace, id: IpcId, who: Caller) -> Outcome<()>;

    /// Where the ticket's owner sleeps.
    fn wait_word<'n>(&self, ns: &'n Namespace, id: IpcId, ticket: Ticket) -> Outcome<WaitWord<'n>>;

    /// What the call says of itself to another broker (`Mechanism::call`).
    fn keep(&self, _: &mut Vec<u8>) {}

    /// The answer of a call that was done before, by a broker that was killed.
    fn done_before(&self, _: &mut Namespace, _: IpcId, _: Caller) -> Result<Answer, Trouble> {
        Ok(Answer::default())
    }
}

/// A sleeping call.
#[derive(Debug)]
pub(crate) struct Sleeping {
    /// The namespace that the object is in.
    pub(crate) space: Space,
    pub(crate) conn: ConnId,
    pub(crate) tag: u32,
    pub(crate) creds: Creds,
    pub(crate) id: IpcId,
    pub(crate) call: Box<dyn Call>,
    pub(crate) ticket: Ticket,
    /// The region that the ticket is in.
    pub(crate) range: Option<RangeId>,
    pub(crate) deadline: u64,
    /// A signal has come: it ends as soon as the lock can be had.
    pub(crate) interrupted: bool,
    /// The number of the call's packet, by which a region's receipt knows it.
    pub(crate) number: u64,
    /// It may have ended before, under a broker that was killed.
    pub(crate) again: bool,
}

impl Keep for Sleeping {
    fn put(&self, out: &mut Vec<u8>) {
        self.space.put(out);
        (self.conn, self.tag, self.id, self.ticket.0).put(out);
        self.creds.put(out);
        (self.range, self.deadline, self.interrupted, self.number).put(out);
        self.call.kind().put(out);
        self.call.keep(out);
    }

    fn get(from: &mut &[u8]) -> Option<Sleeping> {
        let space = Keep::get(from)?;
        let (conn, tag, id, ticket) = Keep::get(from)?;
        let creds = Keep::get(from)?;
        let (range, deadline, interrupted, number) = Keep::get(from)?;
        let call = mechanism::of(Keep::get(from)?).call(from)?;
        let (ticket, again) = (Ticket(ticket), true);
        Some(Sleeping {
            space,
            conn,
            tag,
            creds,
            id,
            call,
            ticket,
            range,
            deadline,
            interrupted,
            number,
            again,
        })
    }
}

impl Sleeping {
    /// Looks whether the call is over; `None`: it goes on.
    fn poll(&mut self, ns: &mut Namespace) -> Option<Result<Answer, Errno>> {
        let why = if self.interrupted { Parked::Interrupted } else { Parked::Woken };
        match self.progress(ns, why) {
            Ok(answer) => answer.map(Ok),
            Err(Trouble::Errno(errno)) => Some(Err(errno)),
            Err(Trouble::Later) => None,
        }
    }

    fn progress(&mut self, ns: &mut Namespace, why: Parked) -> Result<Option<Answer>, Trouble> {
        if std::mem::take(&mut self.again)
            && let Some(done) = ns.done_before(self.call.kind(), self.id, self.number)
        {
            done?;
            return self.call.done_before(ns, self.id, self.creds.caller()).map(Some);
        }
        let Some(object) = ns.names(self.call.kind()).get(self.id) else { return Err(Errno::EIDRM.into()) };
        let range = object.range();
        if range != self.range {
            self.follow(ns)?;
            self.range = range;
        }
        let why = if why == Parked::Woken && monotonic() >= self.deadline { Parked::TimedOut } else { why };
        if why == Parked::Woken && self.is_waiting(ns) {
            return Ok(None);
        }
        self.call.resume(ns, self.id, self.creds.caller(), self.ticket, why)
    }

    /// Finds the ticket again after the object moved, if the caller is still permitted what the call wants.
    fn follow(&mut self, ns: &mut Namespace) -> Result<(), Trouble> {
        let (id, who, call) = (self.id, self.creds.caller(), &self.call);
        let perm = ns.names(call.kind()).get(id).map(|object: &Object| object.perm).ok_or(Errno::EIDRM)?;
        if !self.creds.permits(&perm, call.wanted()) {
            ns.attempt(call.kind(), id, |ns| call.withdraw(ns, id, who))?;
            return Err(Errno::EACCES.into());
        }
        let ticket = ns.attempt(call.kind(), id, |ns| call.adopt(ns, id, who))?;
        self.ticket = ticket.ok_or(Errno::EIDRM)?;
        Ok(())
    }

    /// Whether nobody has touched the ticket: no lock is needed to see that.
    fn is_waiting(&self, ns: &Namespace) -> bool {
        self.call.wait_word(ns, self.id, self.ticket).is_ok_and(|word| word.is_untouched())
    }

    /// Gives the call up: nobody is there to be told.
    pub(super) fn abandon(&self, ns: &mut Namespace) {
        let (id, who, call) = (self.id, self.creds.caller(), &self.call);
        // Removed meanwhile, or a lock that does not come free: then the ticket goes with its process.
        let _: Result<(), Trouble> = ns.attempt(call.kind(), id, |ns| call.withdraw(ns, id, who));
    }
}

impl Server {
    /// Answers the sleepers whose calls are over.
    pub(super) fn poll_sleepers(&mut self) {
        if self.sleeping.is_empty() {
            return;
        }
        let all: Vec<ConnId> = self.sleeping.keys().copied().collect();
        for conn in all {
            self.look_after(conn);
        }
    }

    /// Answers a sleeper if its call is over.
    fn look_after(&mut self, conn: ConnId) {
        let Some(sleeping) = self.sleeping.derived_mut(&conn) else { return };
        let ns = self.spaces.at_mut(sleeping.space);
        let (hand, before) = (Rc::clone(&ns.host.hand), (sleeping.ticket, sleeping.range));
        hand.begin(sleeping.number);
        let outcome = sleeping.poll(ns);
        hand.begin(0);
        if (sleeping.ticket, sleeping.range) != before {
            // Noted, that it has followed its object.
            let _ = self.sleeping.get_mut(&conn);
        }
        if let Some(result) = outcome
            && let Some(over) = self.sleeping.remove(&conn)
        {
            self.tell(conn, over.tag, result.map_err(|errno| (errno, 0)));
        }
    }

    /// Cancel: a signal has ended the sleep of the caller on this connection.
    pub(super) fn cancel(&mut self, asked: &Request, _: &Packet<'_>) -> Result<(), Errno> {
        // One that is still in line is tried once, as a call that a signal finds at its beginning.
        for request in self.line.iter_mut().filter(|request| request.conn == asked.conn) {
            request.interrupted = true;
        }
        self.interrupt(asked.conn);
        Ok(())
    }

    /// Ends the call on a connection if it sleeps or waits for a lock.
    pub(super) fn interrupt(&mut self, conn: ConnId) {
        self.interrupt_deferred(conn);
        if let Some(sleeping) = self.sleeping.get_mut(&conn) {
            sleeping.interrupted = true;
            // If the lock does not come free yet, it is looked at again.
            self.look_after(conn);
        }
    }
}
