//! unshare(CLONE_SYSVSEM). unshare(2); kernel: ksys_unshare(), exit_sem().

use super::{KIND, set};
use crate::namespace::{Namespace, Trouble};
use crate::policy::creds::Creds;
use crate::serve::client::Answer;
use ring3_abi::{Errno, IpcId};
use ring3_engine::sem::Undo;

/// Ends the sharing of adjustments: those of the caller are its companions' from now on, or applied if it has none.
pub(crate) fn unshare(ns: &mut Namespace, creds: &Creds) -> Result<Answer, Trouble> {
    let pid = creds.pid;
    let process = ns.processes.get(&pid).ok_or(Errno::EPROTO)?;
    let sets: Vec<IpcId> =
        process.objects.iter().filter(|(kind, _)| *kind == KIND).map(|(_, id)| *id).collect();
    let heir = ns.undo_heir(pid);
    for id in sets {
        if let Some(heir) = heir {
            ns.note_user(KIND, id, heir);
        }
        let settled = ns.attempt(KIND, id, |ns| match heir {
            Some(heir) => set(ns, id)?.hand_over(&ns.host, pid, heir, ns.host.me),
            None => set(ns, id)?.settle(&ns.host, pid, ns.host.me, Undo::Apply),
        });
        // What is gone or spoiled owes nothing.
        if settled == Err(Trouble::Later) {
            return Err(Trouble::Later);
        }
    }
    if let Some(process) = ns.processes.get_mut(&pid) {
        process.undo_group = None;
    }
    Ok(Answer::default())
}
