//! The set that a call is for, as this process has it mapped.

use crate::object::record::{Handle, Object};
use crate::process::{identity, lives};
use ring3_abi::Kind;
use ring3_engine::sem::Set;

pub(super) const KIND: Kind = Kind::Sem;

/// Has those with adjustments in a set settled that have ended, before a call looks at it.
#[inline]
pub(super) fn settle(object: &Object) {
    if let Handle::Set(set) = &object.handle {
        lives::settle(object.id, set, identity::current());
    }
}

/// The same, and those whose end shows in the time of the last operation alone.
pub(super) fn settle_in_time(object: &Object) {
    if let Handle::Set(set) = &object.handle {
        lives::settle(object.id, set, identity::current());
        lives::settle_in_time(object.id, set, identity::current());
    }
}

/// The set of an object that is mapped.
#[inline]
pub(super) fn set_of(object: &Object) -> Option<&Set<'static>> {
    match &object.handle {
        Handle::Set(set) => Some(set),
        _ => None,
    }
}
