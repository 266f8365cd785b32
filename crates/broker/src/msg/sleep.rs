//! msgsnd and msgrcv that sleep in the broker. msgop(2); kernel: do_msgsnd(), do_msgrcv().

use super::proxy::{delivery, reclaimed, unpack};
use super::{KIND, queue};
use crate::namespace::{Namespace, Trouble};
use crate::serve::client::Answer;
use crate::serve::sleepers::Call;
use crate::state::Keep;
use ring3_abi::ipc::READ;
use ring3_abi::{Errno, IpcId, Kind};
use ring3_engine::msg::Selection;
use ring3_engine::{Caller, Parked, Result as Outcome, Step, Ticket, WaitWord};

/// A msgsnd whose message waits for room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending;

/// A msgrcv, and what it asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receiving(pub(super) Selection);

/// A call, as it says of itself.
pub(super) fn kept(from: &mut &[u8]) -> Option<Box<dyn Call>> {
    if !bool::get(from)? {
        return Some(Box::new(Sending));
    }
    let (msgtyp, size, flags) = Keep::get(from)?;
    Some(Box::new(Receiving(Selection { msgtyp, size, flags })))
}

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

    fn keep(&self, out: &mut Vec<u8>) {
        false.put(out);
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

    fn keep(&self, out: &mut Vec<u8>) {
        let Selection { msgtyp, size, flags } = self.0;
        (true, msgtyp, size, flags).put(out);
    }

    fn done_before(&self, ns: &mut Namespace, id: IpcId, who: Caller) -> Result<Answer, Trouble> {
        reclaimed(ns, id, who, self.0.size)?.ok_or(Errno::EIDRM.into())
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
