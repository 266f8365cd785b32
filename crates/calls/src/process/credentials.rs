//! What this process may do to an object, as `ipcperms` decides it. svipc(7); kernel: ipcperms(), ipc/util.c.
//!
//! The answer is kept with the opened object and is good for one epoch (`identity.rs`); whoever changes credentials begins another.

use crate::process::identity;
use crate::thread::section;
use core::sync::atomic::{
    Ordering::{Acquire, Relaxed, Release},
    fence,
};
use ring3_abi::Gid;
use ring3_engine::directory::Entry;
use ring3_engine::perm::{Ids, ipcperms};
use ring3_os::cred;

/// How many supplementary groups are looked at without asking for memory.
const GROUPS: usize = 64;
/// The most groups a process can have (NGROUPS_MAX).
const GROUPS_MAX: usize = 65536;

/// Effective ids, and whether permission bits are passed by.
#[derive(Clone, Copy, Debug)]
struct Creds {
    euid: u32,
    egid: u32,
    owner: bool,
}

/// Changes credentials by `run`.
pub fn changing<T>(run: impl FnOnce() -> T) -> T {
    let done = run();
    changed();
    done
}

/// The process's user, groups or capabilities have changed. Cheap, and right even if they have not.
fn changed() {
    let page = identity::current();
    if page.pid() != 0 {
        page.renew();
    }
}

/// This thread's credentials: kept, or from the kernel.
fn now() -> Creds {
    let page = identity::current();
    let (kept, epoch) = (&page.creds, page.epoch());
    // ORDERING: Acquire and the fence pair with the Release and the fence below: what stands between two looks at the same epoch belongs together.
    if epoch != 0 && kept.epoch.load(Acquire) == epoch {
        let (euid, egid) = (kept.euid.load(Relaxed), kept.egid.load(Relaxed));
        let owner = kept.owner.load(Relaxed) == 1;
        fence(Acquire);
        if kept.epoch.load(Relaxed) == epoch {
            return Creds { euid, egid, owner };
        }
    }
    let fresh =
        Creds { euid: cred::euid(), egid: cred::egid(), owner: cred::has_capability(cred::CAP_IPC_OWNER) };
    let section = section::enter();
    if epoch != 0
        && let Some(_held) = page.creds_lock.try_hold(&section)
    {
        kept.epoch.store(0, Relaxed);
        fence(Release);
        kept.euid.store(fresh.euid, Relaxed);
        kept.egid.store(fresh.egid, Relaxed);
        kept.owner.store(u32::from(fresh.owner), Relaxed);
        kept.epoch.store(epoch, Release);
    }
    fresh
}

/// The permission bits (read 4, write 2, execute 1) that this thread has on an object.
pub(crate) fn granted(entry: &Entry) -> u32 {
    let Creds { euid, egid, owner } = now();
    // The groups decide nothing for who passes by the bits.
    let in_groups = |wanted| !owner && is_member(wanted);
    ipcperms(Ids { euid, egid }, &entry.into(), 0o7, in_groups, || owner)
}

/// Whether one of two groups is among our supplementary ones.
fn is_member(wanted: [Gid; 2]) -> bool {
    let mut few = [0; GROUPS];
    if let Ok(n) = cred::groups(&mut few) {
        return few.iter().take(n).any(|g| wanted.contains(g));
    }
    let Ok(memory) = ring3_os::map::anonymous(GROUPS_MAX * 4) else { return false };
    // SAFETY: GROUPS_MAX words of our own, mapped in the line above; any bits are a Gid.
    let many = unsafe { core::slice::from_raw_parts_mut(memory.as_ptr().cast::<Gid>(), GROUPS_MAX) };
    let found = cred::groups(many).is_ok_and(|n| many.iter().take(n).any(|g| wanted.contains(g)));
    // SAFETY: the slice is not used any more.
    let _ = unsafe { ring3_os::map::unmap(memory.as_ptr() as usize, GROUPS_MAX * 4) };
    found
}
