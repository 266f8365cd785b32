//! msgsnd and msgrcv that sleep in the broker. msgop(2); kernel: do_msgsnd(), do_msgrcv().

use super::proxy::{delivery, unpack};
use super::{KIND, queue};
use crate::namespace::{Namespace, Trouble};
use crate::serve::client::Answer;
use crate::serve::sleepers::Call;
use ring3_abi::ipc::READ;
use ring3_abi::{IpcId, Kind};
use ring3_engine::msg::Selection;
use ring3_engine::{Caller, Parked, Result as Outcome, Step, Ticket, WaitWord};

/// A msgsnd whose message waits for room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending;

/// A msgrcv, and what it asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receiving(pub(super) Selection);

impl Call for Sending {
    fn kind(&self) -> Kind {
        KIND
    }

    fn resume(
        &self,
        ns: &mut Namespace,
        id: IpcId,
        who: Caller,
        ticket: Ticket,
        why: Parked,
    ) -> Result<Option<Answer>, Trouble> {
        let step = ns.attempt(KIND, id, |ns| queue(ns, id)?.resume_send(&ns.host, who, ticket, why))?;
        Ok(match step {
            Step::Done(()) => Some(Answer::default()),
            Step::Wait(_) => None,
        })
    }

    // A sender needs no permission until it is its turn. kernel: do_msgsnd() checks when there is room.

    fn adopt(&self, ns: &Namespace, id: IpcId, who: Caller) -> Outcome<Option<Ticket>> {
        queue(ns, id)?.adopt(&ns.host, who)
    }

    fn withdraw(&self, ns: &Namespace, id: IpcId, who: Caller) -> Outcome<()> {
        queue(ns, id)?.withdraw(&ns.host, who)
    }

    fn wait_word<'n>(&self, ns: &'n Namespace, id: IpcId, ticket: Ticket) -> Outcome<WaitWord<'n>> {
        queue(ns, id)?.wait_word(ticket)
    }
}

impl Call for Receiving {
    fn kind(&self) -> Kind {
        KIND
    }

    fn resume(
        &self,
        ns: &mut Namespace,
        id: IpcId,
        who: Caller,
        ticket: Ticket,
        why: Parked,
    ) -> Result<Option<Answer>, Trouble> {
        let text = ns.attempt(KIND, id, |ns| {
            match queue(ns, id)?.resume_receive(&ns.host, who, ticket, self.0, why, &mut [])? {
                Step::Done(received) => unpack(ns, id, who, received).map(Some),
                Step::Wait(_) => Ok(None),
            }
        })?;
        text.map(delivery).transpose()
    }

    /// A receiver must still be permitted. kernel: IPC_SET wakes every receiver, which begins again.
    fn wanted(&self) -> i32 {
        READ.cast_signed()
    }

    fn adopt(&self, ns: &Namespace, id: IpcId, who: Caller) -> Outcome<Option<Ticket>> {
        queue(ns, id)?.adopt(&ns.host, who)
    }

    fn withdraw(&self, ns: &Namespace, id: IpcId, who: Caller) -> Outcome<()> {
        queue(ns, id)?.withdraw(&ns.host, who)
    }

    fn wait_word<'n>(&self, ns: &'n Namespace, id: IpcId, ticket: Ticket) -> Outcome<WaitWord<'n>> {
        queue(ns, id)?.wait_word(ticket)
    }
}
