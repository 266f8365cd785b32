//! Calls that sleep in the broker, on behalf of clients who may not map what they sleep on.
//!
//! Their tickets are looked at after every request and once a millisecond; whoever completes one needs no word from the broker.

use crate::arena::RangeId;
use crate::client::Answer;
use crate::creds::Creds;
use crate::handle::proxy::{delivery, unpack};
use crate::host::monotonic;
use crate::namespace::{Namespace, Trouble};
use crate::object::Object;
use crate::process::ConnId;
use ring3_abi::ipc::READ;
use ring3_abi::{Errno, IpcId, Kind};
use ring3_engine::atomic::Relaxed;
use ring3_engine::msg::Wish;
use ring3_engine::{Caller, Error, Parked, Seat, Step, Ticket};

/// What sleeps.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    Semop,
    Send,
    Receive(Wish),
}

/// A sleeping call.
#[derive(Debug)]
pub(crate) struct Sleeping {
    pub(crate) conn: ConnId,
    pub(crate) tag: u32,
    pub(crate) creds: Creds,
    pub(crate) id: IpcId,
    pub(crate) call: Call,
    pub(crate) ticket: Ticket,
    /// The region that the ticket is in.
    pub(crate) range: Option<RangeId>,
    pub(crate) deadline: u64,
}

impl Call {
    fn kind(self) -> Kind {
        match self {
            Call::Semop => Kind::Sem,
            Call::Send | Call::Receive(_) => Kind::Msg,
        }
    }

    /// Goes on with a ticket; `None`: it waits still.
    pub(crate) fn resume(
        self,
        ns: &mut Namespace,
        id: IpcId,
        who: Caller,
        ticket: Ticket,
        why: Parked,
    ) -> Result<Option<Answer>, Trouble> {
        let finished = |step| match step {
            Step::Done(()) => Some(Answer::default()),
            Step::Wait(_) => None,
        };
        match self {
            Call::Semop => {
                ns.attempt(Kind::Sem, id, |ns| ns.set(id)?.resume(&ns.host, who, ticket, why)).map(finished)
            }
            Call::Send => ns
                .attempt(Kind::Msg, id, |ns| ns.queue(id)?.resume_send(&ns.host, who, ticket, why))
                .map(finished),
            Call::Receive(wish) => {
                let text = ns.attempt(Kind::Msg, id, |ns| {
                    match ns.queue(id)?.resume_receive(&ns.host, who, ticket, wish, why, &mut [])? {
                        Step::Done(received) => unpack(ns, id, who, received).map(Some),
                        Step::Wait(_) => Ok(None),
                    }
                })?;
                text.map(delivery).transpose()
            }
        }
    }
}

impl Sleeping {
    /// Looks whether the call is over; `None`: it goes on.
    pub(crate) fn poll(&mut self, ns: &mut Namespace, why: Parked) -> Option<Result<Answer, Errno>> {
        match self.progress(ns, why) {
            Ok(answer) => answer.map(Ok),
            Err(Trouble::Errno(errno)) => Some(Err(errno)),
            Err(Trouble::Later) => None,
        }
    }

    fn progress(&mut self, ns: &mut Namespace, why: Parked) -> Result<Option<Answer>, Trouble> {
        let kind = self.call.kind();
        let Some(object) = ns.names(kind).get(self.id) else { return Err(Errno::EIDRM.into()) };
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

    /// Finds the ticket again after the object moved. A receiver must still be permitted; a semop needs it no more, and a sender not until it
    /// is its turn. kernel: IPC_SET wakes every receiver, which begins again; do_msgsnd() checks when there is room, __do_semtimedop() never.
    fn follow(&mut self, ns: &mut Namespace) -> Result<(), Trouble> {
        let (id, who, kind) = (self.id, self.creds.caller(), self.call.kind());
        let wanted = match self.call {
            Call::Semop | Call::Send => 0,
            Call::Receive(_) => READ.cast_signed(),
        };
        let perm = ns.names(kind).get(id).map(|object: &Object| object.perm).ok_or(Errno::EIDRM)?;
        if !self.creds.permits(&perm, wanted) {
            ns.attempt(kind, id, |ns| ns.queue(id)?.forsake(&ns.host, who))?;
            return Err(Errno::EACCES.into());
        }
        let ticket = ns.attempt(kind, id, |ns| match kind {
            Kind::Sem => ns.set(id)?.find(who),
            _ => ns.queue(id)?.adopt(&ns.host, who),
        })?;
        self.ticket = ticket.ok_or(Errno::EIDRM)?;
        Ok(())
    }

    /// Whether nobody has touched the ticket: no lock is needed to see that.
    fn is_waiting(&self, ns: &Namespace) -> bool {
        let waits = |seat: Seat<'_>| [seat.spinning, seat.parked].contains(&seat.word.load(Relaxed));
        match self.call {
            Call::Semop => ns.set(self.id).and_then(|set| set.seat(self.ticket)).is_ok_and(waits),
            _ => ns.queue(self.id).and_then(|queue| queue.seat(self.ticket)).is_ok_and(waits),
        }
    }

    /// Gives the call up: nobody is there to be told.
    pub(crate) fn abandon(&self, ns: &mut Namespace) {
        let (id, who) = (self.id, self.creds.caller());
        // Removed meanwhile, or a lock that does not come free: then the ticket goes with its process.
        let _: Result<(), Trouble> = match self.call.kind() {
            Kind::Sem => ns.attempt(Kind::Sem, id, |ns| ns.set(id)?.withdraw(&ns.host, who)),
            _ => ns.attempt(Kind::Msg, id, |ns| ns.queue(id)?.forsake(&ns.host, who)),
        };
    }
}

/// For `map_err` where an engine error can only be a missing object.
impl From<Error> for Trouble {
    fn from(_: Error) -> Trouble {
        Trouble::Errno(Errno::EIDRM)
    }
}
