//! A semop that sleeps in the broker. semop(2); kernel: __do_semtimedop().

use super::{KIND, set};
use crate::namespace::{Namespace, Trouble};
use crate::serve::client::Answer;
use crate::serve::sleepers::Call;
use ring3_abi::{IpcId, Kind};
use ring3_engine::{Caller, Parked, Result as Outcome, Step, Ticket, WaitWord};

/// A semop: its operations are in its ticket. It needs no permission once it sleeps, as in the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operating;

impl Call for Operating {
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
        let step = ns.attempt(KIND, id, |ns| set(ns, id)?.resume(&ns.host, who, ticket, why))?;
        Ok(match step {
            Step::Done(()) => Some(Answer::default()),
            Step::Wait(_) => None,
        })
    }

    fn adopt(&self, ns: &Namespace, id: IpcId, who: Caller) -> Outcome<Option<Ticket>> {
        set(ns, id)?.adopt(&ns.host, who)
    }

    fn withdraw(&self, ns: &Namespace, id: IpcId, who: Caller) -> Outcome<()> {
        set(ns, id)?.withdraw(&ns.host, who)
    }

    fn wait_word<'n>(&self, ns: &'n Namespace, id: IpcId, ticket: Ticket) -> Outcome<WaitWord<'n>> {
        set(ns, id)?.wait_word(ticket)
    }
}
