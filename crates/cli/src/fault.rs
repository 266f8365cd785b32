//! What went wrong, said so that the reader can act: what happened, to what, and what to do.

use std::fmt;
use std::io;
use std::path::Path;

/// An error for a human, and the exit status it leads to.
#[derive(Debug)]
pub(crate) struct Fault {
    what: String,
    remedy: Option<String>,
    /// Exit status.
    pub(crate) status: u8,
}

/// A result of this command's.
pub(crate) type Result<T> = std::result::Result<T, Fault>;

impl Fault {
    /// Something happened.
    pub(crate) fn new(what: impl Into<String>) -> Fault {
        Fault { what: what.into(), remedy: None, status: 1 }
    }

    /// An operation on a file failed.
    pub(crate) fn file(action: &str, path: &Path, why: impl Into<io::Error>) -> Fault {
        Fault::new(format!("cannot {action} {}: {}", path.display(), plain(&why.into())))
    }

    /// An operation failed.
    pub(crate) fn io(action: &str, why: impl Into<io::Error>) -> Fault {
        Fault::new(format!("cannot {action}: {}", plain(&why.into())))
    }

    /// Adds what to do about it.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Fault {
        self.remedy = Some(remedy.into());
        self
    }

    /// Sets the exit status.
    pub(crate) fn status(mut self, status: u8) -> Fault {
        self.status = status;
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// The error's text without Rust's "(os error N)".
pub(crate) fn plain(why: &io::Error) -> String {
    let text = why.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_string(),
        None => text,
    }
}
