//! Message queues: flags, commands, structures. msgop(2), msgctl(2).

use crate::ipc::IpcPerm;
use crate::limits::{Limits, int};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// msgrcv: truncate a message that is too long.
pub const MSG_NOERROR: i32 = 0o10000;
/// msgrcv: the first message whose type is *not* msgtyp.
pub const MSG_EXCEPT: i32 = 0o20000;
/// msgrcv: copy the message at index msgtyp, leave it queued.
pub const MSG_COPY: i32 = 0o40000;

/// msgctl: state by index.
pub const MSG_STAT: i32 = 11;
/// msgctl: usage of the system.
pub const MSG_INFO: i32 = 12;
/// msgctl: state by index, without a permission check.
pub const MSG_STAT_ANY: i32 = 13;

/// `struct msqid64_ds`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Msqid {
    /// Permission.
    pub perm: IpcPerm,
    /// Time of the last msgsnd, seconds.
    pub stime: i64,
    /// Time of the last msgrcv, seconds.
    pub rtime: i64,
    /// Time of creation or the last IPC_SET, seconds.
    pub ctime: i64,
    /// Bytes queued.
    pub cbytes: u64,
    /// Messages queued.
    pub qnum: u64,
    /// Bytes allowed.
    pub qbytes: u64,
    /// Process of the last msgsnd.
    pub lspid: i32,
    /// Process of the last msgrcv.
    pub lrpid: i32,
    /// Unused.
    pub unused4: u64,
    /// Unused.
    pub unused5: u64,
}
const _: () = assert!(size_of::<Msqid>() == 120);

/// `struct msginfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Msginfo {
    /// IPC_INFO: a constant; MSG_INFO: queues in use.
    pub msgpool: i32,
    /// IPC_INFO: a constant; MSG_INFO: messages queued.
    pub msgmap: i32,
    /// Longest message.
    pub msgmax: i32,
    /// Default bytes in a queue.
    pub msgmnb: i32,
    /// Queues.
    pub msgmni: i32,
    /// A constant.
    pub msgssz: i32,
    /// IPC_INFO: a constant; MSG_INFO: bytes queued.
    pub msgtql: i32,
    /// A constant.
    pub msgseg: u16,
    /// Padding.
    pub pad: u16,
}
const _: () = assert!(size_of::<Msginfo>() == 32);

impl Msginfo {
    /// What IPC_INFO tells. kernel: msgctl_info().
    pub fn of(limits: &Limits) -> Msginfo {
        // MSGPOOL, MSGMAP and MSGTQL of <linux/msg.h>.
        let (msgpool, msgmap, msgtql) = (512_000, 16384, 16384);
        Msginfo {
            msgpool,
            msgmap,
            msgtql,
            msgmax: int(limits.msgmax),
            msgmnb: int(limits.msgmnb),
            msgmni: int(limits.msgmni),
            msgssz: MSGSSZ,
            msgseg: MSGSEG,
            pad: 0,
        }
    }

    /// MSG_INFO: queues in use, messages and bytes in all of them.
    pub fn in_use(self, queues: usize, messages: u64, bytes: u64) -> Msginfo {
        let [msgmap, msgtql] = [messages, bytes].map(|count| int(count.cast_signed()));
        Msginfo { msgpool: queues as i32, msgmap, msgtql, ..self }
    }
}

/// `MSGSSZ`: a constant that IPC_INFO reports.
pub const MSGSSZ: i32 = 16;
/// `MSGSEG`: a constant that IPC_INFO reports.
pub const MSGSEG: u16 = 0xffff;
