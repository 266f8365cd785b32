//! What a case is to the stepper: objects and peers that are set up, one operation, and a judgement.

use std::time::Duration;

/// How a victim ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fate {
    /// Its process.
    pub(super) victim: libc::pid_t,
    /// It came to the end of its operation and ended by itself.
    pub(super) ended: bool,
    /// The completing operation has been carried out.
    pub(super) completed: bool,
}

/// A case: a name, and scenes made afresh for every point.
pub(super) trait Case {
    /// Its name: what, then how.
    fn name(&self) -> &'static str;
    /// Makes objects, and peers that already wait.
    fn set_up(&self) -> Result<Box<dyn Scene>, String>;
    /// Says whether somebody else's operation completes the victim's.
    fn completes(&self) -> bool {
        false
    }
    /// Says whether the operation makes another process, which breakpoints would hit too.
    fn forks(&self) -> bool {
        false
    }
    /// Says whether that operation may also come before the victim sleeps.
    fn overtakes(&self) -> bool {
        false
    }
}

/// One point's objects and peers.
pub(super) trait Scene {
    /// What the victim does before: opens the objects, takes what it must hold. Returns the operation itself.
    fn prepare(&self) -> Box<dyn FnOnce() -> i64 + '_>;
    /// Starts a process that completes what the victim waits for; whoever else waits comes before it.
    fn complete(&mut self) -> Result<(), String> {
        Ok(())
    }
    /// Waits some time for that process to be through: what it got, if it is.
    fn completed(&mut self, _patience: Duration) -> Option<i64> {
        None
    }
    /// Says where that process is, for messages.
    fn completing(&self) -> String {
        String::new()
    }
    /// Compares what the others find with what they may find: true if the operation was done.
    fn judge(&mut self, fate: &Fate) -> Result<bool, String>;
    /// Carries out further operations, all of which must be right.
    fn go_on(&mut self, operations: usize) -> Result<(), String>;
    /// In a process of its own: calls on the same objects that need not wait.
    fn probe(&self);
    /// Removes everything; nothing may be left.
    fn tear_down(&mut self) -> Result<(), String>;
}

/// Says whether a call's failure means that the object is gone.
pub(super) fn gone(errno: i64) -> bool {
    errno == -i64::from(libc::EIDRM) || errno == -i64::from(libc::EINVAL)
}
