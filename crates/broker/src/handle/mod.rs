//! What each request does: one function a request, one file a family.
//!
//! A handler that answers [`Trouble::Later`](crate::namespace::Trouble) has changed nothing that a second run would do twice.

pub(crate) mod attach;
pub(crate) mod ctl;
pub(crate) mod get;
pub(crate) mod life;
pub(crate) mod open;
pub(crate) mod proxy;
pub(crate) mod query;

use ring3_abi::{Errno, Kind};

/// The kind that a request names.
pub(crate) fn kind_of(number: u32) -> Result<Kind, Errno> {
    Kind::from_u32(number).ok_or(Errno::EPROTO)
}
