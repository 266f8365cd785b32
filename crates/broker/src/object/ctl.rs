//! IPC_RMID and IPC_SET: who may. msgctl(2), semctl(2), shmctl(2); kernel: ipcctl_obtain_check().

use super::{Perm, kind_of};
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
    mechanism::of(kind).remove(ns, ask.id)?;
    Ok(Answer::default())
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
    /// Removes an object with its region, in which `end` tells the sleepers. A spoiled region is removed all the same.
    pub(crate) fn remove_region(
        &mut self,
        kind: Kind,
        id: IpcId,
        end: impl Fn(&Namespace) -> Result<(), Error>,
    ) -> Result<(), Trouble> {
        if self.attempt(kind, id, end) == Err(Trouble::Later) {
            return Err(Trouble::Later);
        }
        self.forget(kind, id);
        Ok(())
    }
}
