//! The bodies of requests. Field order leaves no padding, which `IntoBytes` checks.

use crate::claim::{Number, Numbered, OwnPid};
use core::ffi::CStr;
use ring3_abi::Kind;
pub use ring3_abi::limits::Limit;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The first bytes of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Head {
    /// [`crate::MAGIC`].
    pub magic: u32,
    /// An [`crate::Op`].
    pub op: u32,
    /// The calling thread, for credentials that are a thread's own (groups, capabilities).
    pub tid: u32,
    /// Given back in the reply.
    pub tag: u32,
}

macro_rules! bodies {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $ty:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub struct $name { $($(#[$fdoc])* pub $field: $ty,)* }
    )*};
}

bodies! {
    /// A process image introduces itself.
    Hello {
        /// Random number of this image: tells a reconnect from a new image after exec.
        image: u64,
    }
    /// get.
    Get {
        /// Of which kind it is.
        kind: Number<Kind>,
        /// The key.
        key: i32,
        /// The call's flags: IPC_CREAT, IPC_EXCL, mode, SHM_*.
        flags: i32,
        /// 1: the sender would make objects by itself from now on (`reply::Lease`).
        lease: u32,
        /// nsems or size; 0 for queues. What the caller passed, unchecked (semget's nsems sign-extended).
        size: u64,
    }
    /// An object.
    Object {
        /// Of which kind it is.
        kind: Number<Kind>,
        /// Its identifier.
        id: i32,
    }
    /// A table of an object is full.
    Grow {
        /// Of which kind it is: msg or sem.
        kind: Number<Kind>,
        /// Its identifier.
        id: i32,
        /// The version that the directory gave the object when the table was found full: of the processes that find it full at the same time one is heard.
        version: u64,
    }
    /// Map an object.
    Open {
        /// Of which kind it is: msg or sem.
        kind: Number<Kind>,
        /// Its identifier.
        id: i32,
    }
    /// IPC_SET.
    Set {
        /// Of which kind it is.
        kind: Number<Kind>,
        /// Its identifier.
        id: i32,
        /// New owner.
        uid: u32,
        /// New group.
        gid: u32,
        /// New mode; the low nine bits count.
        mode: u32,
        /// Zero.
        pad: u32,
        /// New msg_qbytes; queues only.
        qbytes: u64,
    }
    /// State of an object.
    Stat {
        /// Of which kind it is.
        kind: Number<Kind>,
        /// Identifier, or index for the *_STAT commands.
        id: i32,
        /// How it is named.
        by: Number<StatBy>,
    }
    /// Limits or usage of a kind.
    Info {
        /// Of which kind it is.
        kind: Number<Kind>,
        /// 0: IPC_INFO; 1: MSG_INFO, SEM_INFO, SHM_INFO.
        usage: u32,
    }
    /// shmat.
    Attach {
        /// The segment.
        id: i32,
        /// shmat's flags; SHM_RDONLY and SHM_EXEC matter for permission.
        flags: i32,
        /// 1: the sender would attach it by itself the next time (`reply::Attached::version`).
        again: u32,
    }
    /// shmdt.
    Detach {
        /// What the attach answered.
        token: u64,
        /// 1: as if it had never been (the mapping failed): no dtime, no lpid.
        undo: u32,
        /// The note's number among those that the sender's life counts; 0: it is not counted.
        note: u32,
    }
    /// SHM_LOCK, SHM_UNLOCK.
    ShmLock {
        /// The segment.
        id: i32,
        /// 1: lock.
        lock: u32,
    }
    /// A fork, named by its token.
    Fork {
        /// Random.
        token: u64,
        /// What the child has together with its parent, `SHARES_*`. Its parent tells.
        shares: u32,
        /// The note's number, as of Detach. Its parent tells.
        note: u32,
    }
    /// A fork's outcome.
    Forked {
        /// Its token.
        token: u64,
        /// The child; 0 if there is none.
        pid: OwnPid,
        /// Zero.
        pad: u32,
    }
    /// An exec.
    Exec {
        /// 1: the agent's file is not to be seen, so the program will run without it. Only for the broker's trace.
        alone: u32,
    }
    /// Wait for a death to be settled.
    Settle {
        /// The process that was reaped.
        pid: OwnPid,
    }
    /// A file of lives.
    Lives {
        /// Its number (`engine::life::place`).
        file: u32,
    }
    /// A file of /proc.
    Proc {
        /// Which one.
        file: Number<ProcFile>,
        /// Status flags, as of open(2): the access mode, O_APPEND, O_NONBLOCK.
        flags: u32,
    }
    /// semop by the broker. `nsops` operations follow.
    SemOp {
        /// The set.
        id: i32,
        /// How many operations follow.
        nsops: u32,
        /// When to give up, nanoseconds of CLOCK_MONOTONIC; u64::MAX never.
        deadline: u64,
    }
    /// semctl by the broker: GETVAL, SETVAL, GETALL, SETALL, GETPID, GETNCNT, GETZCNT.
    SemCtl {
        /// The set.
        id: i32,
        /// Which semaphore.
        semnum: i32,
        /// Command.
        cmd: i32,
        /// SETVAL's value.
        val: i32,
    }
    /// msgsnd by the broker. The text follows.
    MsgSend {
        /// The queue.
        id: i32,
        /// msgsnd's flags.
        flags: i32,
        /// Type.
        mtype: i64,
    }
    /// msgrcv by the broker.
    MsgReceive {
        /// The queue.
        id: i32,
        /// msgrcv's flags.
        flags: i32,
        /// Wished type.
        msgtyp: i64,
        /// Longest text wanted.
        size: u64,
    }
    /// A lock that does not come free.
    Stuck {
        /// Of which kind it is.
        kind: Number<Kind>,
        /// The object.
        id: i32,
        /// The process that holds it, as the lock word says.
        holder: u32,
    }
    /// A new limit.
    SetLimit {
        /// Which one.
        limit: Number<Limit>,
        /// Zero.
        pad: u32,
        /// Its value; unsigned limits as their bits.
        value: i64,
    }
    /// An object for listings.
    Detail {
        /// Of which kind it is.
        kind: Number<Kind>,
        /// Index: the first object at or above it is answered.
        index: u32,
    }
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $enum:ident { $($(#[$vdoc:meta])* $name:ident = $n:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum $enum { $($(#[$vdoc])* $name = $n,)* }

        impl $enum {
            /// All values, in order.
            pub const ALL: &'static [$enum] = &[$($enum::$name,)*];
        }

        impl Numbered for $enum {
            fn with_number(n: u32) -> Option<$enum> {
                match n { $($n => Some($enum::$name),)* _ => None }
            }

            fn number(self) -> u32 {
                self as u32
            }
        }
    )*};
}

numbers! {
    /// How [`Stat`] names an object and whether permission is checked.
    StatBy {
        /// IPC_STAT: by identifier, read permission wanted.
        Id = 0,
        /// *_STAT: by index, read permission wanted.
        Index = 1,
        /// *_STAT_ANY: by index, no permission wanted.
        IndexAny = 2,
    }
}

macro_rules! path {
    (Sysvipc, $file:literal) => {
        path!(concat!("/proc/sysvipc/", $file, "\0"))
    };
    (Kernel, $file:literal) => {
        path!(concat!("/proc/sys/kernel/", $file, "\0"))
    };
    ($text:expr) => {
        match CStr::from_bytes_with_nul($text.as_bytes()) {
            Ok(path) => path,
            Err(_) => c"",
        }
    };
}

macro_rules! files {
    ($($name:ident = $n:literal, $folder:ident, $file:literal;)*) => {
        /// The files of /proc that a namespace has of its own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum ProcFile { $(#[doc = $file] $name = $n,)* }

        impl ProcFile {
            /// All files, in the order of their numbers.
            pub const ALL: &'static [ProcFile] = &[$(ProcFile::$name,)*];

            /// The folder that it is in.
            pub const fn folder(self) -> ProcFolder {
                match self { $(ProcFile::$name => ProcFolder::$folder,)* }
            }

            /// Its path, where /proc is mounted at its usual place.
            pub const fn path(self) -> &'static CStr {
                match self { $(ProcFile::$name => path!($folder, $file),)* }
            }

            /// Its name in that folder.
            pub const fn name(self) -> &'static str {
                match self { $(ProcFile::$name => $file,)* }
            }
        }

        impl Numbered for ProcFile {
            fn with_number(n: u32) -> Option<ProcFile> {
                match n { $($n => Some(ProcFile::$name),)* _ => None }
            }

            fn number(self) -> u32 {
                self as u32
            }
        }
    };
}

/// The folders of /proc that have files of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcFolder {
    /// /proc/sysvipc: the objects of each kind. They may only be read.
    Sysvipc,
    /// /proc/sys/kernel: the limits.
    Kernel,
}

files! {
    SysvipcMsg = 0, Sysvipc, "msg";
    SysvipcSem = 1, Sysvipc, "sem";
    SysvipcShm = 2, Sysvipc, "shm";
    Msgmax = 3, Kernel, "msgmax";
    Msgmnb = 4, Kernel, "msgmnb";
    Msgmni = 5, Kernel, "msgmni";
    Sem = 6, Kernel, "sem";
    Shmmax = 7, Kernel, "shmmax";
    Shmall = 8, Kernel, "shmall";
    Shmmni = 9, Kernel, "shmmni";
    ShmRmidForced = 10, Kernel, "shm_rmid_forced";
    AutoMsgmni = 11, Kernel, "auto_msgmni";
    MsgNextId = 12, Kernel, "msg_next_id";
    SemNextId = 13, Kernel, "sem_next_id";
    ShmNextId = 14, Kernel, "shm_next_id";
}

impl ProcFile {
    /// Whether it is of limits. The others are tables of objects.
    pub fn is_limit(self) -> bool {
        self.folder() == ProcFolder::Kernel
    }

    /// The limits that stand in it, in their order there.
    pub fn limits(self) -> impl Iterator<Item = Limit> {
        let file = if self.folder() == ProcFolder::Kernel { self.name() } else { "" };
        Limit::in_file(file)
    }
}

/// A child's memory is its parent's: it inherits no attachments. (CLONE_VM.)
pub const SHARES_MEMORY: u32 = 1;
/// A child's adjustments are its parent's. (CLONE_SYSVSEM.)
pub const SHARES_UNDO: u32 = 2;
/// Not shared is the connection: it ends before the fork is done, and the token alone names the fork.
pub const NO_CONNECTION: u32 = 4;
