//! Which objects `ring3 rm` means.

use crate::args::Rm;
use crate::fault::{Fault, Result};
use crate::users::Users;
use ring3_abi::Kind;
use ring3_wire::reply::Detail;

/// The conditions, all of which must hold.
pub(crate) struct Selection {
    key: Option<i32>,
    owner: Option<u32>,
}

impl Selection {
    /// Reads what was typed. # Errors: nothing was selected, or the user does not exist.
    pub(crate) fn new(args: &Rm) -> Result<Selection> {
        if !args.all && args.key.is_none() && args.owner.is_none() && args.ids.is_empty() {
            return Err(Fault::new("nothing to remove was named")
                .remedy("give a kind and identifiers, --key, --owner or --all (see ring3 rm --help)")
                .status(2));
        }
        let number = |user: &String| {
            Users::read()
                .number(user)
                .ok_or_else(|| Fault::new(format!("no user {user:?}")).remedy("give a user number"))
        };
        Ok(Selection { key: args.key, owner: args.owner.as_ref().map(number).transpose()? })
    }

    /// Whether an object is meant.
    pub(crate) fn fits(&self, detail: &Detail) -> bool {
        self.key.is_none_or(|key| key == detail.key) && self.owner.is_none_or(|owner| owner == detail.uid)
    }

    /// Whether only identifiers were given.
    pub(crate) fn is_empty(&self) -> bool {
        self.key.is_none() && self.owner.is_none()
    }
}

/// The kinds that are meant.
pub(crate) fn kinds(args: &Rm) -> Vec<Kind> {
    args.kind.map_or_else(|| Kind::ALL.to_vec(), |kind| vec![kind.into()])
}
