//! What one user may have of what all users of a namespace have together. The kernel limits a namespace's objects, semaphores and pages for everybody at
//! once (svipc(7)), so that one user can use them up; nobody but root shares a namespace of its with strangers, though. Here a user other than the
//! namespace's owner and root has a *share*: so many percent of what the others leave.
//!
//! # Invariants
//! Q1. While the share is less than everything, something is left, however much any number of users take: whoever has nothing yet gets some of it.
//! Q2. Who has what follows from the objects, ranges and processes that there are. Nothing of it is kept anywhere else, and another broker counts it again.
//! Q3. An object is its creator's, whoever owns it now: IPC_SET changes nothing here.
//! Q4. Where there is nothing to be had for the share, the kernel's error for the same thing at its own limit is given.

use super::creds::{Capability, Creds};
use ring3_abi::{Errno, Kind, Uid};
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;

/// So many percent of what the others leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u8);

impl Default for Share {
    fn default() -> Share {
        Share(50)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} %", self.0)
    }
}

impl Share {
    /// Everything: users are not told apart.
    pub const WHOLE: Share = Share(100);

    /// A share of 1 to 100 percent.
    pub fn percent(percent: u8) -> Option<Share> {
        (1..=100).contains(&percent).then_some(Share(percent))
    }

    /// How much more a user may have who has `mine`, of what is `most` in all and of which all have `all`.
    fn room(self, most: u64, all: u64, mine: u64) -> u64 {
        let left = most.saturating_sub(all.saturating_sub(mine));
        let share = u128::from(left) * u128::from(self.0) / 100;
        u64::try_from(share).unwrap_or(u64::MAX).saturating_sub(mine)
    }
}

/// Who has how much of each of some things.
#[derive(Debug)]
pub(crate) struct Account<T> {
    of: HashMap<(T, Uid), u64>,
    all: HashMap<T, u64>,
}

impl<T> Default for Account<T> {
    fn default() -> Account<T> {
        Account { of: HashMap::new(), all: HashMap::new() }
    }
}

impl<T: Copy + Eq + Hash> Account<T> {
    /// How much a user has.
    fn of(&self, what: T, user: Uid) -> u64 {
        self.of.get(&(what, user)).copied().unwrap_or(0)
    }

    /// How much all have.
    fn all(&self, what: T) -> u64 {
        self.all.get(&what).copied().unwrap_or(0)
    }

    /// A user has so much more.
    pub(crate) fn take(&mut self, what: T, user: Uid, amount: u64) {
        *self.of.entry((what, user)).or_default() += amount;
        *self.all.entry(what).or_default() += amount;
    }

    /// A user has so much less.
    pub(crate) fn give_back(&mut self, what: T, user: Uid, amount: u64) {
        let all = self.all(what).saturating_sub(amount);
        self.all.insert(what, all);
        match self.of(what, user).saturating_sub(amount) {
            0 => _ = self.of.remove(&(what, user)),
            left => _ = self.of.insert((what, user), left),
        }
    }
}

/// What an object takes of what its namespace's limits give for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// Itself.
    Object(Kind),
    /// What is in it: semaphores, pages of a segment.
    Contents(Kind),
}

/// What the machine gives to all of a broker's namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Means {
    /// Memory of queues and sets, bytes.
    Memory,
    /// Files that objects lie in.
    Files,
    /// Connections.
    Connections,
    /// Processes that are known.
    Processes,
}

/// The quotas of a broker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    share: Share,
    owner: Uid,
    /// The machine's memory, bytes.
    memory: u64,
    /// Descriptors that the broker may have.
    descriptors: u64,
}

impl Quota {
    /// Of a broker that this process is.
    pub(crate) fn new(share: Share) -> Quota {
        let machine = rustix::system::sysinfo();
        let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        Quota {
            share,
            owner: rustix::process::geteuid().as_raw(),
            memory: machine.totalram.saturating_mul(u64::from(machine.mem_unit)),
            descriptors: descriptors.unwrap_or(u64::MAX),
        }
    }

    /// Whether a user has no quota.
    pub(crate) fn is_exempt(&self, user: Uid) -> bool {
        user == 0 || user == self.owner || self.share == Share::WHOLE
    }

    /// Whether somebody may have so much more of what a namespace has `most` of.
    ///
    /// # Errors
    /// `ENOSPC`.
    pub(crate) fn part(
        &self,
        account: &Account<Part>,
        creds: &Creds,
        (part, amount): (Part, u64),
        most: u64,
    ) -> Result<(), Errno> {
        let room = || self.share.room(most, account.all(part), account.of(part, creds.uid));
        // The last is looked up in /proc.
        let may = self.is_exempt(creds.uid) || amount <= room() || creds.capable(Capability::SysResource);
        if may { Ok(()) } else { Err(Errno::ENOSPC) }
    }

    /// Whether a user may have so much more of what the machine gives.
    pub(crate) fn means(&self, account: &Account<Means>, what: Means, user: Uid, amount: u64) -> bool {
        self.is_exempt(user) || self.fits(what, (account.all(what), account.of(what, user)), amount)
    }

    /// The same of a user who is not exempt, where all have so much and the user so much of that.
    pub(crate) fn fits(&self, what: Means, (all, mine): (u64, u64), amount: u64) -> bool {
        let most = match what {
            Means::Memory => self.memory,
            // What objects, processes and connections take are all descriptors: each has its half, since a connection mostly comes with a process.
            Means::Files | Means::Connections | Means::Processes => self.descriptors / 2,
        };
        amount <= self.share.room(most, all, mine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes as much as it can get, one by one.
    fn greedy(account: &mut Account<()>, share: Share, user: Uid) -> u64 {
        while share.room(1000, account.all(()), account.of((), user)) > 0 {
            account.take((), user, 1);
        }
        account.of((), user)
    }

    #[test]
    fn a_share_is_of_what_the_others_leave() {
        let mut account = Account::default();
        let half = Share::default();
        assert_eq!(greedy(&mut account, half, 1), 500);
        assert_eq!(greedy(&mut account, half, 2), 250);
        account.give_back((), 1, 500);
        assert_eq!(greedy(&mut account, half, 3), 375);
        assert_eq!(account.all(()), 625);
        assert_eq!(greedy(&mut account, Share::WHOLE, 4), 375);
        assert_eq!((Share::percent(0), Share::percent(101)), (None, None));
    }

    #[test]
    fn something_is_left_however_many_take_what_they_can() {
        let mut account = Account::default();
        for user in 1..=8 {
            assert!(greedy(&mut account, Share::default(), user) > 0);
        }
        assert!(account.all(()) < 1000);
        // What is more than there is at all, since the limit was lowered meanwhile, is no room.
        assert_eq!(Share::default().room(10, account.all(()), 0), 0);
    }
}
