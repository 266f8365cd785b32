//! How a call sleeps: outside any section, so that handlers run; inside one whenever it touches the object.
//!
//! # Invariants
//! T1. While a call sleeps its record is armed: a handler of the program runs only after `conclude` has ended the call. So a handler may
//!     make calls of its own, or jump away and never come back, and no ticket is left behind.
//! T2. The record is reached through one raw pointer, by this thread only: its loop, or a handler that interrupts the loop
//!     while the record is armed.

use crate::object::{pin, reclaim};
use crate::process::connection;
use crate::thread::cancel::{self, CancelSlot};
use crate::thread::robust_list;
use crate::thread::section::{self, Entry, Section, Waiting};
use crate::thread::sleep;
use core::sync::atomic::Ordering::Relaxed;
use ring3_abi::{Errno, IpcId, Kind};
use ring3_engine::{Deadline, Error, Parked, Step, Ticket, WaitWord};
use ring3_os::process;

/// A call that can sleep.
pub(crate) trait Sleeping {
    /// What it answers.
    type Value;
    /// The object's kind.
    const KIND: Kind;
    /// The object.
    fn id(&self) -> IpcId;
    /// Where it sleeps.
    fn wait_word(&self, ticket: Ticket) -> Result<WaitWord<'static>, Error>;
    /// Goes on.
    fn resume(&mut self, ticket: Ticket, why: Parked) -> Result<Step<Self::Value>, Error>;
    /// Finds the object's new region and the ticket there. # Errors: `EIDRM`; `EACCES` if it may not be mapped here any more.
    fn follow(&mut self) -> Result<Ticket, Errno>;
    /// Leaves the rest to the broker, which finds the ticket by our thread's number. Outside any section, or with [`Blocking::Never`].
    fn by_proxy(&self, until: Deadline, blocking: Blocking) -> Result<Self::Value, Errno>;
    /// Whether the region is still the object's.
    fn is_current(&self) -> bool;
}

/// Whether pthread_cancel may end the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancel {
    /// A cancellation point.
    Point,
    /// None.
    Never,
}

/// Whether a call that the broker does may sleep there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Blocking {
    /// Until it is served or interrupted. Outside any section.
    Allowed,
    /// It is cancelled at once if it would sleep: a handler is about to run.
    Never,
}

/// How a resumed call goes on.
enum Next<V> {
    Over(Result<V, Errno>),
    Sleep,
    /// Rights were taken away while it slept: only the broker can go on with it.
    Refused,
}

/// A sleeping call. `head` comes first: the section knows the record by it.
#[repr(C)]
struct Record<'a, S: Sleeping> {
    head: Waiting,
    slot: CancelSlot,
    call: &'a mut S,
    ticket: Ticket,
    outcome: Option<Result<S::Value, Errno>>,
}

/// Sleeps until the call is done. A handler that has run since the call's beginning ends it in the place of sleep.
pub(crate) fn wait<S: Sleeping>(
    entry: &Entry,
    section: Section,
    call: &mut S,
    ticket: Ticket,
    until: Deadline,
    cancel: Cancel,
) -> Result<S::Value, Errno> {
    let asleep = (reclaim::asleep(), pin::pin(S::KIND, call.id()));
    let mut record =
        Record { head: Waiting::new(conclude::<S>), slot: CancelSlot::new(), call, ticket, outcome: None };
    let record = &raw mut record;
    let mut section = section;
    // Signals that come from here on are deferred by the section, and find the record armed when it ends.
    let mut interrupted = entry.interrupted();
    let outcome = loop {
        // SAFETY: T2; the record lives until this function returns.
        let wait_word = match unsafe { (*record).call.wait_word((*record).ticket) } {
            Ok(wait_word) => wait_word,
            Err(_) => break Err(Errno::EIDRM),
        };
        let why = if core::mem::take(&mut interrupted) {
            Parked::Interrupted
        } else {
            // SAFETY: the record lives, and is disarmed before it ends.
            unsafe { section::arm(&section, record.cast()) };
            drop(section);
            // SAFETY: T2; the slot is all atomics, so a conclusion in between changes nothing under a reference.
            let slot = (cancel == Cancel::Point).then(|| unsafe { &(*record).slot });
            let why = sleep::sleep(wait_word, until, record.cast(), slot);
            section = section::enter();
            section::disarm(&section);
            why
        };
        // SAFETY: T2; nobody else comes here now.
        let record = unsafe { &mut *record };
        record.slot.leave();
        if let Some(outcome) = record.outcome.take() {
            break outcome;
        }
        match record.go_on(why) {
            Next::Over(outcome) => break outcome,
            Next::Sleep => {}
            Next::Refused => {
                robust_list::name_no_more();
                drop(section);
                return record.call.by_proxy(until, Blocking::Allowed);
            }
        }
    };
    // Where the call went on without its ticket, too: nothing is named once it is over.
    robust_list::name_no_more();
    drop((section, asleep));
    if cancel == Cancel::Point && matches!(outcome, Err(Errno::EINTR)) {
        // musl cancels by a signal, whose handler is not wrapped and leaves it to the call to look. The call is over and did nothing.
        cancel::cancellation_point();
    }
    outcome
}

impl<S: Sleeping> Record<'_, S> {
    /// Resumes. Inside a section.
    fn go_on(&mut self, why: Parked) -> Next<S::Value> {
        let mut tries = 0;
        loop {
            match self.call.resume(self.ticket, why) {
                Ok(Step::Done(value)) => return Next::Over(Ok(value)),
                Ok(Step::Wait(ticket)) => {
                    self.ticket = ticket;
                    return Next::Sleep;
                }
                Err(Error::Errno(errno)) => return Next::Over(Err(errno)),
                Err(Error::Removed) => return Next::Over(Err(Errno::EIDRM)),
                Err(Error::Spoiled) if self.call.is_current() => return Next::Over(Err(Errno::EIDRM)),
                // The broker marks the region first and the directory next.
                Err(Error::Moved) if self.call.is_current() => process::nap(),
                Err(Error::Moved | Error::Spoiled) => match self.call.follow() {
                    Ok(ticket) => self.ticket = ticket,
                    Err(Errno::EACCES) => return Next::Refused,
                    Err(errno) => return Next::Over(Err(errno)),
                },
                Err(Error::Stuck(holder)) => match connection::stuck(S::KIND, self.call.id(), holder) {
                    // What it waits for may be given to it still, so it is not over.
                    Ok(()) | Err(Errno::ETIMEDOUT) => {}
                    Err(errno) => return Next::Over(Err(errno)),
                },
                Err(Error::Full) => return Next::Over(Err(Errno::ENOMEM)),
            }
            tries += 1;
            if tries > 100_000 {
                return Next::Over(Err(Errno::EIDRM));
            }
        }
    }
}

/// Ends a sleeping call because a handler is about to run (T1).
///
/// # Safety
/// The section's wrapper passes the armed record, on the record's own thread, once.
unsafe fn conclude<S: Sleeping>(waiting: *mut Waiting) {
    let _section = section::enter();
    // SAFETY: T2: the record's loop is interrupted; `waiting` is the record's first field.
    let record = unsafe { &mut *waiting.cast::<Record<'_, S>>() };
    record.slot.leave();
    let outcome = match record.go_on(Parked::Interrupted) {
        Next::Over(outcome) => outcome,
        Next::Refused => record.call.by_proxy(Deadline::NEVER, Blocking::Never),
        Next::Sleep => return,
    };
    robust_list::name_no_more();
    record.outcome = Some(outcome);
    record.head.concluded.store(1, Relaxed);
}
