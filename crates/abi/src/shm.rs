//! Shared memory: flags, commands, structures. shmop(2), shmget(2), shmctl(2).

use crate::ipc::IpcPerm;
use crate::limits::Limits;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// shmget: back the segment by huge pages.
pub const SHM_HUGETLB: i32 = 0o4000;
/// shmget: reserve no swap.
pub const SHM_NORESERVE: i32 = 0o10000;
/// shmget: where the base-2 logarithm of the huge page size stands in the flags.
pub const SHM_HUGE_SHIFT: u32 = 26;
/// shmget: mask of that logarithm, after the shift.
pub const SHM_HUGE_MASK: i32 = 0x3f;

/// shmat: attach for reading.
pub const SHM_RDONLY: i32 = 0o10000;
/// shmat: round the address down to SHMLBA.
pub const SHM_RND: i32 = 0o20000;
/// shmat: replace mappings in the way.
pub const SHM_REMAP: i32 = 0o40000;
/// shmat: allow execution.
pub const SHM_EXEC: i32 = 0o100000;
/// Multiple of every attach address: the page size here.
pub const SHMLBA: usize = 4096;

/// shmctl: keep the pages in memory.
pub const SHM_LOCK: i32 = 11;
/// shmctl: let the pages go again.
pub const SHM_UNLOCK: i32 = 12;
/// shmctl: state by index.
pub const SHM_STAT: i32 = 13;
/// shmctl: usage of the system.
pub const SHM_INFO: i32 = 14;
/// shmctl: state by index, without a permission check.
pub const SHM_STAT_ANY: i32 = 15;

/// Mode bit: destroyed at the last detach.
pub const SHM_DEST: u32 = 0o1000;
/// Mode bit: pages are kept in memory.
pub const SHM_LOCKED: u32 = 0o2000;

/// `struct shmid64_ds`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Shmid {
    /// Permission.
    pub perm: IpcPerm,
    /// Size as asked for, bytes.
    pub segsz: u64,
    /// Time of the last shmat, seconds.
    pub atime: i64,
    /// Time of the last shmdt, seconds.
    pub dtime: i64,
    /// Time of creation or the last IPC_SET, seconds.
    pub ctime: i64,
    /// Creator's process.
    pub cpid: i32,
    /// Process of the last shmat or shmdt.
    pub lpid: i32,
    /// Attachments.
    pub nattch: u64,
    /// Unused.
    pub unused4: u64,
    /// Unused.
    pub unused5: u64,
}
const _: () = assert!(size_of::<Shmid>() == 112);

/// `struct shminfo64`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Shminfo {
    /// Longest segment, bytes.
    pub shmmax: u64,
    /// Shortest segment: 1.
    pub shmmin: u64,
    /// Segments.
    pub shmmni: u64,
    /// Segments a process may attach; as many as there may be.
    pub shmseg: u64,
    /// Pages in all.
    pub shmall: u64,
    /// Unused.
    pub unused: [u64; 4],
}
const _: () = assert!(size_of::<Shminfo>() == 72);

impl Shminfo {
    /// What IPC_INFO tells. kernel: shmctl_ipc_info().
    pub fn of(limits: &Limits) -> Shminfo {
        let shmmni = limits.shmmni.cast_unsigned();
        let (shmmax, shmall) = (limits.shmmax, limits.shmall);
        Shminfo { shmmax, shmmin: 1, shmmni, shmseg: shmmni, shmall, unused: [0; 4] }
    }
}

/// `struct shm_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ShmInfo {
    /// Segments in use.
    pub used_ids: i32,
    /// Padding.
    pub pad: i32,
    /// Pages of all segments.
    pub shm_tot: u64,
    /// Of these, in memory.
    pub shm_rss: u64,
    /// Of these, swapped.
    pub shm_swp: u64,
    /// Unused.
    pub swap_attempts: u64,
    /// Unused.
    pub swap_successes: u64,
}
const _: () = assert!(size_of::<ShmInfo>() == 48);
