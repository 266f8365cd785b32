//! The System V calls as libc has them, for the commands that play programs: errno is an `io::Error`.

use std::io;

/// A type and `N` bytes of text.
#[repr(C)]
pub(crate) struct Message<const N: usize> {
    /// The type.
    pub(crate) mtype: i64,
    /// The text.
    pub(crate) text: [u8; N],
}

impl<const N: usize> Message<N> {
    /// An empty one.
    pub(crate) fn new(mtype: i64) -> Message<N> {
        Message { mtype, text: [0; N] }
    }
}

unsafe extern "C" {
    fn semtimedop(id: i32, sops: *mut libc::sembuf, count: usize, timeout: *const libc::timespec) -> i32;
}

fn number(value: i32) -> io::Result<i32> {
    if value == -1 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// Whether a call failed with this errno.
pub(crate) fn failed<T>(result: &io::Result<T>, errno: i32) -> bool {
    result.as_ref().err().and_then(io::Error::raw_os_error) == Some(errno)
}

/// One operation of semop(2).
pub(crate) fn sop(at: usize, change: i16, flags: i32) -> libc::sembuf {
    libc::sembuf { sem_num: at as u16, sem_op: change, sem_flg: flags as i16 }
}

/// semtimedop(2); without a time, for as long as it takes.
pub(crate) fn semop(id: i32, sops: &mut [libc::sembuf], milliseconds: Option<i64>) -> io::Result<()> {
    let time = milliseconds.map(|ms| libc::timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the operations and the time outlive the call.
    number(unsafe { semtimedop(id, sops.as_mut_ptr(), sops.len(), time) }).map(drop)
}

/// semget(2).
pub(crate) fn semget(key: i32, count: i32, flags: i32) -> io::Result<i32> {
    // SAFETY: it takes numbers.
    number(unsafe { libc::semget(key, count, flags) })
}

/// semctl(2) with a number.
pub(crate) fn semctl(id: i32, at: usize, command: i32, value: i32) -> io::Result<i32> {
    // SAFETY: the commands used with this function take a number or nothing.
    number(unsafe { libc::semctl(id, at as i32, command, value) })
}

/// semctl(2) GETALL: the values of a set of `count` semaphores.
pub(crate) fn values(id: i32, count: usize) -> io::Result<Vec<u16>> {
    let mut all = vec![0u16; 32_000];
    // SAFETY: no set is larger than that.
    number(unsafe { libc::semctl(id, 0, libc::GETALL, all.as_mut_ptr()) })?;
    all.truncate(count);
    Ok(all)
}

/// msgget(2).
pub(crate) fn msgget(key: i32, flags: i32) -> io::Result<i32> {
    // SAFETY: it takes numbers.
    number(unsafe { libc::msgget(key, flags) })
}

/// msgsnd(2) of the first bytes of the text.
pub(crate) fn msgsnd<const N: usize>(
    id: i32,
    message: &Message<N>,
    len: usize,
    flags: i32,
) -> io::Result<()> {
    // SAFETY: the message has a text of N bytes.
    number(unsafe { libc::msgsnd(id, std::ptr::from_ref(message).cast(), len.min(N), flags) }).map(drop)
}

/// msgrcv(2); returns the length.
pub(crate) fn msgrcv<const N: usize>(
    id: i32,
    message: &mut Message<N>,
    mtype: i64,
    flags: i32,
) -> io::Result<usize> {
    // SAFETY: the message has room for N bytes.
    let got = unsafe { libc::msgrcv(id, std::ptr::from_mut(message).cast(), N, mtype, flags) };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

/// msgctl(2) IPC_STAT: messages and bytes.
pub(crate) fn queue_state(id: i32) -> io::Result<(u64, u64)> {
    // SAFETY: a structure of numbers may be zero.
    let mut state: libc::msqid_ds = unsafe { std::mem::zeroed() };
    // SAFETY: the structure outlives the call.
    number(unsafe { libc::msgctl(id, libc::IPC_STAT, &raw mut state) })?;
    Ok((state.msg_qnum, state.__msg_cbytes))
}

/// shmget(2).
pub(crate) fn shmget(key: i32, size: usize, flags: i32) -> io::Result<i32> {
    // SAFETY: it takes numbers.
    number(unsafe { libc::shmget(key, size, flags) })
}

/// shmctl(2) IPC_STAT: attachments.
pub(crate) fn attached(id: i32) -> io::Result<u64> {
    // SAFETY: a structure of numbers may be zero.
    let mut state: libc::shmid_ds = unsafe { std::mem::zeroed() };
    // SAFETY: the structure outlives the call.
    number(unsafe { libc::shmctl(id, libc::IPC_STAT, &raw mut state) })?;
    Ok(state.shm_nattch)
}

/// A segment attached here; dropping it detaches it.
pub(crate) struct Attached(*mut libc::c_void);

impl Attached {
    /// shmat(2).
    pub(crate) fn new(id: i32, flags: i32) -> io::Result<Attached> {
        // SAFETY: the kernel chooses where.
        let at = unsafe { libc::shmat(id, std::ptr::null(), flags) };
        if at as isize == -1 { Err(io::Error::last_os_error()) } else { Ok(Attached(at)) }
    }

    /// Its first word.
    pub(crate) fn words(&self) -> *mut u64 {
        self.0.cast()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // SAFETY: it was attached there, and nothing refers to it any more.
        unsafe { libc::shmdt(self.0) };
    }
}

/// The three mechanisms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A queue.
    Msg,
    /// A set.
    Sem,
    /// A segment.
    Shm,
}

impl Kind {
    /// All.
    pub(crate) const ALL: [Kind; 3] = [Kind::Msg, Kind::Sem, Kind::Shm];

    /// Its word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Msg => "queue",
            Kind::Sem => "set",
            Kind::Shm => "segment",
        }
    }

    /// msgget, semget of one semaphore, shmget of a page.
    pub(crate) fn get(self, key: i32, flags: i32) -> io::Result<i32> {
        match self {
            Kind::Msg => msgget(key, flags),
            Kind::Sem => semget(key, 1, flags),
            Kind::Shm => shmget(key, 4096, flags),
        }
    }

    /// IPC_RMID.
    pub(crate) fn remove(self, id: i32) -> io::Result<()> {
        let done = match self {
            // SAFETY: IPC_RMID reads no memory.
            Kind::Msg => unsafe { libc::msgctl(id, libc::IPC_RMID, std::ptr::null_mut()) },
            // SAFETY: IPC_RMID reads no memory.
            Kind::Sem => unsafe { libc::semctl(id, 0, libc::IPC_RMID) },
            // SAFETY: IPC_RMID reads no memory.
            Kind::Shm => unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) },
        };
        number(done).map(drop)
    }

    /// How many objects there are: MSG_INFO, SEM_INFO, SHM_INFO.
    pub(crate) fn used(self) -> io::Result<i32> {
        let mut words = [0i32; 32];
        let done = match self {
            // SAFETY: struct msginfo has 32 bytes, and there are 128.
            Kind::Msg => unsafe { libc::msgctl(0, 12, words.as_mut_ptr().cast()) },
            // SAFETY: struct seminfo has 40 bytes.
            Kind::Sem => unsafe { libc::semctl(0, 0, 19, words.as_mut_ptr()) },
            // SAFETY: struct shm_info has 48 bytes.
            Kind::Shm => unsafe { libc::shmctl(0, 14, words.as_mut_ptr().cast()) },
        };
        number(done)?;
        // msgpool, semusz and used_ids.
        Ok(match self {
            Kind::Msg | Kind::Shm => words[0],
            Kind::Sem => words[7],
        })
    }
}
