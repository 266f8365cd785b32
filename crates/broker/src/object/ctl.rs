//! IPC_RMID and IPC_SET: who may. msgctl(2), semctl(2), shmctl(2); kernel: ipcctl_obtain_check().

use super::{Home, Perm, kind_of, lease};
use crate::abroad::View;
use crate::mechanism;
use crate::namespace::{Namespace, Trouble};
use crate::policy::creds::Creds;
use crate::serve::client::Answer;
use ring3_abi::{Errno, IpcId, Kind};
use ring3_engine::Error;
use ring3_wire::request;

/// The object's permission, if the caller may change it.
fn controlled(ns: &Namespace, creds: &Creds, kind: Kind, id: IpcId) -> Result<Perm, Errno> {
    let perm = ns.object(kind, id)?.perm;
    if creds.controls(&perm) { Ok(perm) } else { Err(Errno::EPERM) }
}

/// IPC_RMID.
pub(crate) fn remove(ns: &mut Namespace, creds: &Creds, ask: &request::Object) -> Result<Answer, Trouble> {
    let kind = kind_of(ask.kind)?;
    controlled(ns, creds, kind, ask.id)?;
    lease::before_removal(ns, kind, ask.id);
    // The ledger may have said that it is gone.
    ns.object(kind, ask.id)?;
    mechanism::of(kind).remove(ns, ask.id)?;
    Ok(Answer::default())
}

/// IPC_RMID of an object whose lock does not come free.
pub(crate) fn remove_unlocked(
    ns: &mut Namespace,
    creds: &Creds,
    ask: &request::Object,
) -> Result<Answer, Trouble> {
    let kind = kind_of(ask.kind)?;
    controlled(ns, creds, kind, ask.id)?;
    lease::before_removal(ns, kind, ask.id);
    match ns.object(kind, ask.id)?.home {
        Some(home) => ns.forget_unlocked(kind, ask.id, home),
        None => mechanism::of(kind).remove(ns, ask.id)?,
    }
    Ok(Answer::default())
}

/// The same for one who need not be asked whether it may, and does not wait.
pub(crate) fn remove_at_once(ns: &mut Namespace, kind: Kind, id: IpcId) {
    let Err(Trouble::Later) = mechanism::of(kind).remove(ns, id) else { return };
    if let Some(home) = ns.object(kind, id).ok().and_then(|object| object.home) {
        ns.forget_unlocked(kind, id, home);
    }
}

/// IPC_SET.
pub(crate) fn set(ns: &mut Namespace, creds: &Creds, ask: &request::Set) -> Result<Answer, Trouble> {
    let kind = kind_of(ask.kind)?;
    let perm = controlled(ns, creds, kind, ask.id)?;
    let ask = View::of(ns, creds).set(ask);
    mechanism::of(kind).set(ns, creds, perm, &ask)?;
    Ok(Answer::default())
}

impl Namespace {
    /// Removes an object with its region, in which `end` tells the sleepers. What the region says of them is believed if nobody can have
    /// spoiled it but its only user.
    pub(crate) fn remove_region(
        &mut self,
        kind: Kind,
        id: IpcId,
        end: impl Fn(&Namespace) -> Result<(), Error>,
    ) -> Result<(), Trouble> {
        let ended = self.attempt(kind, id, end);
        if ended == Err(Trouble::Later) {
            return Err(Trouble::Later);
        }
        let object = self.object(kind, id)?;
        match object.home.filter(|_| ended.is_err() || object.users.len() > 1) {
            Some(home) => self.forget_unlocked(kind, id, home),
            None => self.forget(kind, id),
        }
        Ok(())
    }

    /// Takes an object out of the world and wakes everybody who may sleep in its region, whatever stands there.
    fn forget_unlocked(&mut self, kind: Kind, id: IpcId, home: Home) {
        self.forget(kind, id);
        mechanism::of(kind).end_unlocked(self, home);
    }
}
