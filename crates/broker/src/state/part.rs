//! The parts of the state: each record's key begins with its namespace's number and one of these. They do not change their meaning.

/// The number that stands for the broker itself, in the place of a namespace's.
pub(crate) const BROKER: u64 = u64::MAX;

// Of the broker.
pub(crate) const COUNTS: u8 = 1;
pub(crate) const ROOMS: u8 = 2;
pub(crate) const JOINED: u8 = 3;
pub(crate) const ELSEWHERE: u8 = 4;
pub(crate) const CONNS: u8 = 5;
pub(crate) const SLEEPING: u8 = 6;
pub(crate) const DEFERRED: u8 = 7;
pub(crate) const LIVES: u8 = 8;
pub(crate) const WRITTEN: u8 = 9;
pub(crate) const DONE: u8 = 10;
pub(crate) const OWED: u8 = 11;
pub(crate) const LAST_CONN: u8 = 12;
pub(crate) const OVER: u8 = 13;

// Of a namespace.
pub(crate) const CORE: u8 = 20;
pub(crate) const LIMITS: u8 = 21;
pub(crate) const KERNEL_LIMITS: u8 = 22;
/// And one for each further kind.
pub(crate) const NAMES: u8 = 23;
pub(crate) const FILES: u8 = 30;
pub(crate) const RANGES: u8 = 31;
pub(crate) const REACH: u8 = 32;
pub(crate) const LAST_RANGE: u8 = 33;
pub(crate) const PROCESSES: u8 = 34;
pub(crate) const OPENED: u8 = 35;
pub(crate) const FORKS: u8 = 36;
pub(crate) const DEBTS: u8 = 37;
pub(crate) const NUMBERS: u8 = 38;
pub(crate) const LAST_NAMES: u8 = 39;
pub(crate) const SEGMENTS: u8 = 40;
pub(crate) const TOKENS: u8 = 41;
pub(crate) const UNDONE: u8 = 42;
pub(crate) const KEPT: u8 = 43;
pub(crate) const LAST_TOKEN: u8 = 44;
pub(crate) const ALLOWED: u8 = 45;
pub(crate) const LEDGERS: u8 = 46;
pub(crate) const MADE_ALONE: u8 = 47;
pub(crate) const LEASES: u8 = 48;
