//! What this thread may do to an object, as `ipcperms` decides it. svipc(7), credentials(7); kernel: ipcperms(), ipc/util.c.
//!
//! Effective user, effective group, supplementary groups and CAP_IPC_OWNER decide; the file system's ids (setfsuid(2)) do not.
//!
//! To the kernel they are a thread's own. libc's functions change them in all threads at once, so most processes have one answer, which
//! is kept with the opened object for one epoch (`identity.rs`). Once a thread has changed its own by a bare system call (or by capset(2), which
//! libc does not repeat), the process is *apart*: each thread's own decide at every call, as the thread keeps them for the epoch.
//!
//! A change by an instruction of the program's own is not seen; requests to the broker are judged by the kernel's word all the same.
//!
//! # Invariants
//! C1. What a thread keeps was asked from the kernel by that thread, in the epoch noted beside it, after the thread's last change.

use crate::process::identity::{self, Home};
use crate::thread::section;
use core::sync::atomic::Ordering::Relaxed;
use ring3_abi::Gid;
use ring3_engine::directory::Entry;
use ring3_engine::perm::{Ids, ipcperms};
use ring3_os::{cred, process as os};

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

/// Changes the credentials of all threads by `run`, a function of libc's. Right even if that fails.
pub(crate) fn changing<T>(run: impl FnOnce() -> T) -> T {
    let done = run();
    if let Some(home) = registered_home() {
        home.renew();
    }
    done
}

/// The page of a process that the broker knows. A guest's change concerns nothing that is kept: in company each call asks the kernel.
fn registered_home() -> Option<&'static Home> {
    let me = identity::known().filter(|me| me.pid() != 0 && me.is_owner());
    me.and_then(|_| identity::known_home())
}

/// Changes this thread's own credentials by `run`, which answers a negative number if it fails.
pub(crate) fn changing_own(run: impl FnOnce() -> isize) -> isize {
    let done = run();
    let Some(home) = registered_home().filter(|_| done >= 0) else { return done };
    // What the thread keeps is wrong from now on (C1).
    section::thread().creds.epoch.store(0, Relaxed);
    let alone = os::is_single_threaded();
    if alone || !home.threads_apart() {
        home.set_apart(identity::THREADS, !alone);
    }
    done
}

/// This thread's credentials: kept, or from the kernel.
fn now() -> Creds {
    let (kept, epoch) = (&section::thread().creds, identity::current().epoch());
    if epoch != 0 && kept.epoch.load(Relaxed) == epoch {
        let (euid, egid) = (kept.euid.load(Relaxed), kept.egid.load(Relaxed));
        return Creds { euid, egid, owner: kept.owner.load(Relaxed) == 1 };
    }
    ask()
}

#[cold]
fn ask() -> Creds {
    // A handler that changes them comes before or after (C1).
    let _section = section::enter();
    let (kept, epoch) = (&section::thread().creds, identity::current().epoch());
    let fresh =
        Creds { euid: cred::euid(), egid: cred::egid(), owner: cred::has_capability(cred::CAP_IPC_OWNER) };
    kept.euid.store(fresh.euid, Relaxed);
    kept.egid.store(fresh.egid, Relaxed);
    kept.owner.store(u32::from(fresh.owner), Relaxed);
    kept.epoch.store(epoch, Relaxed);
    fresh
}

/// The permission bits (read 4, write 2, execute 1) that this thread has on an object. In another user namespace than the broker's: those
/// that the broker must be asked for, because neither ids nor capabilities here mean anything there.
pub(crate) fn granted(entry: &Entry) -> u32 {
    if crate::process::users_abroad() {
        return 0o7;
    }
    let Creds { euid, egid, owner } = now();
    // The groups decide nothing for who passes by the bits.
    let in_groups = |wanted| !owner && is_member(wanted);
    ipcperms(Ids { euid, egid }, &entry.into(), 0o7, in_groups, || owner)
}

/// Whether this thread may change an object and remove it, by its user alone. A capability may allow it all the same: the broker knows. kernel:
/// ipcctl_obtain_check().
pub(crate) fn controls(entry: &Entry) -> bool {
    let owns = |euid| euid == entry.uid || euid == entry.cuid;
    !crate::process::users_abroad() && owns(now().euid)
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
