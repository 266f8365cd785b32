//! Operation numbers, the only place where they stand.

macro_rules! ops {
    ($($(#[$doc:meta])* $name:ident = $n:literal,)*) => {
        /// What a request asks for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Op { $($(#[$doc])* $name = $n,)* }

        impl Op {
            /// The operation with this number.
            pub fn from_u32(n: u32) -> Option<Op> {
                match n { $($n => Some(Op::$name),)* _ => None }
            }
        }
    };
}

ops! {
    /// First message of a process image: [`crate::request::Hello`] → [`crate::reply::Welcome`] and the directory's descriptor.
    Hello = 1,
    /// One-way: the descriptor beside it is a further connection (a forked child's, or one for a call that sleeps).
    Adopt = 2,
    /// msgget, semget, shmget: [`crate::request::Get`] → value: the identifier.
    Get = 3,
    /// Map an object: [`crate::request::Open`] → [`crate::reply::Opened`] and, if it may be mapped, a descriptor.
    Open = 4,
    /// IPC_RMID: [`crate::request::Object`].
    Remove = 5,
    /// IPC_SET: [`crate::request::Set`].
    Set = 6,
    /// IPC_STAT, *_STAT, *_STAT_ANY: [`crate::request::Stat`] → value: 0 or the identifier; body: the kernel structure.
    Stat = 7,
    /// IPC_INFO, *_INFO: [`crate::request::Info`] → value: highest index in use; body: the kernel structure.
    Info = 8,
    /// shmat: [`crate::request::Attach`] → value: attachment token; [`crate::reply::Attached`] and a descriptor.
    Attach = 9,
    /// One-way: shmdt, and the undoing of an attach that could not be mapped: [`crate::request::Detach`].
    Detach = 10,
    /// SHM_LOCK, SHM_UNLOCK: [`crate::request::ShmLock`].
    ShmLock = 11,
    /// One-way, before fork by a process with attachments: [`crate::request::Fork`].
    Fork = 12,
    /// One-way, after fork, by the parent: [`crate::request::Forked`].
    Forked = 13,
    /// One-way, after fork, by the child on its parent's connection: [`crate::request::Fork`].
    Born = 14,
    /// One-way: this image is about to be replaced; hanging up confirms it: [`crate::request::Exec`].
    Exec = 15,
    /// One-way: exec failed, the image goes on.
    ExecFailed = 16,
    /// Answered when the death of this process, if it is dead, is settled: [`crate::request::Settle`].
    Settle = 17,
    /// A descriptor that reads like a /proc file: [`crate::request::Proc`].
    Proc = 18,
    /// semop on the caller's behalf: [`crate::request::SemOp`], then `nsops` × `Sembuf`.
    SemOp = 19,
    /// semctl's value commands on the caller's behalf: [`crate::request::SemCtl`], then values (u16) for SETALL;
    /// → value: the result; body: values (u16) for GETALL.
    SemCtl = 20,
    /// msgsnd on the caller's behalf: [`crate::request::MsgSend`], then the text.
    MsgSend = 21,
    /// msgrcv on the caller's behalf: [`crate::request::MsgReceive`] → value: bytes; body: mtype (i64), then the text.
    MsgReceive = 22,
    /// Give up the sleeping call on this connection; it answers now, with what happened or `EINTR`.
    Cancel = 23,
    /// An object's lock does not come free: [`crate::request::Stuck`]; answered after the broker has looked.
    Stuck = 24,
    /// Set a limit: [`crate::request::SetLimit`].
    SetLimit = 25,
    /// All limits → body: `Limits`.
    Limits = 26,
    /// One object for listings, by index: [`crate::request::Detail`] → [`crate::reply::Detail`]; `ENOENT` past the highest index.
    Detail = 27,
    /// One-way: the process unmapped a removed object: [`crate::request::Object`].
    Close = 28,
    /// An object's region is too small for what it must hold (undo rows, sleepers): [`crate::request::Object`].
    Grow = 29,
    /// End the namespace's broker when nobody needs it (`ring3 stop`).
    Shutdown = 30,
    /// An attachment's mapping was cut, or mapped once more: [`crate::request::Detach`] names it → value: token of the new one.
    Split = 31,
    /// A mapping of an attachment was replaced by a new one of the same segment: [`crate::request::Detach`] names the old one → value: token of the
    /// new one; `EINVAL` if the segment went with the old one.
    Renew = 32,
    /// One-way, before Fork: tokens (u64) of attachments that the child does not get.
    Keep = 33,
    /// A life for this process, the same each time → value: its number; the descriptor of its file, to be mapped for writing.
    Life = 34,
    /// A file of lives: [`crate::request::Lives`] → a descriptor for reading.
    Lives = 35,
    /// Answered when those with adjustments in a set that have ended are settled: [`crate::request::Object`].
    SettleSet = 36,
    /// The process's adjustments end here, unless others share them: unshare(CLONE_SYSVSEM).
    Unshare = 37,
    /// The sender's IPC namespace of the kernel's is one with the broker's own from now on (`ring3 run --in`): its processes are in the root
    /// namespace; only those of the sender's own user unless the sender may administer it.
    Join = 38,
    /// One-way: there is something in the sender's ledger that should not wait until somebody asks.
    Read = 39,
}
