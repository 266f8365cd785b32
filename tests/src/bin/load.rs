//! Work for ring3 to do under observation: what tests run under `ring3 run`, strace or SIGKILL.
//!
//! ```text
//! ring3-load semop N       N pairs of down and up on one semaphore
//! ring3-load message N     N pairs of msgsnd and msgrcv on one queue
//! ring3-load reaped N      N children killed by SIGKILL: is everything settled when they are reaped?
//! ring3-load hold          makes one object of each kind, says so, and waits to be killed
//! ```

use ring3_tests::oracle::sys;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::ptr;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["semop", n] => n.parse().map_err(io::Error::other).and_then(semop),
        ["message", n] => n.parse().map_err(io::Error::other).and_then(message),
        ["reaped", n] => n.parse().map_err(io::Error::other).and_then(reaped),
        ["hold"] => hold(),
        _ => Err(io::Error::other("semop, message, reaped or hold?")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(io::stderr(), "ring3-load: {e}");
            ExitCode::FAILURE
        }
    }
}

fn make_set() -> io::Result<i32> {
    // SAFETY: takes numbers only.
    sys::check(i64::from(unsafe { libc::semget(libc::IPC_PRIVATE, 1, 0o600) })).map(|id| id as i32)
}

fn make_queue() -> io::Result<i32> {
    // SAFETY: takes numbers only.
    sys::check(i64::from(unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) })).map(|id| id as i32)
}

fn make_segment() -> io::Result<i32> {
    // SAFETY: takes numbers only.
    sys::check(i64::from(unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, 0o600) })).map(|id| id as i32)
}

fn operate(set: i32, op: i16, flags: i16) -> io::Result<()> {
    let mut sop = libc::sembuf { sem_num: 0, sem_op: op, sem_flg: flags };
    // SAFETY: the operation lives through the call.
    sys::check(i64::from(unsafe { libc::semop(set, &raw mut sop, 1) })).map(|_| ())
}

fn remove(set: Option<i32>, queue: Option<i32>, segment: Option<i32>) {
    // SAFETY: IPC_RMID reads no memory.
    unsafe {
        set.map(|id| libc::semctl(id, 0, libc::IPC_RMID));
        queue.map(|id| libc::msgctl(id, libc::IPC_RMID, ptr::null_mut()));
        segment.map(|id| libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()));
    }
}

/// A pair that opens the object, and `times` more between two marks that strace sees: calls of sched_get_priority_max(2), which nobody else makes.
fn marked(times: u64, mut pair: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    // SAFETY: takes numbers only.
    let mark = || unsafe { libc::sched_get_priority_max(libc::SCHED_OTHER) };
    pair()?;
    mark();
    for _ in 0..times {
        pair()?;
    }
    mark();
    Ok(())
}

fn semop(times: u64) -> io::Result<()> {
    let set = make_set()?;
    let pair = || operate(set, 1, 0).and_then(|()| operate(set, -1, 0));
    marked(times, pair)?;
    remove(Some(set), None, None);
    Ok(())
}

fn message(times: u64) -> io::Result<()> {
    let queue = make_queue()?;
    let mut text = [1u64; 9];
    marked(times, || {
        // SAFETY: the message is a type and 64 bytes.
        sys::check(i64::from(unsafe { libc::msgsnd(queue, text.as_ptr().cast(), 64, 0) }))?;
        // SAFETY: there is room for a type and 64 bytes.
        sys::check(unsafe { libc::msgrcv(queue, text.as_mut_ptr().cast(), 64, 0, 0) } as i64).map(|_| ())
    })?;
    remove(None, Some(queue), None);
    Ok(())
}

fn reaped(times: u64) -> io::Result<()> {
    let (set, segment) = (make_set()?, make_segment()?);
    let mut unsettled = 0;
    for _ in 0..times {
        let (mut ready, tell) = io::pipe()?;
        let child = sys::fork()?;
        if child == 0 {
            drop(ready);
            let done = operate(set, 1, libc::SEM_UNDO as i16);
            // SAFETY: at an address of the kernel's choice.
            let at = unsafe { libc::shmat(segment, ptr::null(), 0) };
            let byte = if done.is_ok() && at as isize != -1 { b'y' } else { b'n' };
            let _ = (&tell).write_all(&[byte]);
            loop {
                std::thread::park();
            }
        }
        drop(tell);
        let mut byte = [0];
        ready.read_exact(&mut byte)?;
        sys::kill(child as u32, libc::SIGKILL);
        sys::wait(child as u32, true)?;
        unsettled += u64::from(byte != *b"y" || !settled(set, segment));
    }
    remove(Some(set), None, Some(segment));
    let _ = writeln!(io::stdout(), "reaped {times} unsettled {unsettled}");
    if unsettled == 0 { Ok(()) } else { Err(io::Error::other("not everything was settled")) }
}

fn settled(set: i32, segment: i32) -> bool {
    let mut state = ring3_abi::shm::Shmid::default();
    // SAFETY: the structure is the kernel's shmid64_ds; GETVAL reads no memory.
    let (value, done) = unsafe {
        (libc::semctl(set, 0, libc::GETVAL), libc::shmctl(segment, libc::IPC_STAT, (&raw mut state).cast()))
    };
    value == 0 && done == 0 && state.nattch == 0
}

fn hold() -> io::Result<()> {
    let (set, queue, segment) = (make_set()?, make_queue()?, make_segment()?);
    operate(set, 1, libc::SEM_UNDO as i16)?;
    writeln!(io::stdout(), "holding {set} {queue} {segment}")?;
    io::stdout().flush()?;
    loop {
        std::thread::park();
    }
}
