//! Everything there is in the namespace, printed and removed by the driver itself.

use super::show;
use ring3_abi::ipc::{IPC_RMID, IPC_STAT};
use ring3_abi::{msg, sem, shm};
use std::fmt::Write;
use std::ptr;

/// The queues', sets' and segments' states with their contents, one line each.
pub(crate) fn dump() -> String {
    let mut out = String::new();
    queues(&mut out);
    sets(&mut out);
    segments(&mut out);
    for word in ["msg", "sem", "shm"] {
        let table = show::file(&format!("/proc/sysvipc/{word}"));
        let _ = writeln!(out, "  {word}: {} {}", table.errno, table.text);
    }
    out
}

/// Removes all of it.
pub(crate) fn clear() {
    // SAFETY: IPC_RMID reads no memory.
    each_queue(|id, _| unsafe { libc::msgctl(id, IPC_RMID, ptr::null_mut()) });
    // SAFETY: for the same reason as the block above.
    each_set(|id, _| unsafe { libc::semctl(id, 0, IPC_RMID) });
    // SAFETY: for the same reason as the block above.
    each_segment(|id, _| unsafe { libc::shmctl(id, IPC_RMID, ptr::null_mut()) });
}

fn each_queue(mut f: impl FnMut(i32, msg::Msqid) -> i32) {
    let mut info = msg::Msginfo::default();
    // SAFETY: the structure is the kernel's msginfo.
    let last = unsafe { libc::msgctl(0, msg::MSG_INFO, (&raw mut info).cast()) };
    for index in 0..=last {
        let mut state = msg::Msqid::default();
        // SAFETY: the structure is the kernel's msqid64_ds.
        let id = unsafe { libc::msgctl(index, msg::MSG_STAT, (&raw mut state).cast()) };
        if id >= 0 {
            f(id, state);
        }
    }
}

fn each_set(mut f: impl FnMut(i32, sem::Semid) -> i32) {
    let mut info = sem::Seminfo::default();
    // SAFETY: the structure is the kernel's seminfo.
    let last = unsafe { libc::semctl(0, 0, sem::SEM_INFO, &raw mut info) };
    for index in 0..=last {
        let mut state = sem::Semid::default();
        // SAFETY: the structure is the kernel's semid64_ds.
        let id = unsafe { libc::semctl(index, 0, sem::SEM_STAT, &raw mut state) };
        if id >= 0 {
            f(id, state);
        }
    }
}

fn each_segment(mut f: impl FnMut(i32, shm::Shmid) -> i32) {
    let mut info = shm::ShmInfo::default();
    // SAFETY: the structure is the kernel's shm_info.
    let last = unsafe { libc::shmctl(0, shm::SHM_INFO, (&raw mut info).cast()) };
    for index in 0..=last {
        let mut state = shm::Shmid::default();
        // SAFETY: the structure is the kernel's shmid64_ds.
        let id = unsafe { libc::shmctl(index, shm::SHM_STAT, (&raw mut state).cast()) };
        if id >= 0 {
            f(id, state);
        }
    }
}

fn queues(out: &mut String) {
    each_queue(|id, state| {
        let _ = write!(out, "  msg {id} {}", show::msqid(&state));
        for index in 0..state.qnum.min(64) {
            let mut buffer = vec![0u8; 8 + 65536];
            let flags = msg::MSG_COPY | libc::IPC_NOWAIT | msg::MSG_NOERROR;
            // SAFETY: the buffer has room for a type and 65536 bytes.
            let got = unsafe { libc::msgrcv(id, buffer.as_mut_ptr().cast(), 65536, index as i64, flags) };
            if got >= 0 {
                let mtype = i64::from_ne_bytes(buffer[..8].try_into().unwrap_or_default());
                let _ = write!(out, " <{mtype} {}>", show::bytes(&buffer[8..8 + got as usize]));
            } else {
                let _ = write!(out, " <error {}>", super::sys::errno());
            }
        }
        out.push('\n');
        0
    });
}

fn sets(out: &mut String) {
    each_set(|id, state| {
        let _ = write!(out, "  sem {id} {} ", show::semid(&state));
        for num in 0..(state.nsems as i32).min(16) {
            let get = |cmd| {
                // SAFETY: these commands read no memory.
                unsafe { libc::semctl(id, num, cmd) }
            };
            let (value, pid) = (get(sem::GETVAL), get(sem::GETPID));
            let (more, zero) = (get(sem::GETNCNT), get(sem::GETZCNT));
            let _ = write!(out, "<{value} {{p:{pid}}} {more} {zero}>");
        }
        out.push('\n');
        0
    });
}

fn segments(out: &mut String) {
    each_segment(|id, state| {
        let mut again = shm::Shmid::default();
        // SAFETY: the structure is the kernel's shmid64_ds.
        let same = unsafe { libc::shmctl(id, IPC_STAT, (&raw mut again).cast()) };
        let _ = writeln!(out, "  shm {id} {} {same}", show::shmid(&state));
        0
    });
}
