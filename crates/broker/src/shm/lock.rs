//! SHM_LOCK and SHM_UNLOCK. shmctl(2); kernel: shmctl_do_lock(), shmem_lock(), user_shm_lock().

use super::KIND;
use super::segment::{PAGE, pages_in};
use crate::namespace::{Namespace, Trouble};
use crate::policy::creds::{Capability, Creds, locked_memory_limit};
use crate::serve::client::Answer;
use ring3_abi::shm::SHM_LOCKED;
use ring3_abi::{Errno, IpcId, Uid};
use ring3_wire::request;
use std::collections::HashMap;

/// Pages kept by SHM_LOCK, by real user.
#[derive(Debug, Default)]
pub(super) struct LockedPages(HashMap<Uid, u64>);

impl LockedPages {
    /// Whether any page is kept.
    pub(super) fn any(&self) -> bool {
        self.0.values().any(|&pages| pages > 0)
    }

    fn of(&self, user: Uid) -> u64 {
        self.0.get(&user).copied().unwrap_or(0)
    }

    /// Puts pages on a user's account.
    pub(super) fn take(&mut self, user: Uid, pages: u64) {
        *self.0.entry(user).or_default() += pages;
    }

    /// Takes pages off a user's account.
    pub(super) fn give_back(&mut self, user: Uid, pages: u64) {
        if let Some(count) = self.0.get_mut(&user) {
            *count = count.saturating_sub(pages);
        }
    }
}

/// SHM_LOCK and SHM_UNLOCK.
pub(crate) fn shm_lock(ns: &mut Namespace, creds: &Creds, ask: &request::ShmLock) -> Result<Answer, Trouble> {
    let perm = ns.object(KIND, ask.id)?.perm;
    let privileged = creds.capable(Capability::IpcLock);
    if !privileged {
        if creds.uid != perm.uid && creds.uid != perm.cuid {
            return Err(Errno::EPERM.into());
        }
        if ask.lock != 0 && locked_memory_limit(creds.pid) == Some(0) {
            return Err(Errno::EPERM.into());
        }
    }
    if ask.lock != 0 {
        lock(ns, creds, ask.id, privileged)?
    } else {
        unlock(ns, ask.id)?
    }
    Ok(Answer::default())
}

fn lock(ns: &mut Namespace, creds: &Creds, id: IpcId, privileged: bool) -> Result<(), Errno> {
    let shm = &mut ns.states.shm;
    let Some(segment) =
        shm.segments.get_mut(&id).filter(|segment| !segment.is_huge() && segment.locked.is_none())
    else {
        return Ok(());
    };
    let user = creds.status().real_uid;
    let total = shm.locked.of(user) + pages_in(segment.size);
    let room = locked_memory_limit(creds.pid).map_or(u64::MAX, |bytes| bytes / PAGE);
    if total > room && !privileged {
        return Err(Errno::ENOMEM);
    }
    segment.lock(user).map_err(|_| Errno::ENOMEM)?;
    shm.locked.0.insert(user, total);
    ns.object_mut(KIND, id)?.perm.mode |= SHM_LOCKED;
    ns.publish(KIND, id);
    Ok(())
}

fn unlock(ns: &mut Namespace, id: IpcId) -> Result<(), Errno> {
    let shm = &mut ns.states.shm;
    let Some(segment) = shm.segments.get_mut(&id) else { return Ok(()) };
    let Some(locked) = segment.locked.take() else { return Ok(()) };
    shm.locked.give_back(locked.user, pages_in(segment.size));
    ns.object_mut(KIND, id)?.perm.mode &= !SHM_LOCKED;
    ns.publish(KIND, id);
    Ok(())
}
