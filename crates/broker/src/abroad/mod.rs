//! Processes in other namespaces of the kernel's than the broker. namespaces(7).
//!
//! | question | file |
//! | --- | --- |
//! | which namespace of the kernel's is a process in | `place.rs` |
//! | which number has a process in another PID namespace | `pids.rs` |
//! | which id has a user or a group in another user namespace | `ids.rs` |
//!
//! Objects and regions hold ids and process numbers of the broker's own namespaces. A process in others is told so when it introduces itself
//! (`Welcome::abroad`), and asks the broker for all that has ids or numbers in it.

mod ids;
pub(crate) mod pids;
pub(crate) mod place;

pub(crate) use pids::Pids;

use crate::namespace::Namespace;
use crate::policy::creds::Creds;
use ids::Ids;
use place::{Kind, Place};
use ring3_abi::Pid;
use ring3_abi::ipc::IpcPerm;
use ring3_wire::reply::{ABROAD_PIDS, ABROAD_USERS};
use ring3_wire::request::Set;

/// How a caller sees what the broker tells.
#[derive(Debug)]
pub(crate) struct View {
    ids: Option<Ids>,
    pids: Option<Place>,
}

/// What a process's Welcome says of its namespaces.
pub(crate) fn flags(pids: &Pids, pid: Pid) -> u32 {
    let users = if place::same(Kind::User, pid) { 0 } else { ABROAD_USERS };
    let numbers = if pids.is_nested(pid) { ABROAD_PIDS } else { 0 };
    users | numbers
}

/// Whether a caller is root in the user namespace that owns the kernel's IPC namespace of a namespace below the root. kernel: ipc_set_ownership().
pub(crate) fn is_root_there(ns: &Namespace, creds: &Creds) -> bool {
    let owner = ns.authority.as_ref().and_then(|places| places.first().copied());
    owner.is_some() && owner == place::place(Kind::User, creds.pid) && Ids::of(creds.pid).user(creds.uid) == 0
}

impl View {
    /// Of a process that introduced itself; everybody else sees what the broker sees.
    pub(crate) fn of(ns: &Namespace, creds: &Creds) -> View {
        let abroad = ns.processes.get(&creds.pid).map_or(0, |process| process.abroad);
        View {
            ids: (abroad & ABROAD_USERS != 0).then(|| Ids::of(creds.pid)),
            pids: ns.pids.place_of(creds.pid),
        }
    }

    /// A process number; 0 for a process that has none there. kernel: pid_vnr().
    pub(crate) fn pid(&self, ns: &Namespace, pid: i32) -> i32 {
        match self.pids {
            Some(place) => ns.pids.number(pid.cast_unsigned(), place).cast_signed(),
            None => pid,
        }
    }

    /// Ids of an object. kernel: kernel_to_ipc64_perm().
    pub(crate) fn perm(&self, perm: &mut IpcPerm) {
        if let Some(ids) = &self.ids {
            (perm.uid, perm.cuid) = (ids.user(perm.uid), ids.user(perm.cuid));
            (perm.gid, perm.cgid) = (ids.group(perm.gid), ids.group(perm.cgid));
        }
    }

    /// The ids that a caller sets; -1, which nobody may set, for one that means nothing. kernel: ipc_update_perm().
    pub(crate) fn set(&self, ask: &Set) -> Set {
        let Some(ids) = &self.ids else { return *ask };
        Set { uid: ids.meant_user(ask.uid), gid: ids.meant_group(ask.gid), ..*ask }
    }
}
