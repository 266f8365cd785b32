//! A process's life: fork, exec, and a child's end. What libc does, libc does; this tells the broker.
//!
//! # Invariants
//! P1. A process with attachments announces a fork before it happens and confirms it after; the child says who it is. The broker counts
//!     the child's attachments once, whichever message comes first.
//! P2. Whoever has reaped a child returns only after the broker has settled that death.

use crate::object::attachments;
use crate::process::{self, connection, identity, own_life};
use crate::thread::memory::is_ours;
use crate::thread::{section, signal};
use ring3_abi::Pid;
use ring3_os::process as os;
use ring3_wire::Op;
use ring3_wire::request::{Fork, Forked};
use zerocopy::IntoBytes;

/// Forks by `run`, which answers as fork does.
pub fn forking(run: impl FnOnce() -> isize) -> isize {
    let announced = before_fork();
    let pid = run();
    announced.after(pid as i32);
    pid
}

/// Executes another program by `run`, which returns only if that fails.
pub fn executing(run: &mut dyn FnMut() -> isize) -> isize {
    let announced = before_exec();
    let failed = run();
    exec_failed(announced);
    failed
}

/// A fork that was announced, or need not be.
struct Forking(Option<u64>);

/// Before fork.
fn before_fork() -> Forking {
    // A forked child may hold its parent's attachments without being known yet: its own child holds them too.
    if !attachments::any() || !is_ours() || process::ready().is_err() {
        return Forking(None);
    }
    let token = os::random() | 1;
    announce(token);
    Forking(Some(token))
}

/// Tells of a fork, and which attachments the child will not have (MADV_DONTFORK).
fn announce(token: u64) {
    let section = section::enter();
    let page = identity::current();
    let _held = page.attach.hold(&section);
    let mut kept = [0u64; 64];
    let mut count = 0;
    for part in attachments::all().filter(|part| part.flags.stays_behind() && part.token != 0) {
        if let Some(place) = kept.get_mut(count) {
            *place = part.token;
            count += 1;
        }
        if count == kept.len() {
            connection::notify(Op::Keep, &kept);
            count = 0;
        }
    }
    if count > 0 {
        connection::notify_with(Op::Keep, &(), kept.get(..count).unwrap_or_default().as_bytes());
    }
    connection::notify(Op::Fork, &Fork { token });
}

impl Forking {
    /// After fork, with what it returned in this process.
    fn after(self, returned: i32) {
        let Some(token) = self.0 else { return };
        if returned == 0 {
            attachments::forked();
            connection::notify_inherited(Op::Born, &Fork { token });
        } else {
            connection::notify(Op::Forked, &Forked { token, pid: returned.max(0) as Pid, pad: 0 });
        }
    }
}

/// Before exec: the broker learns that this image ends, unless exec fails.
fn before_exec() -> bool {
    signal::before_exec(true);
    // A forked child may hold its parent's attachments without being known yet; exec drops these too. Whoever has nothing to do with the
    // broker, as most shells, asks nobody anything.
    let concerned = process::registered() || attachments::any();
    let ours = concerned && is_ours() && process::ready().is_ok();
    if ours {
        own_life::before_exec(identity::current());
        connection::notify(Op::Exec, &());
    }
    ours
}

/// After an exec that failed.
fn exec_failed(announced: bool) {
    signal::before_exec(false);
    if announced {
        connection::notify(Op::ExecFailed, &());
        own_life::exec_failed(identity::current());
    }
}

/// After a wait function has reported `pid` (P2).
pub fn reaped(pid: i32) {
    if pid > 0 && process::registered() && is_ours() {
        connection::settle(pid as Pid);
    }
}

/// After a libc function that reaps children without telling whom.
pub fn reaped_somebody() {
    if process::registered() && is_ours() {
        // Any answer will do: the broker settles deaths before it answers.
        let _ = connection::ask(Op::Limits, &());
    }
}
