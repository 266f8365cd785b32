//! Adjustments that change hands: of processes that share theirs, the last one's end applies them. CLONE_SYSVSEM in clone(2); kernel:
//! copy_semundo(), exit_sem().
//!
//! Each process has a row of its own here. When one of those that share ends, its row is added to another's, so that their sum is applied once.
//!
//! # Death
//! Only the broker hands over. The sum and the row that becomes free are one change; done again, there is no row any more.

use super::Set;
use crate::error::Result;
use crate::host::{Caller, Host};
use ring3_abi::Pid;
use ring3_abi::sem::SEMAEM;

impl Set<'_> {
    /// Adds `from`'s adjustments to `to`'s. Idempotent.
    ///
    /// # Errors
    /// `Full` if there is no row for `to`; `Stuck`: try again later.
    pub fn hand_over<H: Host>(&self, host: &H, from: Pid, to: Pid, who: Caller) -> Result<()> {
        let _locked = self.lock(host, who)?;
        let Some(old) = self.find_row(from)? else { return Ok(()) };
        // A new row names no life: until its process uses it, others ask the broker.
        let new = match self.find_row(to)? {
            Some(row) => row,
            None => self.row(to, 0)?,
        };
        let mut tx = self.change();
        if self.counts_row(old)? {
            for num in 0..self.geometry.nsems {
                let (more, has) = (self.adjustment(old, num)?, self.adjustment(new, num)?);
                // Each was in its range when it was made; their sum stays in it too.
                let by = more.saturating_add(has).clamp(-SEMAEM - 1, SEMAEM) - has;
                if by != 0 {
                    self.adjust(&mut tx, new, num, by)?;
                }
            }
        }
        self.free_row(&mut tx, old)?;
        tx.commit();
        Ok(())
    }
}
