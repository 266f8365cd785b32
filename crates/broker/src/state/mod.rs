//! What a broker knows, in memory that outlives it: so that it may be killed at any system call, and another goes on.
//!
//! The broker works on ordinary structures of its own. Each of them that must not be lost is a [`Sheet`]: it notes which of its records have changed, and one
//! commit writes them to a log in shared memory (`log.rs`), before anybody is told of the change. The next broker reads the log, makes the structures again
//! and what follows from them, and goes on with what the last one had in hand. The file is described in docs/state-format.md.
//!
//! | question | file |
//! | --- | --- |
//! | where does what stand | `memory.rs`, `part.rs`; a record's fields: where its type is, `keep!` |
//! | how does a change become one that has happened | `log.rs` |
//! | how is a change noticed | `table.rs` |
//! | what becomes of a request that was in hand | `inbox.rs`, `serve/again.rs` |
//! | what becomes of descriptors | `held.rs`; when all who have them are dead, `vault.rs` |
//! | what was it about, when it died | `hand.rs` |
//!
//! # Invariants
//! K1. The broker is a function of the committed records, of its descriptors, and of what the kernel says: which processes have ended, which connections have
//!     hung up, what lies in sockets.
//! K2. A record's value is changed only through its sheet, which notes it. So what is committed is what the broker works on.
//! K3. Everything that a request has changed is committed at once, with its outcome, before the outcome is told. A request that changed nothing commits nothing.
//! K4. A request is in hand from the system call that takes it from its socket until it is committed and told.
//! K5. A region's change on somebody's behalf leaves a receipt, in that change, that names the request (`engine/src/object.rs`): a request that is done again
//!     finds it, and is not done twice. Other changes of regions may be done twice, which changes nothing.
//! K6. A descriptor that a committed record names is open (`held.rs`).
//!
//! # Death
//! | killed | leaves | and who goes on |
//! | --- | --- | --- |
//! | before a packet is received | the packet in its socket | receives it |
//! | before the commit of what it asks for | the packet in its place; perhaps a region changed, with a receipt | does it again, from the committed state; finds the receipt |
//! | after the commit, before the answer | the outcome in the log | tells it |
//! | after the answer | the same | tells it again; the client drops what it does not wait for |
//! | while a dead process is settled, before the commit | some regions settled | settles it again: its pidfd is readable still |
//! | in a region's lock | the lock word with its number, the journal | settles that region as after any death, and wakes whom it should have woken |
//! | while an object moves | both regions in the object's record | finds by the old one whether it has moved |
//! | while the directory is written | an odd version, a chain without the object | writes anew what differs, and every chain |
//! | after it has let a connection in, before the commit | a socket that no record names, with the listener's address | lets it in |
//! | with other files that no record names | descriptors that nobody knows | closes them |
//!
//! Between the answer to a msgrcv that was done for a client and the end of its ticket the text's room stays taken until the client's process ends.

mod codec;
mod hand;
pub(crate) mod held;
mod inbox;
mod log;
mod memory;
pub(crate) mod part;
mod records;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod vault;

pub use memory::Memory;
pub use vault::{Keeping, Store, Unpacked};

pub(crate) use codec::{Keep, keep, keep_one, keep_word, whole};
pub(crate) use hand::{Hand, write_all, write_noted};
pub(crate) use held::{Held, begin_to_read, is_claimed, strays};
pub(crate) use inbox::{Got, InHand, Inbox};
pub(crate) use log::Batch;
pub(crate) use records::Records;
pub(crate) use table::{Book, Noted, Sheet, Table, changed, is_changed};
