//! Who may do what to an object: the one place where it is decided, for the agent and for the broker. svipc(7); kernel: ipcperms(), ipc/util.c.

use crate::directory::Entry;
use ring3_abi::{Gid, Uid};

/// Whom an object belongs to, and its mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    /// Owner's user.
    pub uid: Uid,
    /// Owner's group.
    pub gid: Gid,
    /// Creator's user.
    pub cuid: Uid,
    /// Creator's group.
    pub cgid: Gid,
    /// Permission bits.
    pub mode: u32,
}

impl From<&Entry> for Owners {
    fn from(entry: &Entry) -> Owners {
        Owners { uid: entry.uid, gid: entry.gid, cuid: entry.cuid, cgid: entry.cgid, mode: entry.mode }
    }
}

/// Effective user and group of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Effective user.
    pub euid: Uid,
    /// Effective group.
    pub egid: Gid,
}

/// Which of the permission bits in `wanted` (read 4, write 2, execute 1) a caller has on an object.
///
/// Supplementary groups (`is_member`: is one of these two among them?) and CAP_IPC_OWNER (`capable`) are asked for only when they decide
/// something: they may cost a system call or a file.
pub fn ipcperms(
    caller: Ids,
    object: &Owners,
    wanted: u32,
    is_member: impl FnOnce([Gid; 2]) -> bool,
    capable: impl FnOnce() -> bool,
) -> u32 {
    let wanted = wanted & 0o7;
    let of = |shift: u32| object.mode >> shift & wanted;
    let (group, others) = (of(3), of(0));
    let groups = [object.gid, object.cgid];
    let granted = if caller.euid == object.cuid || caller.euid == object.uid {
        of(6)
    } else if group != others && (groups.contains(&caller.egid) || is_member(groups)) {
        group
    } else {
        others
    };
    if granted != wanted && capable() { wanted } else { granted }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    fn check(euid: Uid, egid: Gid, also: &[Gid], mode: u32, wanted: u32) -> (u32, bool) {
        let object = Owners { uid: 10, gid: 20, cuid: 11, cgid: 21, mode };
        let asked = Cell::new(false);
        let is_member = |groups: [Gid; 2]| {
            asked.set(true);
            also.iter().any(|gid| groups.contains(gid))
        };
        (ipcperms(Ids { euid, egid }, &object, wanted, is_member, || false), asked.get())
    }

    #[test]
    fn owner_creator_group_others() {
        assert_eq!(check(10, 0, &[], 0o600, 6), (6, false));
        assert_eq!(check(11, 0, &[], 0o400, 6), (4, false));
        // The owner has the owner's bits, be others' more.
        assert_eq!(check(10, 20, &[20], 0o066, 6), (0, false));
        assert_eq!(check(12, 21, &[], 0o060, 6), (6, false));
        assert_eq!(check(12, 0, &[21], 0o040, 6), (4, true));
        assert_eq!(check(12, 0, &[20], 0o004, 4), (0, true));
        assert_eq!(check(12, 0, &[22], 0o004, 4), (4, true));
        assert_eq!(check(12, 0, &[], 0o666, 0o77), (6, false));
    }

    #[test]
    fn groups_are_not_asked_for_where_they_decide_nothing() {
        assert_eq!(check(12, 0, &[20], 0o644, 4), (4, false));
        assert_eq!(check(12, 0, &[20], 0o664, 4), (4, false));
        assert_eq!(check(12, 0, &[20], 0o664, 2), (2, true));
    }

    #[test]
    fn the_capability_passes_everything_and_is_asked_for_last() {
        let object = Owners { uid: 10, mode: 0o400, ..Owners::default() };
        let ids = Ids { euid: 10, egid: 1 };
        assert_eq!(ipcperms(ids, &object, 6, |_| false, || true), 6);
        let asked = Cell::new(false);
        let capable = || {
            asked.set(true);
            true
        };
        assert_eq!(ipcperms(ids, &object, 4, |_| false, capable), 4);
        assert!(!asked.get());
    }
}
