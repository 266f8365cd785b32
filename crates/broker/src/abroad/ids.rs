//! The ids that users and groups have in a process's user namespace. user_namespaces(7); kernel: from_kuid_munged(), make_kuid(), kernel/user_namespace.c.
//!
//! The kernel shows a process's map as seen from the namespace of whoever opens it, which is the broker's: the lines lead from the ids there to
//! the ids here, across as many namespaces as lie between.

use ring3_abi::Pid;
use std::fs;

/// What an id is called that has none there (overflowuid, overflowgid).
const UNMAPPED: u32 = 65534;

/// A process's two maps.
#[derive(Debug)]
pub(super) struct Ids {
    users: Map,
    groups: Map,
}

/// Ranges of ids: the first there, the first here, and how many.
#[derive(Debug, Default, PartialEq, Eq)]
struct Map(Vec<[u32; 3]>);

impl Ids {
    /// A map that cannot be read maps nothing.
    pub(super) fn of(pid: Pid) -> Ids {
        let map = |file| Map::parse(&fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default());
        Ids { users: map("uid_map"), groups: map("gid_map") }
    }

    /// What the process calls a user.
    pub(super) fn user(&self, here: u32) -> u32 {
        self.users.there(here).unwrap_or(UNMAPPED)
    }

    /// What the process calls a group.
    pub(super) fn group(&self, here: u32) -> u32 {
        self.groups.there(here).unwrap_or(UNMAPPED)
    }

    /// The user that the process means; -1 for none.
    pub(super) fn meant_user(&self, there: u32) -> u32 {
        self.users.here(there).unwrap_or(u32::MAX)
    }

    /// The group that the process means; -1 for none.
    pub(super) fn meant_group(&self, there: u32) -> u32 {
        self.groups.here(there).unwrap_or(u32::MAX)
    }
}

impl Map {
    fn parse(text: &str) -> Map {
        let range = |line: &str| {
            let mut words = line.split_ascii_whitespace().map(|word| word.parse().ok());
            Some([words.next()??, words.next()??, words.next()??])
        };
        // A range that begins at an id that has none here leads nowhere.
        Map(text.lines().filter_map(range).filter(|range: &[u32; 3]| range[1] != u32::MAX).collect())
    }

    fn there(&self, here: u32) -> Option<u32> {
        self.0.iter().find_map(|&[there, first, count]| shifted(here, first, there, count))
    }

    fn here(&self, there: u32) -> Option<u32> {
        self.0.iter().find_map(|&[first, here, count]| shifted(there, first, here, count))
    }
}

/// An id of the range from `first` as one of the range from `to`.
fn shifted(id: u32, first: u32, to: u32, count: u32) -> Option<u32> {
    let at = id.checked_sub(first).filter(|at| *at < count)?;
    to.checked_add(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_shifted_within_their_ranges() {
        let map = Map::parse("         0       1000          1\n         1     100000      65536\n");
        assert_eq!((map.there(1000), map.there(100_005), map.there(0)), (Some(0), Some(6), None));
        assert_eq!((map.here(0), map.here(6), map.here(65537)), (Some(1000), Some(100_005), None));
        assert_eq!(Map::parse("0 4294967295 4294967295\n").there(5), None);
        assert_eq!(Map::parse("").here(0), None);
    }
}
