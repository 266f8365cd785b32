//! Replies and their bodies.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The first bytes of every reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Reply {
    /// The request's tag.
    pub tag: u32,
    /// 0, or an error number.
    pub errno: u32,
    /// The call's value; 0 unless the operation says otherwise.
    pub value: i64,
}

/// Answer to Hello.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Welcome {
    /// The caller's process number as the namespace knows it.
    pub pid: u32,
    /// The broker's process.
    pub broker: u32,
    /// Length of the directory, bytes.
    pub directory_len: u64,
    /// The life that an earlier image of this process has got and this one has not held yet; 0 none.
    pub life: u32,
    /// [`ABROAD_USERS`], [`ABROAD_PIDS`].
    pub abroad: u32,
}

/// The process is in another user namespace than the broker: ids mean something else to it, and the broker decides what it may do.
pub const ABROAD_USERS: u32 = 1;
/// The process is in a PID namespace below the broker's: it knows processes by other numbers than those in regions.
pub const ABROAD_PIDS: u32 = 2;

/// Answer to Open. Without a descriptor the object may not be mapped by this caller: the broker does its calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Opened {
    /// Where the object's range starts in the file, bytes; a multiple of the page size.
    pub offset: u64,
    /// Its length, bytes.
    pub len: u64,
    /// The directory entry's version that this answer holds for.
    pub version: u64,
    /// What the mapping allows: `ipc::READ`, or `READ | WRITE`.
    pub access: u32,
    /// Zero.
    pub pad: u32,
    /// The region's geometry, as `engine::msg::Geometry` or `engine::sem::Geometry` encodes it.
    pub geometry: [u32; 8],
}

/// Answer to Attach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Attached {
    /// Size as asked for at creation, bytes.
    pub size: u64,
    /// Page size of the file, bytes.
    pub page: u64,
    /// The version of the directory's entry for which the process may attach the segment by itself, writing so in its ledger; 0: it may not.
    pub version: u64,
}

/// What Get may answer instead of an identifier (-1): identifiers that the process may give to new objects of this kind by itself, one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Lease {
    /// The turn of the directory in which it holds.
    pub turn: u64,
    /// What all of them may hold together: semaphores, or pages of segments.
    pub room: u64,
    /// The largest size of one.
    pub largest: u64,
    /// The first identifier; each next one is one more.
    pub first: i32,
    /// How many there are.
    pub count: u32,
}

/// Answer to Detail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Detail {
    /// Index of the object.
    pub index: u32,
    /// Identifier.
    pub id: i32,
    /// Key.
    pub key: i32,
    /// Permission bits and flags.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Owner's group.
    pub gid: u32,
    /// Creator's user.
    pub cuid: u32,
    /// Creator's group.
    pub cgid: u32,
    /// msg: bytes queued; sem: semaphores; shm: size.
    pub size: u64,
    /// msg: messages queued; sem: sleepers; shm: attachments.
    pub count: u64,
    /// When it was last used, seconds; 0 never.
    pub last_use: i64,
    /// When it was made or changed, seconds.
    pub ctime: i64,
    /// Process that made it.
    pub creator: u32,
    /// Process that its lock names at this moment; 0 none.
    pub holder: u32,
    /// That process's name (comm), zero-padded.
    pub creator_name: [u8; 16],
}
