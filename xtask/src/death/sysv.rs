//! The System V calls as libc has them, for the processes of the harness.

use super::trace::end_mark;
use std::io;

/// How one call ended: its result or errno, and what it received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The result, or minus errno.
    pub(super) result: i64,
    /// The type of a received message.
    pub(super) mtype: i64,
    /// `digest` of a received text.
    pub(super) digest: u64,
}

impl Outcome {
    /// Bytes of one.
    pub(super) const LEN: usize = 24;

    /// A result without a message.
    pub(super) fn plain(result: i64) -> Outcome {
        Outcome { result, mtype: 0, digest: 0 }
    }

    /// Packs one for a pipe.
    pub(super) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.result.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.mtype.to_ne_bytes());
        bytes[16..].copy_from_slice(&self.digest.to_ne_bytes());
        bytes
    }

    /// Unpacks one.
    pub(super) fn from_bytes(bytes: [u8; Self::LEN]) -> Outcome {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            word
        };
        Outcome {
            result: i64::from_ne_bytes(word(0)),
            mtype: i64::from_ne_bytes(word(8)),
            digest: u64::from_ne_bytes(word(16)),
        }
    }
}

/// Turns a libc result into a result or minus errno. A stepped process has finished its operation here.
fn result(value: i64) -> i64 {
    end_mark();
    if value == -1 { -i64::from(io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { value }
}

/// Turns minus errno into an error that says which call it was.
pub(super) fn must(what: &str, value: i64) -> Result<i64, String> {
    if value < 0 {
        return Err(format!("{what}: {}", io::Error::from_raw_os_error(-value as i32)));
    }
    Ok(value)
}

/// One operation on one semaphore: number, change, undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sop(pub(super) u16, pub(super) i16, pub(super) bool);

unsafe extern "C" {
    fn semtimedop(id: i32, sops: *mut libc::sembuf, count: usize, timeout: *const libc::timespec) -> i32;
}

/// semop(2), or semtimedop(2) if there is a timeout in milliseconds.
pub(super) fn semop(id: i32, sops: &[Sop], flags: i32, timeout: Option<i64>) -> i64 {
    let mut list = [libc::sembuf { sem_num: 0, sem_op: 0, sem_flg: 0 }; 16];
    for (to, Sop(number, change, undo)) in list.iter_mut().zip(sops) {
        let undo = if *undo { libc::SEM_UNDO } else { 0 };
        *to = libc::sembuf { sem_num: *number, sem_op: *change, sem_flg: (flags | undo) as i16 };
    }
    let count = sops.len().min(list.len());
    let done = match timeout {
        // SAFETY: `count` operations stand in the list.
        None => unsafe { libc::semop(id, list.as_mut_ptr(), count) },
        Some(ms) => {
            let time = libc::timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 };
            // SAFETY: as above, and the time outlives the call.
            unsafe { semtimedop(id, list.as_mut_ptr(), count, &raw const time) }
        }
    };
    result(done.into())
}

/// semget(2).
pub(super) fn semget(key: i32, count: i32, flags: i32) -> i64 {
    // SAFETY: semget(2) takes numbers.
    result(unsafe { libc::semget(key, count, flags) }.into())
}

/// semctl(2) with a number for an argument.
pub(super) fn semctl(id: i32, number: i32, command: i32, value: i32) -> i64 {
    // SAFETY: the commands used with this function take a number or nothing.
    result(unsafe { libc::semctl(id, number, command, value) }.into())
}

/// semctl(2) GETALL and SETALL.
pub(super) fn semctl_all(id: i32, command: i32, values: &mut [u16]) -> i64 {
    // SAFETY: the slice is as long as the set; callers made it so.
    result(unsafe { libc::semctl(id, 0, command, values.as_mut_ptr()) }.into())
}

/// semctl(2) SEM_INFO: sets and semaphores in use.
pub(super) fn sem_used() -> (i32, i32) {
    let mut info = [0i32; 10];
    // SAFETY: struct seminfo is ten ints.
    unsafe { libc::semctl(0, 0, SEM_INFO, info.as_mut_ptr()) };
    (info[7], info[9])
}

/// msgget(2).
pub(super) fn msgget(key: i32, flags: i32) -> i64 {
    // SAFETY: msgget(2) takes numbers.
    result(unsafe { libc::msgget(key, flags) }.into())
}

/// The largest text that the harness sends.
pub(super) const TEXT: usize = 8192;

/// A message in memory.
#[repr(C)]
struct Message {
    mtype: i64,
    text: [u8; TEXT],
}

/// msgsnd(2) of the text that belongs to `seed`.
pub(super) fn msgsnd(id: i32, mtype: i64, seed: u64, len: usize, flags: i32) -> i64 {
    let mut message = Message { mtype, text: [0; TEXT] };
    fill(&mut message.text[..len], seed);
    send(id, &message, len, flags)
}

/// The call itself, so that a stepped process can prepare its text before.
fn send(id: i32, message: &Message, len: usize, flags: i32) -> i64 {
    // SAFETY: the message outlives the call, and `len` is at most its text.
    result(unsafe { libc::msgsnd(id, (&raw const *message).cast(), len.min(TEXT), flags) }.into())
}

/// A send that is prepared, to be carried out under the stepper.
pub(super) fn prepare_send(id: i32, mtype: i64, seed: u64, len: usize, flags: i32) -> impl FnOnce() -> i64 {
    let mut message = Box::new(Message { mtype, text: [0; TEXT] });
    fill(&mut message.text[..len], seed);
    move || send(id, &message, len, flags)
}

/// msgrcv(2), without looking at what came.
pub(super) fn receive_blind(id: i32, size: usize, wish: i64, flags: i32) -> impl FnOnce() -> i64 {
    let mut message = Box::new(Message { mtype: 0, text: [0; TEXT] });
    move || {
        // SAFETY: the text has room for `size` bytes.
        let got = unsafe { libc::msgrcv(id, (&raw mut *message).cast(), size.min(TEXT), wish, flags) };
        result(got as i64)
    }
}

/// msgrcv(2).
pub(super) fn msgrcv(id: i32, size: usize, wish: i64, flags: i32) -> Outcome {
    let mut message = Message { mtype: 0, text: [0; TEXT] };
    // SAFETY: the text has room for `size` bytes.
    let got = unsafe { libc::msgrcv(id, (&raw mut message).cast(), size.min(TEXT), wish, flags) };
    match result(got as i64) {
        errno if errno < 0 => Outcome::plain(errno),
        len => Outcome { result: len, mtype: message.mtype, digest: digest(&message.text[..len as usize]) },
    }
}

/// msgctl(2) IPC_STAT.
pub(super) fn msg_stat(id: i32) -> Result<libc::msqid_ds, i64> {
    // SAFETY: an all-zero msqid_ds is one, and the call fills it.
    let (done, stat) = unsafe {
        let mut stat: libc::msqid_ds = std::mem::zeroed();
        (libc::msgctl(id, libc::IPC_STAT, &raw mut stat), stat)
    };
    match result(done.into()) {
        0 => Ok(stat),
        errno => Err(errno),
    }
}

/// msgctl(2) IPC_SET of msg_qbytes, everything else as it is.
pub(super) fn msg_set(id: i32, qbytes: u64) -> i64 {
    prepare_set(id, qbytes)()
}

/// The same in two parts: the stepped process knows everything else already.
pub(super) fn prepare_set(id: i32, qbytes: u64) -> impl FnOnce() -> i64 {
    let stat = msg_stat(id);
    move || {
        let mut stat = match stat {
            Ok(stat) => stat,
            Err(errno) => return errno,
        };
        stat.msg_qbytes = qbytes;
        // SAFETY: the structure outlives the call.
        result(unsafe { libc::msgctl(id, libc::IPC_SET, &raw mut stat) }.into())
    }
}

/// msgctl(2) IPC_RMID.
pub(super) fn msg_remove(id: i32) -> i64 {
    // SAFETY: IPC_RMID takes no structure.
    result(unsafe { libc::msgctl(id, libc::IPC_RMID, std::ptr::null_mut()) }.into())
}

/// msgctl(2) MSG_INFO: queues, messages and bytes in use.
pub(super) fn msg_used() -> (i32, i32, i32) {
    let mut info = [0i32; 8];
    // SAFETY: struct msginfo is seven ints and a short, 32 bytes with padding.
    unsafe { libc::msgctl(0, MSG_INFO, info.as_mut_ptr().cast()) };
    (info[0], info[1], info[6])
}

/// shmget(2).
pub(super) fn shmget(key: i32, size: usize, flags: i32) -> i64 {
    // SAFETY: shmget(2) takes numbers.
    result(unsafe { libc::shmget(key, size, flags) }.into())
}

/// shmat(2) wherever there is room.
pub(super) fn shmat(id: i32, flags: i32) -> i64 {
    // SAFETY: no address is given, so nothing of ours is mapped over.
    result(unsafe { libc::shmat(id, std::ptr::null(), flags) } as i64)
}

/// shmdt(2).
pub(super) fn shmdt(at: i64) -> i64 {
    // SAFETY: the harness keeps no reference into a segment.
    result(unsafe { libc::shmdt(at as *const libc::c_void) }.into())
}

/// shmctl(2) IPC_STAT: attachments, and whether the segment ends with the last of them.
pub(super) fn shm_attached(id: i32) -> Result<(u64, bool), i64> {
    // SAFETY: an all-zero shmid_ds is one, and the call fills it.
    let (done, stat) = unsafe {
        let mut stat: libc::shmid_ds = std::mem::zeroed();
        (libc::shmctl(id, libc::IPC_STAT, &raw mut stat), stat)
    };
    match result(done.into()) {
        0 => Ok((stat.shm_nattch, stat.shm_perm.mode & SHM_DEST != 0)),
        errno => Err(errno),
    }
}

/// shmctl(2) IPC_RMID.
pub(super) fn shm_remove(id: i32) -> i64 {
    // SAFETY: IPC_RMID takes no structure.
    result(unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) }.into())
}

/// shmctl(2) SHM_INFO: segments and pages in use.
pub(super) fn shm_used() -> (i32, u64) {
    let mut info = [0u64; 8];
    // SAFETY: struct shm_info is an int (padded) and five longs.
    unsafe { libc::shmctl(0, SHM_INFO, info.as_mut_ptr().cast()) };
    (info[0] as i32, info[1])
}

/// Removes whatever is left in the namespace, by index.
pub(super) fn clear() {
    for index in 0..64 {
        let mut space = [0u64; 32];
        // SAFETY: 256 bytes are more than any of the three structures.
        let ids = unsafe {
            let at = space.as_mut_ptr();
            [
                libc::semctl(index, 0, libc::SEM_STAT, at),
                libc::msgctl(index, libc::MSG_STAT, at.cast()),
                libc::shmctl(index, SHM_STAT, at.cast()),
            ]
        };
        if ids[0] >= 0 {
            semctl(ids[0], 0, libc::IPC_RMID, 0);
        }
        if ids[1] >= 0 {
            msg_remove(ids[1]);
        }
        if ids[2] >= 0 {
            shm_remove(ids[2]);
        }
    }
}

/// The commands that libc's crate lacks on some targets; linux/sem.h, msg.h, shm.h.
const SEM_INFO: i32 = 19;
const MSG_INFO: i32 = 12;
const SHM_STAT: i32 = 13;
const SHM_DEST: u16 = 0o1000;
const SHM_INFO: i32 = 14;

/// Writes the text that belongs to a seed.
fn fill(text: &mut [u8], seed: u64) {
    let mut word = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for byte in text {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte = (word >> 56) as u8;
    }
}

/// FNV-1a.
fn digest(text: &[u8]) -> u64 {
    text.iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// Returns the digest of the text that belongs to a seed.
pub(super) fn digest_of(seed: u64, len: usize) -> u64 {
    let mut text = vec![0; len];
    fill(&mut text, seed);
    digest(&text)
}
