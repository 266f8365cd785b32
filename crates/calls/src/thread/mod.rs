//! What one thread is in: sections, its handlers, and how it sleeps. Nothing here knows of a broker.
//!
//! | question | file |
//! | --- | --- |
//! | when do handlers run, and what does a thread keep | `section.rs`, `signal.rs`, `disposition.rs` |
//! | whose memory is it | `memory.rs` |
//! | how does a call spin and sleep, and how is it cancelled | `early.rs`, `adaptive_spin.rs`, `credit.rs`, `turns.rs`, `sleep.rs`, `cancel.rs` |
//! | what does the kernel do when the thread ends | `robust_list.rs` |
//! | how do threads of a process exclude each other | `lock.rs` |

pub(crate) mod adaptive_spin;
pub mod cancel;
mod credit;
mod disposition;
pub(crate) mod early;
mod kept;
pub(crate) mod lock;
pub mod memory;
pub mod robust_list;
pub mod section;
pub mod signal;
pub(crate) mod sleep;
pub(crate) mod turns;
