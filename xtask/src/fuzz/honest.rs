//! Those who mind their own business: pairs that wait for each other, and one who asks the broker; each on objects of its own, with mode 0600.

use crate::ipc::{self, Attached, Kind, Message, sop};
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::Instant;

/// What they do.
pub(super) const WORK: [&str; 3] = ["two on a set", "two on two queues", "one who asks the broker"];

/// One of them, as the conductor sees it.
#[repr(C, align(64))]
#[derive(Debug)]
pub(super) struct Desk {
    /// Rounds, quiet and under attack.
    pub(super) rounds: [AtomicU64; 2],
    /// The longest of each, nanoseconds.
    pub(super) longest: [AtomicU64; 2],
    /// The errno of the call that failed.
    pub(super) failed: AtomicU32,
}

/// What all share.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Room {
    /// 1 under attack.
    pub(super) attacked: AtomicU32,
    pub(super) desks: [Desk; WORK.len()],
}

impl Room {
    /// A new one, for this process and its children.
    pub(super) fn new() -> io::Result<&'static Room> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Room>(), protection, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping is so large, is zero, and stays to the end.
        Ok(unsafe { &*at.cast::<Room>() })
    }
}

/// Objects of one's own.
#[derive(Clone, Copy, Debug)]
struct Own {
    set: i32,
    queues: [i32; 2],
}

/// Starts everybody; the processes.
pub(super) fn start(room: &'static Room) -> io::Result<Vec<i32>> {
    let queue = || ipc::msgget(libc::IPC_PRIVATE, 0o600);
    let own = Own { set: ipc::semget(libc::IPC_PRIVATE, 2, 0o600)?, queues: [queue()?, queue()?] };
    let mut pids = Vec::new();
    for at in 0..WORK.len() {
        pids.push(super::fork(|| work(room, at, own))?);
        if at < 2 {
            pids.push(super::fork(|| partner(at, own))?);
        }
    }
    Ok(pids)
}

/// Rounds for ever; a failure ends them.
fn work(room: &Room, at: usize, own: Own) -> io::Result<()> {
    let desk = &room.desks[at];
    loop {
        let (attacked, began) = (room.attacked.load(SeqCst) as usize, Instant::now());
        if let Err(why) = round(at, own, true) {
            desk.failed.store(why.raw_os_error().unwrap_or(libc::EIO) as u32, SeqCst);
            return Err(why);
        }
        desk.longest[attacked & 1].fetch_max(began.elapsed().as_nanos() as u64, SeqCst);
        desk.rounds[attacked & 1].fetch_add(1, SeqCst);
    }
}

fn partner(at: usize, own: Own) -> io::Result<()> {
    loop {
        round(at, own, false)?;
    }
}

fn round(at: usize, own: Own, first: bool) -> io::Result<()> {
    match at {
        0 => {
            let (mine, other) = if first { (0, 1) } else { (1, 0) };
            if first {
                ipc::semop(own.set, &mut [sop(other, 1, 0)], None)?;
                return ipc::semop(own.set, &mut [sop(mine, -1, 0)], None);
            }
            ipc::semop(own.set, &mut [sop(mine, -1, libc::SEM_UNDO), sop(mine, 0, 0)], None)?;
            ipc::semop(own.set, &mut [sop(mine, 1, libc::SEM_UNDO), sop(mine, -1, 0), sop(other, 1, 0)], None)
        }
        1 => {
            let mut message = Message::<64>::new(3);
            let [there, back] = if first { own.queues } else { [own.queues[1], own.queues[0]] };
            if first {
                ipc::msgsnd(there, &message, 64, 0)?;
            }
            ipc::msgrcv(back, &mut message, 0, 0)?;
            if first { Ok(()) } else { ipc::msgsnd(there, &message, 64, 0) }
        }
        _ => {
            let id = ipc::shmget(libc::IPC_PRIVATE, 4096, 0o600)?;
            let attached = Attached::new(id, 0)?;
            let state = ipc::attached(id)?;
            drop(attached);
            Kind::Shm.remove(id)?;
            if state == 1 { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EPROTO)) }
        }
    }
}
