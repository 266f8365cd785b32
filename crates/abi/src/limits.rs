//! A namespace's limits and settings, `/proc/sys/kernel/*`. proc(5), svipc(7).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The limits of one namespace. Every field is 64 bits wide, so that one table describes all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Limits {
    /// Longest message, bytes (`msgmax`).
    pub msgmax: i64,
    /// A new queue's `msg_qbytes` (`msgmnb`).
    pub msgmnb: i64,
    /// Queues (`msgmni`).
    pub msgmni: i64,
    /// Semaphores in a set (first number of `sem`).
    pub semmsl: i64,
    /// Semaphores in all sets (second number of `sem`).
    pub semmns: i64,
    /// Operations in one call (third number of `sem`).
    pub semopm: i64,
    /// Sets (fourth number of `sem`).
    pub semmni: i64,
    /// Longest segment, bytes; unsigned in the kernel (`shmmax`).
    pub shmmax: u64,
    /// Pages in all segments; unsigned in the kernel (`shmall`).
    pub shmall: u64,
    /// Segments (`shmmni`).
    pub shmmni: i64,
    /// 1: a segment goes with its last attachment (`shm_rmid_forced`).
    pub shm_rmid_forced: i64,
    /// Obsolete; kept because programs read it (`auto_msgmni`).
    pub auto_msgmni: i64,
    /// Wished identifier of the next queue, or -1.
    pub msg_next_id: i64,
    /// Wished identifier of the next set, or -1.
    pub sem_next_id: i64,
    /// Wished identifier of the next segment, or -1.
    pub shm_next_id: i64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            msgmax: 8192,
            msgmnb: 16384,
            msgmni: 32000,
            semmsl: 32000,
            semmns: 1_024_000_000,
            semopm: 500,
            semmni: 32000,
            shmmax: u64::MAX - (1 << 24),
            shmall: u64::MAX - (1 << 24),
            shmmni: 4096,
            shm_rmid_forced: 0,
            auto_msgmni: 0,
            msg_next_id: -1,
            sem_next_id: -1,
            shm_next_id: -1,
        }
    }
}
