//! Who does the calls. credentials(7), capabilities(7), user_namespaces(7).

use super::{CREATOR, OWNER};
use crate::oracle::sys;
use std::io;

/// One of them: a root process becomes it in two steps, and may use the objects between them.
pub struct Identity {
    /// What the table calls it.
    pub name: &'static str,
    /// Done before the objects are used for the first time.
    pub before: fn() -> io::Result<()>,
    /// Done afterwards.
    pub after: Option<fn() -> io::Result<()>>,
}

/// A user and a group of their own.
const OTHER: (u32, u32) = (1004, 2004);

const CAP_IPC_OWNER: u32 = 15;
const CAP_SYS_ADMIN: u32 = 21;

const fn always(name: &'static str, before: fn() -> io::Result<()>) -> Identity {
    Identity { name, before, after: None }
}

const fn later(
    name: &'static str,
    before: fn() -> io::Result<()>,
    after: fn() -> io::Result<()>,
) -> Identity {
    Identity { name, before, after: Some(after) }
}

/// All of them.
pub const ALL: [Identity; 22] = [
    always("root", || Ok(())),
    always("owner", || become_user(OWNER.0, OTHER.1, &[])),
    always("creator", || become_user(CREATOR.0, OTHER.1, &[])),
    always("owner-and-group", || become_user(OWNER.0, OWNER.1, &[])),
    always("group", || become_user(OTHER.0, OWNER.1, &[])),
    always("creators-group", || become_user(OTHER.0, CREATOR.1, &[])),
    always("supplementary", || become_user(OTHER.0, OTHER.1, &[3000, OWNER.1])),
    always("other", other),
    always("root-without-ipc-owner", || without(&[CAP_IPC_OWNER])),
    always("root-without-ipc-owner-sys-admin", || without(&[CAP_IPC_OWNER, CAP_SYS_ADMIN])),
    always("other-with-ipc-owner", || other_with(CAP_IPC_OWNER)),
    always("other-with-sys-admin", || other_with(CAP_SYS_ADMIN)),
    always("owner-in-user-namespace", || {
        become_user(OWNER.0, OTHER.1, &[]).and_then(|()| enter_namespace(None))
    }),
    always("other-in-user-namespace", || other().and_then(|()| enter_namespace(None))),
    always("other-as-root-of-a-user-namespace", || other().and_then(|()| enter_namespace(Some(OTHER)))),
    later("other-after-root", || Ok(()), other),
    later("owner-after-root", || Ok(()), || become_user(OWNER.0, OTHER.1, &[])),
    later("group-after-root", || Ok(()), || become_user(OTHER.0, OWNER.1, &[])),
    later("root-after-other", || effective(OTHER.0), || effective(0)),
    later("root-in-user-namespace-after-root", || Ok(()), || enter_namespace(None)),
    later("root-without-ipc-owner-after-root", || Ok(()), || without(&[CAP_IPC_OWNER])),
    later("forked-other-after-root", || Ok(()), || in_child().and_then(|()| other())),
];

fn other() -> io::Result<()> {
    become_user(OTHER.0, OTHER.1, &[])
}

/// Real, effective and saved ids, and the supplementary groups.
fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: the list lives through the call.
    sys::check(i64::from(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) }))?;
    // SAFETY: takes numbers only.
    sys::check(i64::from(unsafe { libc::setresgid(gid, gid, gid) }))?;
    // SAFETY: takes numbers only.
    sys::check(i64::from(unsafe { libc::setresuid(uid, uid, uid) }))?;
    Ok(())
}

/// The effective user alone.
fn effective(uid: u32) -> io::Result<()> {
    // SAFETY: takes numbers only.
    sys::check(i64::from(unsafe { libc::seteuid(uid) })).map(|_| ())
}

/// Goes on in a forked child.
fn in_child() -> io::Result<()> {
    let child = sys::fork()?;
    if child == 0 {
        return Ok(());
    }
    let ended = sys::wait(child as u32, true)?;
    sys::exit_now(i32::from(ended.as_deref() != Some("exit 0")));
}

/// Sets of capabilities as capset(2) takes them: effective, permitted, inheritable, twice 32 bits each.
fn set_capabilities(which: impl Fn(u32) -> bool) -> io::Result<()> {
    let mut head = [0x2008_0522_u32, 0];
    let mut sets = [0_u32; 6];
    // SAFETY: the header and the sets are what version 3 of the call takes.
    sys::check(unsafe { libc::syscall(libc::SYS_capget, head.as_mut_ptr(), sets.as_mut_ptr()) })?;
    for (n, set) in sets.iter_mut().enumerate() {
        let first = if n < 3 { 0 } else { 32 };
        for bit in (0..32).filter(|bit| !which(first + bit)) {
            *set &= !(1 << bit);
        }
    }
    // SAFETY: the header and the sets are what version 3 of the call takes.
    sys::check(unsafe { libc::syscall(libc::SYS_capset, head.as_mut_ptr(), sets.as_mut_ptr()) }).map(|_| ())
}

fn without(gone: &[u32]) -> io::Result<()> {
    set_capabilities(|one| !gone.contains(&one))
}

/// An ordinary user who has kept one capability.
fn other_with(kept: u32) -> io::Result<()> {
    // SAFETY: takes numbers only.
    sys::check(i64::from(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1) }))?;
    other()?;
    let mut head = [0x2008_0522_u32, 0];
    let mut sets = [1 << kept, 1 << kept, 0, 0, 0, 0_u32];
    // SAFETY: the header and the sets are what version 3 of the call takes.
    sys::check(unsafe { libc::syscall(libc::SYS_capset, head.as_mut_ptr(), sets.as_mut_ptr()) }).map(|_| ())
}

/// A user namespace of its own, in which `mapped` is root, or nobody is anybody.
fn enter_namespace(mapped: Option<(u32, u32)>) -> io::Result<()> {
    // SAFETY: takes numbers only.
    sys::check(i64::from(unsafe { libc::unshare(libc::CLONE_NEWUSER) }))?;
    let Some((uid, _)) = mapped else { return Ok(()) };
    // Its files in /proc are its own again, although its user has changed.
    // SAFETY: takes numbers only.
    sys::check(i64::from(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) }))?;
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))
}
