//! Semaphore sets: one file a call. semget(2), semop(2), semctl(2); kernel: ipc/sem.c.
//!
//! Arguments are checked in the kernel's order, with the kernel's error numbers.
//!
//! | question | file |
//! | --- | --- |
//! | semget, semop and semtimedop, semctl | the file of the call's name |
//! | a semop of one plain operation, without the lock | `quick.rs` |
//! | a semop that needs the lock and can be done at once | `at_once.rs` |
//! | which mapped set a call is for | `set.rs` |
//! | memory for as many values or operations as a call has | `scratch.rs` |

mod at_once;
mod quick;
mod scratch;
mod semctl;
mod semget;
mod semop;
mod set;

pub use quick::{Quick, Undone, semop_at_once};
pub use semctl::{Semun, semctl, semctl_at_once};
pub use semget::semget;
pub use semop::{semop, semop_adjusted, semop_long, semop_several, semop_undone, semtimedop};
