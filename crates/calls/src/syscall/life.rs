//! A process's life: fork, exec, and a child's end. What libc does, libc does; this tells the broker.
//!
//! # Invariants
//! P1. A process with attachments announces a fork before it happens and confirms it after; the child says who it is. The broker counts
//!     the child's attachments once, whichever message comes first.
//! P2. Whoever has reaped a child returns only after the broker has settled that death.

use crate::object::attachments;
use crate::process::identity::{self, Identity};
use crate::process::{self, connection, environment, notes, own_life, trace};
use crate::syscall::namespace;
use crate::thread::memory::is_ours;
use crate::thread::{section, signal};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use ring3_abi::{Errno, Pid};
use ring3_os::{fd, process as os};
use ring3_wire::Op;
use ring3_wire::claim::OwnPid;
use ring3_wire::request::{Exec, Fork, Forked, NO_CONNECTION, SHARES_MEMORY, SHARES_UNDO};
use zerocopy::IntoBytes;

/// clone's flags that matter here. clone(2).
const CLONE_VM: u32 = 0x100;
const CLONE_VFORK: u32 = 0x4000;
const CLONE_THREAD: u32 = 0x1_0000;
const CLONE_SYSVSEM: u32 = 0x4_0000;
const CLONE_NEWIPC: u32 = 0x800_0000;

/// Forks by `run`, which answers as fork does.
pub fn forking(run: impl FnOnce() -> isize) -> isize {
    forking_with(0, run)
}

/// Forks by `run`, a clone with these flags that continues as the caller does.
pub(super) fn cloning_here(flags: u32, run: impl FnOnce() -> isize) -> isize {
    // Two processes on one stack: only vfork can do that, and not from within a function.
    if flags & (CLONE_VM | CLONE_THREAD) != 0 { run() } else { forking_with(shared(flags), run) }
}

/// What a child has together with its parent, in the protocol's words.
fn shared(flags: u32) -> u32 {
    let memory = if flags & CLONE_VM != 0 { SHARES_MEMORY } else { 0 };
    memory | if flags & CLONE_SYSVSEM != 0 { SHARES_UNDO } else { 0 }
}

fn forking_with(shares: u32, run: impl FnOnce() -> isize) -> isize {
    let announced = before_fork(shares);
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
fn before_fork(shares: u32) -> Forking {
    // A forked child may hold its parent's attachments without being known yet: its own child holds them too.
    let concerned = shares & SHARES_UNDO != 0 || shares & SHARES_MEMORY == 0 && attachments::any();
    if !concerned || !may_speak() || process::ready().is_err() {
        return Forking(None);
    }
    let token = os::random() | 1;
    let shares = shares | if connection::lasts() { 0 } else { NO_CONNECTION };
    announce(token, shares);
    Forking(Some(token))
}

/// Tells of a fork, and which attachments the child will not have (MADV_DONTFORK).
fn announce(token: u64, shares: u32) {
    let section = section::enter();
    let Some(home) = identity::known_home() else { return };
    let _held = home.attach.hold(&section);
    let mut kept = [0u64; 64];
    let mut count = 0;
    for part in attachments::all()
        .filter(|part| shares & SHARES_MEMORY == 0 && part.flags.stays_behind() && part.token != 0)
    {
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
    notes::announce(Op::Fork, |note| Fork { token, shares, note });
}

/// Whether the broker may hear from the calling process: not from a vfork child that nobody has seen begin, which has its parent's name.
fn may_speak() -> bool {
    identity::is_guest() || is_ours()
}

/// What clone(3) starts the child with, in place of the program's function: that function, its argument, and the token by which the broker
/// learns of the child before it does anything.
struct Start {
    function: usize,
    argument: usize,
    token: u64,
}

/// clone as libc has it: `run` starts the child with a function and an argument, and answers the child's number.
pub fn cloning(
    flags: u32,
    function: usize,
    argument: usize,
    run: impl FnOnce(usize, usize) -> isize,
) -> isize {
    if flags & CLONE_THREAD != 0 || function == 0 {
        return run(function, argument);
    }
    if flags & CLONE_VM != 0 {
        return cloning_guest(flags, function, argument, run);
    }
    let announced = before_fork(shared(flags));
    let start = Start { function, argument, token: announced.0.unwrap_or(0) };
    // The child has a copy of this stack.
    let pid = run(begin as *const () as usize, (&raw const start) as usize);
    announced.after(pid.max(-1) as i32);
    pid
}

/// What a child with memory of its own begins with.
unsafe extern "C" fn begin(start: *const Start) -> i32 {
    // SAFETY: cloning()'s, in the child's copy of its parent's stack.
    let Start { function, argument, token } = unsafe { start.read() };
    born(token);
    // SAFETY: the program's own function, of clone(3)'s form.
    unsafe { core::mem::transmute::<usize, extern "C" fn(usize) -> i32>(function)(argument) }
}

/// clone of a child that runs in this memory. It has its place before it runs.
fn cloning_guest(
    flags: u32,
    function: usize,
    argument: usize,
    run: impl FnOnce(usize, usize) -> isize,
) -> isize {
    let announced = before_fork(shared(flags));
    let guest = match identity::home().and_then(|home| home.reserve().map(|guest| (home, guest))) {
        Ok((home, guest)) => {
            guest.start[0].store(function, Relaxed);
            guest.start[1].store(argument, Relaxed);
            guest.token.store(announced.0.unwrap_or(0), Relaxed);
            (home, guest)
        }
        Err(errno) => {
            announced.after(-1);
            return Errno::encode(errno);
        }
    };
    let pid = run(begin_guest as *const () as usize, core::ptr::from_ref(guest.1) as usize);
    announced.after(pid.max(-1) as i32);
    // After vfork the child has ended, or executed another program.
    if pid < 0 || flags & CLONE_VFORK != 0 {
        guest.0.release(guest.1);
    }
    pid
}

/// What a child in this memory begins with.
unsafe extern "C" fn begin_guest(guest: &Identity) -> i32 {
    guest.begin();
    born(guest.token.load(Relaxed));
    let [function, argument] =
        [0, 1].map(|n| guest.start.get(n).map_or(0, |word: &AtomicUsize| word.load(Relaxed)));
    // SAFETY: the program's own function, of clone(3)'s form.
    unsafe { core::mem::transmute::<usize, extern "C" fn(usize) -> i32>(function)(argument) }
}

/// The child of an announced fork says who it is.
fn born(token: u64) {
    if token == 0 {
        return;
    }
    let body = Fork { token, shares: 0, note: 0 };
    // A parent without a connection leaves none: the child gets one, for as long as its own descriptors allow.
    if !connection::notify_inherited(Op::Born, &body) && process::ready().is_ok() {
        connection::notify(Op::Born, &body);
    }
}

/// Before vfork. A process that has nothing to do with the broker writes to no page.
pub fn before_vfork() {
    if let Some(home) = identity::known_home() {
        home.before_vfork();
    }
}

/// After vfork, in the process that called it, with the kernel's answer.
pub fn after_vfork(answered: isize) {
    if let Some(home) = identity::known_home() {
        home.after_vfork(u32::try_from(answered).ok());
    }
}

/// Unshares by `run`: the process's adjustments end with its share of them. kernel: ksys_unshare(), exit_sem().
pub fn unsharing(flags: u32, run: impl FnOnce() -> isize) -> isize {
    let done = run();
    // A thread among others leaves their adjustments to them.
    let leaves = flags & (CLONE_SYSVSEM | CLONE_NEWIPC) != 0 && done == 0;
    if leaves && process::registered() && may_speak() && os::is_single_threaded() {
        let _ = connection::ask(Op::Unshare, &());
    }
    namespace::changed(done);
    done
}

impl Forking {
    /// After fork, with what it returned in this process.
    fn after(self, returned: i32) {
        let Some(token) = self.0 else { return };
        if returned == 0 {
            attachments::forked();
            born(token);
        } else {
            connection::notify(Op::Forked, &Forked { token, pid: OwnPid(returned.max(0) as Pid), pad: 0 });
        }
    }
}

/// Before exec: the broker learns that this image ends, unless exec fails.
fn before_exec() -> bool {
    signal::before_exec(true);
    // A forked child may hold its parent's attachments without being known yet; exec drops these too. Whoever has nothing to do with the
    // broker, as most shells, asks nobody anything.
    let concerned = process::registered() || attachments::any();
    let ours = concerned && may_speak() && process::ready().is_ok();
    let alone = trace::wanted() && !agent_is_visible();
    if alone {
        trace::exec_alone();
    }
    if ours {
        if let Some(me) = identity::known() {
            own_life::before_exec(me);
        }
        connection::notify(Op::Exec, &Exec { alone: u32::from(alone) });
    }
    ours
}

/// Whether a new program could load the agent: its file may lie outside of the process's root or mount namespace by now.
fn agent_is_visible() -> bool {
    environment::library_file().is_none_or(|path| fd::open_read(path).is_ok())
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
    if pid > 0 {
        release_guests();
    }
    if pid > 0 && process::registered() && may_speak() {
        connection::settle(pid as Pid);
    }
}

/// Takes note of guests of this memory that have ended.
fn release_guests() {
    if let Some(home) = identity::known_home().filter(|home| home.in_company()) {
        home.release_the_dead();
    }
}

/// After a libc function that reaps children without telling whom.
pub fn reaped_somebody() {
    release_guests();
    if process::registered() && may_speak() {
        // Any answer will do: the broker settles deaths before it answers.
        let _ = connection::ask(Op::Limits, &());
    }
}
