//! Message queues: one file a call. msgget(2), msgop(2), msgctl(2); kernel: ipc/msg.c.
//!
//! Arguments are checked in the kernel's order, with the kernel's error numbers.
//!
//! | question | file |
//! | --- | --- |
//! | msgget, msgsnd, msgrcv, msgctl | the file of the call's name |
//! | which mapped queue a call is for, and how it goes on after a move | `queue.rs` |

mod msgctl;
mod msgget;
mod msgrcv;
mod msgsnd;
pub(super) mod queue;

pub use msgctl::msgctl;
pub use msgget::msgget;
pub use msgrcv::{msgrcv, msgrcv_at_once};
pub use msgsnd::{msgsnd, msgsnd_at_once};
