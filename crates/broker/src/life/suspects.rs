//! Processes of whose end the sender of a request may know before their pidfds tell: they are settled before the request is done (B2).
//!
//! A process is settled when its pidfd says that it has ended; and earlier, when somebody asks about an object on which it may have left its mark: whoever has
//! seen one of its files closed knows of its end already. kernel: do_exit(), where exit_mm() and exit_sem() come before exit_files().

use crate::mechanism;
use crate::namespace::Trouble;
use crate::serve::Server;
use ring3_abi::ipc::index_of;
use ring3_abi::{IpcId, Kind, Pid};

/// Which objects of a mechanism a request asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The one with this identifier.
    Id(IpcId),
    /// The one at this index.
    Index(usize),
    All,
}

impl Which {
    /// Whether an object is meant.
    pub(crate) fn is(self, id: IpcId) -> bool {
        match self {
            Which::Id(meant) => meant == id,
            Which::Index(index) => index_of(id) == Some(index),
            Which::All => true,
        }
    }
}

impl Server {
    /// Settles those of whose end the sender of a request about these objects may know, as far as it would show in the answer.
    ///
    /// # Errors
    /// `Later` if a region's lock does not come free.
    pub(crate) fn settle_the_ending(
        &mut self,
        asker: Pid,
        (kind, which): (Kind, Which),
    ) -> Result<(), Trouble> {
        let suspects = mechanism::of(kind).suspects(self.spaces.of(asker), which);
        let mut later = false;
        for pid in suspects.into_iter().filter(|&pid| pid != asker && pid != 0) {
            let ns = self.spaces.of(asker);
            match (ns.processes.get(&pid), which) {
                (Some(process), _) if !ns.owes(pid) && process.is_ending(pid) => self.bury(pid),
                // Whoever has seen one of its files closed by exec knows of it before the broker's connection is closed.
                (Some(process), _) if process.leaving && ns.image_is_gone(pid) => self.image_ended(pid),
                (None, Which::Id(id)) => {
                    // The broker does not know it: it has ended, or never was. If the lock does not come free, the next who looks asks again.
                    let _ = mechanism::of(kind).settle(ns, id, pid, super::End::Process);
                }
                _ => {}
            }
            later |= self.spaces.of(asker).owes(pid);
        }
        if later && matches!(which, Which::Id(_)) { Err(Trouble::Later) } else { Ok(()) }
    }
}
