//! A namespace's limits and settings, `/proc/sys/kernel/*`: each declared once. proc(5), svipc(7); kernel: ipc/ipc_sysctl.c.
//!
//! From the table follow the structure, its defaults, the numbers by which a limit is named, the files' contents, and what may be set.

use crate::ipc::IPCMNI;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Connections to the broker that one process may have made: one for each thread that sleeps in a call that the broker does for it, and its own.
pub const CONNECTIONS_OF_A_PROCESS: usize = 4096;
/// Forks that a process may have announced whose children are not known yet: threads that fork at one time.
pub const FORKS_OF_A_PROCESS: usize = 1024;
/// The same of all processes of a user who has a quota.
pub const FORKS_OF_A_USER: usize = 4096;

/// A number as the kernel's structures have it.
pub fn int(wide: i64) -> i32 {
    i32::try_from(wide).unwrap_or(if wide < 0 { i32::MIN } else { i32::MAX })
}

/// What may be written to a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// An `int` between two numbers. kernel: proc_dointvec(), proc_dointvec_minmax().
    Int(i64, i64),
    /// Any `unsigned long`. kernel: proc_doulongvec_minmax().
    Unsigned,
}

impl Range {
    /// Whether a value lies within. An unsigned one comes as its bits.
    pub fn allows(self, value: i64) -> bool {
        match self {
            Range::Int(least, most) => (least..=most).contains(&value),
            Range::Unsigned => true,
        }
    }

    /// The largest value.
    pub fn most(self) -> u64 {
        match self {
            Range::Int(_, most) => most as u64,
            Range::Unsigned => u64::MAX,
        }
    }
}

/// Any `int`.
const INT: Range = Range::Int(i32::MIN as i64, i32::MAX as i64);
/// An `int` that is not negative.
const COUNT: Range = Range::Int(0, i32::MAX as i64);
/// How many objects of a kind there may be.
const MNI: Range = Range::Int(0, IPCMNI as i64);
/// On or off.
const SWITCH: Range = Range::Int(0, 1);
/// The default of shmmax and shmall (`ULONG_MAX - (1UL << 24)`).
const HUGE: u64 = u64::MAX - (1 << 24);

/// What is fixed about a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name; a file of its own has the same.
    pub name: &'static str,
    /// The file of /proc/sys/kernel that it stands in.
    pub file: &'static str,
    /// What may be written.
    pub range: Range,
}

macro_rules! limits {
    ($($(#[$doc:meta])* $field:ident: $type:ty, $name:ident, $file:literal, $default:expr, $range:expr;)*) => {
        /// The limits of one namespace. Every field is 64 bits wide, so that one table describes all.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub struct Limits { $($(#[$doc])* pub $field: $type,)* }

        impl Default for Limits {
            fn default() -> Limits {
                Limits { $($field: $default,)* }
            }
        }

        /// The fields of [`Limits`], in their order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Limit { $($(#[$doc])* $name,)* }

        impl Limit {
            /// All limits, in order.
            pub const ALL: [Limit; [$(Limit::$name),*].len()] = [$(Limit::$name),*];

            /// What is fixed about it.
            pub const fn row(self) -> Row {
                match self {
                    $(Limit::$name => Row {
                        name: stringify!($field),
                        file: $file,
                        range: $range,
                    },)*
                }
            }
        }

        impl Limits {
            /// One limit; an unsigned one as its bits.
            pub fn get(&self, which: Limit) -> i64 {
                match which { $(Limit::$name => self.$field as i64,)* }
            }

            /// Sets one limit; an unsigned one comes as its bits.
            pub fn put(&mut self, which: Limit, value: i64) {
                match which { $(Limit::$name => self.$field = value as $type,)* }
            }
        }
    };
}

limits! {
    /// Longest message, bytes.
    msgmax: i64, Msgmax, "msgmax", 8192, COUNT;
    /// A new queue's `msg_qbytes`.
    msgmnb: i64, Msgmnb, "msgmnb", 16384, COUNT;
    /// Queues.
    msgmni: i64, Msgmni, "msgmni", 32000, MNI;
    /// Semaphores in a set (first number of `sem`).
    semmsl: i64, Semmsl, "sem", 32000, INT;
    /// Semaphores in all sets (second number of `sem`).
    semmns: i64, Semmns, "sem", 1_024_000_000, INT;
    /// Operations in one call (third number of `sem`).
    semopm: i64, Semopm, "sem", 500, INT;
    /// Sets (fourth number of `sem`). kernel: proc_ipc_sem_dointvec(), sem_check_semmni().
    semmni: i64, Semmni, "sem", 32000, MNI;
    /// Longest segment, bytes.
    shmmax: u64, Shmmax, "shmmax", HUGE, Range::Unsigned;
    /// Pages in all segments.
    shmall: u64, Shmall, "shmall", HUGE, Range::Unsigned;
    /// Segments.
    shmmni: i64, Shmmni, "shmmni", 4096, MNI;
    /// 1: a segment goes with its last attachment. kernel: proc_ipc_dointvec_minmax_orphans().
    shm_rmid_forced: i64, ShmRmidForced, "shm_rmid_forced", 0, SWITCH;
    /// Obsolete; kept because programs read it. kernel: proc_ipc_auto_msgmni().
    auto_msgmni: i64, AutoMsgmni, "auto_msgmni", 0, SWITCH;
    /// Identifier that the next queue is asked to have, or -1.
    msg_next_id: i64, MsgNextId, "msg_next_id", -1, COUNT;
    /// Identifier that the next set is asked to have, or -1.
    sem_next_id: i64, SemNextId, "sem_next_id", -1, COUNT;
    /// Identifier that the next segment is asked to have, or -1.
    shm_next_id: i64, ShmNextId, "shm_next_id", -1, COUNT;
}

impl Limit {
    /// The limit with this number.
    pub fn from_u32(n: u32) -> Option<Limit> {
        Limit::ALL.get(n as usize).copied()
    }

    /// Whether it is the identifier that the next object is asked to have: it is used up by that object.
    pub const fn is_next_id(self) -> bool {
        matches!(self, Limit::MsgNextId | Limit::SemNextId | Limit::ShmNextId)
    }

    /// The limits that stand in a file of /proc/sys/kernel, in the order of their numbers there.
    pub fn in_file(file: &str) -> impl Iterator<Item = Limit> {
        Limit::ALL.into_iter().filter(move |limit| limit.row().file == file)
    }
}
