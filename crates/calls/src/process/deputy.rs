//! What needs a descriptor, in a process that has none free: a task with a table of descriptors of its own does it in the thread's place.
//!
//! System V IPC needs no descriptor in the kernel; here, a connection and what the broker sends are descriptors for a moment. A call that meets
//! `EMFILE` has done nothing yet, and is done again, whole, by a task of the same process (`ring3_os::task`). The task closes in its table what it
//! needs room for, and all that it opens ends with it; what it maps stays. So each question to the broker makes such a task until the process has
//! a descriptor free: slow, but right.
//!
//! # Invariants
//! D1. The task is the thread, to whoever asks: it has the thread's state, number and credentials, and runs while the thread does nothing but wait.
//! D2. No number that the task opens is kept where the process would take it for its own: the task's connection is in the thread's state, and
//!     what is received is closed before the task ends.
//! D3. Where a filter may forbid to make a task, none is made.

use crate::process::identity::{self, Identity};
use crate::thread::section;
use core::sync::atomic::Ordering::Relaxed;
use ring3_abi::Errno;
use ring3_os::fd::{self, Fd};
use ring3_os::task::{self, Kind};
use ring3_os::{process as os, seccomp};

/// How many numbers a task makes free: a pair of sockets, one of which becomes the connection, what is received, and what that is read from.
const ROOM: i32 = 6;

/// How long the thread waits without sleeping in a call that may sleep on its object, nanoseconds: as `connection.rs` does.
const AWAKE: u64 = 100_000_000;

/// Does something that may need descriptors: here, or if there is none free, by a task. `run` has changed nothing if it answers `EMFILE`.
///
/// # Errors
/// Those of `run`; `ENOMEM` if there is no descriptor to be had for a task either.
pub(crate) fn provided<T>(mut run: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    match run() {
        Err(Errno::EMFILE) if !is_at_work() => by_task(&mut run),
        done => done,
    }
}

/// Whether the caller is such a task.
pub(super) fn is_at_work() -> bool {
    section::thread().stood_in_for.load(Relaxed) != 0
}

/// The task's own connection, if it has made one.
pub(super) fn line() -> Option<i32> {
    section::thread().deputys_line.load(Relaxed).checked_sub(1).filter(|fd| *fd >= 0)
}

/// Keeps the task's own connection, until it ends (D2).
pub(super) fn keep(line: Fd) -> i32 {
    let line = line.into_raw();
    section::thread().deputys_line.store(line + 1, Relaxed);
    line
}

/// The task's own connection is lost.
pub(super) fn hang_up() {
    if let Some(line) = line() {
        fd::close(line);
    }
    section::thread().deputys_line.store(0, Relaxed);
}

#[cold]
fn by_task<T>(run: &mut impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    // D3
    if seccomp::is_filtered() {
        return Err(Errno::ENOMEM);
    }
    let _section = section::enter();
    // The task could not find out whose memory this is.
    let page = identity::mine()?;
    let (me, thread) = (identity::tid(), section::thread());
    let kept = [page.line().number(), Identity::inherited().number()];
    let awake = if thread.may_sleep() { AWAKE } else { 0 };
    let mut done = Err(Errno::ENOMEM);
    task::stand_in(Kind::OwnDescriptors, awake, &mut || {
        let task = os::tid();
        section::hand_over(me, task);
        thread.stood_in_for.store(me, Relaxed);
        make_room(kept);
        done = run();
        thread.deputys_line.store(0, Relaxed);
        thread.stood_in_for.store(0, Relaxed);
        section::hand_over(task, me);
    })
    .map_err(|_| Errno::ENOMEM)?;
    // What was cut short for another reason than too many descriptors is no better known.
    done.map_err(|errno| if errno == Errno::EMFILE { Errno::ENOMEM } else { errno })
}

/// Closes some low numbers in the task's table, but not the connections to the broker.
fn make_room(kept: [Option<i32>; 2]) {
    for number in (0..).filter(|number| !kept.contains(&Some(*number))).take(ROOM as usize) {
        fd::close(number);
    }
}

/// Opens or receives something. Where the limit leaves too few numbers to a task, a process opens it that shares the task's table and has limits
/// of its own.
pub(super) fn opening<T>(mut open: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    if !is_short() {
        return open();
    }
    let mut done = Err(Errno::ENOMEM);
    task::stand_in(Kind::OwnLimits, 0, &mut || {
        os::raise_descriptor_limit();
        done = open();
    })
    .map_err(|_| Errno::ENOMEM)?;
    done
}

/// Whether the caller is a task whose limit is below what it needs.
pub(super) fn is_short() -> bool {
    is_at_work() && os::descriptor_limit() < ROOM as u64 + 2
}
