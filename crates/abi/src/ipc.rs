//! What the three System V mechanisms share: keys, identifiers, permission. svipc(7); kernel: ipc/util.c.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A rendezvous key, `key_t`.
pub type Key = i32;

/// An identifier: index + 32768 × sequence.
pub type IpcId = i32;

/// The key that always makes a new object.
pub const IPC_PRIVATE: Key = 0;

/// Create the object if the key has none.
pub const IPC_CREAT: i32 = 0o1000;
/// With [`IPC_CREAT`]: fail if the key has an object.
pub const IPC_EXCL: i32 = 0o2000;
/// Fail instead of sleeping.
pub const IPC_NOWAIT: i32 = 0o4000;

/// Remove the object.
pub const IPC_RMID: i32 = 0;
/// Set owner, group, mode (and a queue's `msg_qbytes`).
pub const IPC_SET: i32 = 1;
/// Read the object's state.
pub const IPC_STAT: i32 = 2;
/// Read the limits.
pub const IPC_INFO: i32 = 3;
/// Command flag of the old `*ctl` interface, which 64-bit libcs still pass on.
pub const IPC_64: i32 = 0x100;

/// How many identifiers a kind has: indexes 0 to 32767 (`IPCMNI`).
pub const IPCMNI: usize = 32768;
/// How far an identifier's sequence is shifted (`IPCMNI_SHIFT`).
pub const SEQ_SHIFT: u32 = 15;
/// One more than the largest sequence (`INT_MAX >> IPCMNI_SHIFT`, `ipcid_seq_max`).
pub const SEQ_MAX: u32 = (i32::MAX as u32) >> SEQ_SHIFT;
/// New identifiers cycle through at least so many indexes before the sequence rises (`ipc_min_cycle`).
pub const MIN_CYCLE: usize = 64;

/// Permission bit: read.
pub const READ: u32 = 0o4;
/// Permission bit: write ("alter" for semaphores).
pub const WRITE: u32 = 0o2;

/// Which of the System V mechanisms: what has keys, identifiers and a place in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Kind {
    /// Message queues.
    Msg = 0,
    /// Semaphore sets.
    Sem = 1,
    /// Shared memory segments.
    Shm = 2,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Kind; 3] = [Kind::Msg, Kind::Sem, Kind::Shm];

    /// The kind with this number.
    pub fn from_u32(n: u32) -> Option<Kind> {
        Kind::ALL.get(n as usize).copied()
    }

    /// The mechanism's short word: `msg`, `sem`, `shm`.
    pub fn word(self) -> &'static str {
        ["msg", "sem", "shm"][self as usize]
    }
}

/// Returns the index part of an identifier (0 to 32767). Negative identifiers have none.
pub fn index_of(id: IpcId) -> Option<usize> {
    usize::try_from(id).ok().map(|id| id & (IPCMNI - 1))
}

/// Makes an identifier from its parts.
pub fn make_id(index: usize, seq: u32) -> IpcId {
    (seq << SEQ_SHIFT) as i32 + (index & (IPCMNI - 1)) as i32
}

/// `struct ipc64_perm`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IpcPerm {
    /// Key given to the get call.
    pub key: Key,
    /// Owner's user.
    pub uid: u32,
    /// Owner's group.
    pub gid: u32,
    /// Creator's user.
    pub cuid: u32,
    /// Creator's group.
    pub cgid: u32,
    /// Permission bits, and for segments `SHM_DEST` and `SHM_LOCKED`.
    pub mode: u32,
    /// Sequence part of the identifier.
    pub seq: u16,
    /// Padding.
    pub pad2: u16,
    /// Padding.
    pub pad3: u32,
    /// Unused.
    pub unused1: u64,
    /// Unused.
    pub unused2: u64,
}
const _: () = assert!(size_of::<IpcPerm>() == 48);

/// The bits of mode that `ipcperms` wants for a get call's flags: any of the three positions asks.
/// kernel: ipcperms(), ipc/util.c.
pub fn requested(flags: i32) -> u32 {
    let f = flags as u32;
    ((f >> 6) | (f >> 3) | f) & 0o7
}
