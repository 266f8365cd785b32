//! The lookout: a process that does nothing but wait for the broker's death, and then is the broker.
//!
//! It is a child of the broker's that has the broker's table of descriptors (CLONE_FILES), not a copy, so what the broker opens the lookout has, and all of it
//! stays open as long as one of the two lives. What else the broker knows stands in the state's memory (`ring3_broker::Memory`). A lookout that takes
//! over first makes the next one, of its own few pages, and then goes on where the broker was killed. A broker whose lookout dies makes another.
//!
//! # Invariants
//! W1. A lookout opens and closes no descriptor: the table is the broker's.
//! W2. Whoever counts the reign up takes over; any other lookout of the same broker ends.
//!
//! # Death
//! - of the broker: the lookout's pidfd of it is readable; the lookout goes on, and says so to the keeper;
//! - of the lookout: the broker's pidfd of it is readable; the broker makes another, within a turn of its loop;
//! - of both before that: of the whole namespace. Descriptors, and with them the objects and the lock, are gone with them; the keeper, or the next start of
//!   any namespace in the same directory, clears the rest (`place.rs`). But where a service manager keeps them, the next start goes on (`broker.rs`);
//! - of a lookout that takes over, before it has made the next one: the same;
//! - again and again before anything could be done: after [`MOST`] takeovers nobody takes over any more.

use crate::broker::{self, Seat};
use crate::sys;
use ring3_broker::{Lookout, Memory};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, waitpid};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex};

/// How many brokers may die one after the other that have not done anything.
const MOST: u32 = 64;

/// A lookout's number, for whoever ends it.
type Number = Arc<Mutex<Option<Pid>>>;

/// A broker's lookout, as the broker has it.
#[derive(Debug)]
pub(crate) struct Post {
    seat: Seat,
    /// The broker itself.
    me: Arc<OwnedFd>,
    lookout: Option<(Pid, OwnedFd)>,
    number: Number,
}

/// Ends the broker's lookout: the namespace ends.
pub(crate) struct Relief {
    number: Number,
    /// Open as long as a lookout may look at it.
    _broker: Arc<OwnedFd>,
}

impl Post {
    /// One that is not occupied yet, and its end.
    pub(crate) fn new(seat: Seat) -> io::Result<(Post, Relief)> {
        let me = Arc::new(pidfd_open(getpid(), PidfdFlags::empty())?);
        let number = Number::default();
        let relief = Relief { number: Arc::clone(&number), _broker: Arc::clone(&me) };
        Ok((Post { seat, me, lookout: None, number }, relief))
    }

    /// Has a process that was just forked look out.
    fn occupy(&mut self, process: Pid) -> io::Result<()> {
        let voice = pidfd_open(process, PidfdFlags::empty())?;
        let before = self.lookout.replace((process, voice));
        set(&self.number, Some(process));
        if let Some((before, _)) = before {
            end(before);
        }
        Ok(())
    }
}

impl Lookout for Post {
    fn post(&mut self, memory: &Memory) -> io::Result<()> {
        let reign = memory.reign();
        let posted = match sys::fork_beside() {
            Ok(None) => watch(&self.seat, memory, reign, self.me.as_raw_fd()),
            Ok(Some(process)) => self.occupy(process),
            Err(why) => Err(why),
        };
        if posted.is_err()
            && let Some((before, _)) = self.lookout.take()
        {
            // It lacks what a new one would have.
            end(before);
        }
        posted
    }

    fn voice(&self) -> Option<BorrowedFd<'_>> {
        self.lookout.as_ref().map(|(_, voice)| voice.as_fd())
    }

    fn descriptors(&self) -> Vec<RawFd> {
        let lookout = self.lookout.as_ref().map(|(_, voice)| voice.as_raw_fd());
        self.seat.descriptors().into_iter().chain([self.me.as_raw_fd()]).chain(lookout).collect()
    }
}

impl Relief {
    /// Ends it.
    pub(crate) fn come(self) {
        if let Some(process) = set(&self.number, None) {
            end(process);
        }
    }
}

/// Puts another number in, and answers what was there.
fn set(number: &Number, process: Option<Pid>) -> Option<Pid> {
    // A process with one thread holds the lock no longer than this.
    number.lock().map_or(None, |mut number| std::mem::replace(&mut *number, process))
}

/// Ends a lookout: a child that nobody has waited for, so that its number is its own.
fn end(lookout: Pid) {
    let _ = kill_process(lookout, Signal::KILL);
    let _ = waitpid(Some(lookout), WaitOptions::empty());
}

/// The lookout's life. What else the broker's memory has is not dropped, only forgotten.
fn watch(seat: &Seat, memory: &Memory, mut reign: u32, mut broker: RawFd) -> ! {
    sys::set_name(c"ring3-lookout");
    sys::set_command_line(b"ring3\0lookout");
    loop {
        await_death(broker);
        if !memory.take_over(reign) || memory.takeovers() > MOST {
            sys::exit(0);
        }
        if seat.is_to_die() {
            seat.clear();
            sys::exit(0);
        }
        reign = reign.wrapping_add(1);
        let Ok((mut post, relief)) = Post::new(seat.clone()) else { sys::exit(1) };
        match sys::fork_beside() {
            Ok(None) => broker = post.me.as_raw_fd(),
            forked => {
                // Without a lookout the broker tries again.
                if let Ok(Some(process)) = forked {
                    let _ = post.occupy(process);
                }
                broker::go_on(seat, memory, post, relief)
            }
        }
        // Only the next lookout comes here: its broker's descriptor stays.
        std::mem::forget(post);
    }
}

/// Waits until a process is dead.
fn await_death(process: RawFd) {
    loop {
        let process = sys::borrowed(process);
        let mut polled = [PollFd::from_borrowed_fd(process, PollFlags::IN)];
        match poll(&mut polled, None) {
            Ok(_) if polled.iter().all(|process| process.revents().contains(PollFlags::IN)) => return,
            Err(rustix::io::Errno::INTR) => {}
            // Whoever cannot wait for the death cannot know of it.
            Ok(_) | Err(_) => sys::exit(1),
        }
    }
}
