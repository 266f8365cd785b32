//! What becomes of the engine's errors in the broker: the one place that turns them into answers.
//!
//! - `Stuck`: the lock's holder is looked after (it may be dead), then the operation runs once more. Still stuck, the request is tried again
//!   by timer (`serve/deferred.rs`). There is time for that (`host.rs`), or the request is put off at once.
//! - `Full`: the object moves to a larger region and the operation runs again, where it may need more room; elsewhere it is `ENOMEM`.
//! - `Removed`, `Moved`, `Spoiled`: the broker itself moves and removes objects, so for it the object is gone: `EIDRM`.

use crate::namespace::{Namespace, Trouble};
use crate::object::open::enlarge;
use ring3_abi::{Errno, IpcId, Kind, Pid};
use ring3_engine::Error;
use std::rc::Rc;

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        match error {
            Error::Errno(errno) => Trouble::Errno(errno),
            Error::Stuck(_) => Trouble::Later,
            Error::Full => Trouble::Errno(Errno::ENOMEM),
            Error::Removed | Error::Moved | Error::Spoiled => Trouble::Errno(Errno::EIDRM),
        }
    }
}

impl Namespace {
    /// Runs an engine operation on an object; a lock held by the dead is freed, then the operation runs once more.
    pub(crate) fn attempt<T>(
        &mut self,
        kind: Kind,
        id: IpcId,
        operation: impl Fn(&Namespace) -> Result<T, Error>,
    ) -> Result<T, Trouble> {
        self.attempt_beside(kind, id, None, operation).map_err(Trouble::from)
    }

    /// The same, but a lock that `settling` holds is left to the operation, which settles that process.
    pub(crate) fn attempt_beside<T>(
        &mut self,
        kind: Kind,
        id: IpcId,
        settling: Option<Pid>,
        operation: impl Fn(&Namespace) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match operation(self) {
            Err(Error::Stuck(holder)) if Some(holder) != settling && self.host.patience.is_there() => {
                let patience = Rc::clone(&self.host.patience);
                patience.spend(|| self.rescue(kind, id, holder));
                operation(self)
            }
            other => other,
        }
    }

    /// The same as [`Namespace::attempt`], and again in a larger region when this one is full.
    pub(crate) fn growing<T>(
        &mut self,
        kind: Kind,
        id: IpcId,
        operation: impl Fn(&Namespace) -> Result<T, Error>,
    ) -> Result<T, Trouble> {
        loop {
            match self.attempt_beside(kind, id, None, &operation) {
                Err(Error::Full) => enlarge(self, kind, id)?,
                other => return other.map_err(Trouble::from),
            }
        }
    }
}
