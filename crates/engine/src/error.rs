//! What an operation may answer.

use ring3_abi::{Errno, Pid};

/// Why an operation did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The kernel's answer for this case.
    Errno(Errno),
    /// The object is gone: a call that slept on it fails with EIDRM, another one looks into the directory again.
    Removed,
    /// The object lives in another region now: open it again.
    Moved,
    /// The region holds what no operation writes. It is dead for this process: EIDRM.
    Spoiled,
    /// The region's lock does not come free; this process holds it. Nothing has happened: ask the broker, call again.
    Stuck(Pid),
    /// A table of the region is full. Nothing has happened: ask the broker for a larger one.
    Full,
}

impl Error {
    /// The error number of a call that ends so, where the object is gone for it in every other case.
    pub(crate) fn number(self) -> u16 {
        match self {
            Error::Errno(errno) => errno.0,
            _ => Errno::EIDRM.0,
        }
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Error {
        Error::Errno(errno)
    }
}

/// A result of the engine.
pub type Result<T> = core::result::Result<T, Error>;

/// How far an operation got.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// It is done.
    Done(T),
    /// It must wait: park on the ticket's word, then resume.
    Wait(crate::ticket::Ticket),
}
