//! What a broker is given at its start and gives at its end, and its trace.

use crate::policy::quota::Share;
use crate::state::{Keeping, Memory};
use ring3_abi::Kind;
use ring3_abi::limits::Limits;
use ring3_wire::reply;
use std::fmt::Debug;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

/// What a broker is started with.
#[derive(Debug)]
pub struct Config {
    /// A listening SOCK_SEQPACKET socket.
    pub listener: OwnedFd,
    /// The namespace's name, for the log.
    pub name: String,
    /// Its limits.
    pub limits: Limits,
    /// What a user other than its owner and root may have of it.
    pub share: Share,
    /// Whoever keeps the namespace.
    pub keeper: Option<Box<dyn Keeper>>,
    /// What keeps the descriptors when this and all lookouts are dead, if anything does.
    pub keeping: Option<Keeping>,
    /// Whoever sees to it that another broker goes on.
    pub lookout: Option<Box<dyn Lookout>>,
}

/// Sees to it that another broker goes on when this one dies: a process that has the same descriptors, and the mappings that this one had when it was made.
pub trait Lookout: Debug + Send {
    /// Puts a new one in the place of the old one, if there is any.
    ///
    /// # Errors
    /// The machine's; then there is none.
    fn post(&mut self, memory: &Memory) -> std::io::Result<()>;

    /// Becomes readable when it has died. `None`: it is known to be dead.
    fn voice(&self) -> Option<BorrowedFd<'_>>;

    /// The descriptors that it needs, beside those of the broker's.
    fn descriptors(&self) -> Vec<RawFd>;
}

/// Whoever keeps the namespace, as the broker hears it.
pub trait Keeper: Debug + Send {
    /// Becomes readable when there is something to hear.
    fn voice(&self) -> BorrowedFd<'_>;

    /// Hears it. The broker's loop stands still meanwhile.
    fn hear(&mut self) -> Word;
}

/// What a keeper wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The broker ends when no client process is left.
    End,
    /// It goes on without a keeper.
    Stay,
    /// Nothing yet: there will be more to hear, from what [`Keeper::voice`] is now.
    Later,
}

/// A keeper of one word: once it sends a byte or hangs up, the broker is to end.
impl Keeper for OwnedFd {
    fn voice(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    fn hear(&mut self) -> Word {
        Word::End
    }
}

/// An object that was left when the broker ended.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    /// Its kind.
    pub kind: Kind,
    /// What a listing would say of it.
    pub detail: reply::Detail,
}

/// What was left when the broker ended.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Queues, sets and segments, each in the order of their indexes.
    pub left: Vec<Left>,
}

/// The trace for people, on stderr, if RING3_LOG asks for it.
#[derive(Debug)]
pub(crate) struct Log {
    name: Option<String>,
}

impl Log {
    /// A trace of the namespace with this name.
    pub(crate) fn new(name: String) -> Log {
        let traced = std::env::var_os("RING3_LOG").is_some_and(|level| level == "debug");
        Log { name: traced.then_some(name) }
    }

    /// Writes a line.
    pub(crate) fn line(&self, text: impl FnOnce() -> String) {
        if let Some(name) = &self.name {
            let line = format!("ring3 broker {name}: {}\n", text());
            // Nobody can be told that the log cannot be written.
            let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
        }
    }
}
