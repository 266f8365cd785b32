//! Semaphores: flags, commands, structures. semop(2), semctl(2).

use crate::ipc::IpcPerm;
use crate::limits::{Limits, int};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// semop: take the operation back when the process ends.
pub const SEM_UNDO: i16 = 0x1000;

/// semctl: process of the last operation.
pub const GETPID: i32 = 11;
/// semctl: value.
pub const GETVAL: i32 = 12;
/// semctl: all values.
pub const GETALL: i32 = 13;
/// semctl: how many wait for a larger value.
pub const GETNCNT: i32 = 14;
/// semctl: how many wait for zero.
pub const GETZCNT: i32 = 15;
/// semctl: set a value.
pub const SETVAL: i32 = 16;
/// semctl: set all values.
pub const SETALL: i32 = 17;
/// semctl: state by index.
pub const SEM_STAT: i32 = 18;
/// semctl: usage of the system.
pub const SEM_INFO: i32 = 19;
/// semctl: state by index, without a permission check.
pub const SEM_STAT_ANY: i32 = 20;

/// Largest value of a semaphore.
pub const SEMVMX: i32 = 32767;
/// Largest adjustment on exit that IPC_INFO reports (`SEMAEM`).
pub const SEMAEM: i32 = SEMVMX;

/// `struct sembuf`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Sembuf {
    /// Which semaphore of the set.
    pub sem_num: u16,
    /// What to add; 0 waits for zero.
    pub sem_op: i16,
    /// `IPC_NOWAIT`, `SEM_UNDO`.
    pub sem_flg: i16,
}
const _: () = assert!(size_of::<Sembuf>() == 6);

impl Sembuf {
    /// The operation whose bytes are the low ones of a word.
    #[inline(always)]
    pub fn from_word(word: u64) -> Sembuf {
        Sembuf { sem_num: word as u16, sem_op: (word >> 16) as i16, sem_flg: (word >> 32) as i16 }
    }

    /// The operation as a word.
    #[inline]
    pub fn word(self) -> u64 {
        u64::from(self.sem_num) | u64::from(self.sem_op as u16) << 16 | u64::from(self.sem_flg as u16) << 32
    }
}

/// `struct semid64_ds` of x86-64; aarch64 has no padding words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Semid {
    /// Permission.
    pub perm: IpcPerm,
    /// Time of the last semop, seconds.
    pub otime: i64,
    #[cfg(target_arch = "x86_64")]
    #[doc(hidden)]
    pub unused1: u64,
    /// Time of creation, IPC_SET, SETVAL or SETALL, seconds.
    pub ctime: i64,
    #[cfg(target_arch = "x86_64")]
    #[doc(hidden)]
    pub unused2: u64,
    /// Semaphores in the set.
    pub nsems: u64,
    /// Unused.
    pub unused3: u64,
    /// Unused.
    pub unused4: u64,
}
#[cfg(target_arch = "x86_64")]
const _: () = assert!(size_of::<Semid>() == 104);
#[cfg(target_arch = "aarch64")]
const _: () = assert!(size_of::<Semid>() == 88);

/// `struct seminfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Seminfo {
    /// A constant.
    pub semmap: i32,
    /// Sets.
    pub semmni: i32,
    /// Semaphores in all.
    pub semmns: i32,
    /// A constant.
    pub semmnu: i32,
    /// Semaphores in a set.
    pub semmsl: i32,
    /// Operations in a call.
    pub semopm: i32,
    /// A constant.
    pub semume: i32,
    /// IPC_INFO: a constant; SEM_INFO: sets in use.
    pub semusz: i32,
    /// Largest value.
    pub semvmx: i32,
    /// IPC_INFO: largest adjustment; SEM_INFO: semaphores in use.
    pub semaem: i32,
}
const _: () = assert!(size_of::<Seminfo>() == 40);

impl Seminfo {
    /// What IPC_INFO tells. kernel: semctl_info().
    pub fn of(limits: &Limits) -> Seminfo {
        // SEMMAP, SEMMNU, SEMUME and SEMUSZ of <linux/sem.h>.
        let (semmap, semmnu, semume, semusz) = (1_024_000_000, 1_024_000_000, 500, 20);
        Seminfo {
            semmap,
            semmni: int(limits.semmni),
            semmns: int(limits.semmns),
            semmnu,
            semmsl: int(limits.semmsl),
            semopm: int(limits.semopm),
            semume,
            semusz,
            semvmx: SEMVMX,
            semaem: SEMAEM,
        }
    }

    /// What SEM_INFO tells: how many sets there are, and how many semaphores, instead of two of the constants.
    pub fn in_use(self, sets: u32, semaphores: u64) -> Seminfo {
        let clamped = |count: u64| int(i64::try_from(count).unwrap_or(i64::MAX));
        Seminfo { semusz: clamped(sets.into()), semaem: clamped(semaphores), ..self }
    }
}
