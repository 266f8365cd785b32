//! What an identifier names in this process, where it is mapped, and how a call sleeps on it.
//!
//! | question | file |
//! | --- | --- |
//! | where is the record of an opened object | `record.rs` |
//! | how is an object opened and let go | `open.rs` |
//! | when may its memory be let go, and used again | `pin.rs`, `reclaim.rs` |
//! | what is let go when the process gives rights up | `narrow.rs` |
//! | what does a call do about an error of the engine | `recover.rs` |
//! | how does a call sleep | `sleeping.rs` |
//! | which segments are attached, and in which parts | `attachments.rs`, `parts.rs`, `cuts.rs`, `flags.rs`, `count.rs`, `mappings.rs` |

pub(crate) mod attachments;
pub(crate) mod count;
pub(crate) mod cuts;
pub(crate) mod flags;
pub(crate) mod lease;
pub(crate) mod mappings;
pub(crate) mod narrow;
pub(crate) mod open;
pub(crate) mod parts;
pub(crate) mod pin;
pub(crate) mod reclaim;
pub(crate) mod record;
pub(crate) mod recover;
pub(crate) mod sleeping;
pub(crate) mod spare;
