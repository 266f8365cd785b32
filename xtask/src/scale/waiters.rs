//! Many processes asleep on one semaphore: served in their order, all at once, and a death beside them.

use super::crowd::{Crowd, FIGURES};
use super::report::Report;
use crate::ipc::{self, Kind, sop};
use std::io;
use std::time::{Duration, Instant};

/// How many die beside the sleepers.
const DEATHS: usize = 20;
/// Nobody needs longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Plays it.
pub(super) fn run(count: usize, report: &mut Report) -> io::Result<()> {
    let set = ipc::semget(libc::IPC_PRIVATE, 2, 0o600)?;
    let mut crowd = Crowd::new(count + DEATHS)?;
    for _ in 0..count + DEATHS {
        // Everybody sleeps on semaphore 0, in an odd step, or takes of semaphore 1 with SEM_UNDO first, in step 2.
        crowd.add(&mut |_, step| {
            if step == 2 {
                ipc::semop(set, &mut [sop(1, 1, libc::SEM_UNDO)], None)?;
            }
            ipc::semop(set, &mut [sop(0, -1, 0)], None).map(|()| [0; FIGURES])
        })?;
    }
    let all: Vec<usize> = (0..count).collect();
    let step = crowd.next_step();
    lie_down(&mut crowd, set, &all, step)?;
    in_order(&crowd, set, &all, step, report)?;
    // Step 2 is for those who die.
    let with_undo = crowd.next_step();
    let step = crowd.next_step();
    lie_down(&mut crowd, set, &all, step)?;
    deaths(&mut crowd, set, count, with_undo, report)?;
    at_once(&crowd, set, &all, step, report)?;
    let step = crowd.next_step();
    lie_down(&mut crowd, set, &all, step)?;
    let began = Instant::now();
    Kind::Sem.remove(set)?;
    for member in &all {
        // It fails with EIDRM: that is its answer.
        let woken = crowd.wait(*member, step);
        if !ipc::failed(&woken, libc::EIDRM) {
            woken?;
        }
    }
    report.seconds(&format!("IPC_RMID with {count} asleep, all woken"), began);
    crowd.end();
    Ok(())
}

/// One after the other goes to sleep.
fn lie_down(crowd: &mut Crowd, set: i32, all: &[usize], step: u32) -> io::Result<()> {
    for (asleep, member) in all.iter().enumerate() {
        crowd.tell(*member, step);
        until("goes to sleep", || Ok(ipc::semctl(set, 0, libc::GETNCNT, 0)? as usize > asleep))?;
    }
    Ok(())
}

fn until(what: &str, mut done: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let began = Instant::now();
    while !done()? {
        if began.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("nobody {what}")));
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// A post for each: it is the one who has slept longest that gets it.
fn in_order(crowd: &Crowd, set: i32, all: &[usize], step: u32, report: &mut Report) -> io::Result<()> {
    let began = Instant::now();
    let (mut out_of_order, mut posting) = (0, Duration::ZERO);
    for (at, member) in all.iter().enumerate() {
        let post = Instant::now();
        ipc::semop(set, &mut [sop(0, 1, 0)], None)?;
        posting += post.elapsed();
        crowd.wait(*member, step)?;
        let later = all.get(at + 1).is_some_and(|next| crowd.has_done(*next, step));
        out_of_order += u64::from(later);
    }
    report.seconds(&format!("{} waiters, a post for each, one after the other", all.len()), began);
    report.time(&format!("{} waiters: the posts alone", all.len()), posting);
    report.count("waiters served out of order", out_of_order);
    Ok(())
}

/// One post for all.
fn at_once(crowd: &Crowd, set: i32, all: &[usize], step: u32, report: &mut Report) -> io::Result<()> {
    let began = Instant::now();
    ipc::semop(set, &mut [sop(0, all.len() as i16, 0)], None)?;
    report.seconds(&format!("{} waiters, one post: the call", all.len()), began);
    for member in all {
        crowd.wait(*member, step)?;
    }
    report.seconds(&format!("{} waiters, one post: all awake", all.len()), began);
    let left = ipc::semctl(set, 0, libc::GETVAL, 0)?;
    if left == 0 { Ok(()) } else { Err(io::Error::other(format!("{left} posts are left"))) }
}

/// Some who sleep beside the crowd, with an adjustment, are killed: until it is reaped, and until the set says so.
fn deaths(crowd: &mut Crowd, set: i32, count: usize, step: u32, report: &mut Report) -> io::Result<()> {
    let mut figures = Vec::new();
    for victim in count..count + DEATHS {
        crowd.tell(victim, step);
        until("sleeps beside", || Ok(ipc::semctl(set, 0, libc::GETNCNT, 0)? as usize > count))?;
        let began = Instant::now();
        crowd.kill(victim);
        let reaped = began.elapsed().as_nanos() as u64;
        let (waiting, value) =
            (ipc::semctl(set, 0, libc::GETNCNT, 0)?, ipc::semctl(set, 1, libc::GETVAL, 0)?);
        let known = began.elapsed().as_nanos() as u64;
        if (waiting as usize, value) != (count, 0) {
            return Err(io::Error::other(format!("after a death {waiting} wait, the value is {value}")));
        }
        let mut row = [0; FIGURES];
        (row[0], row[1]) = (reaped, known);
        figures.push(row);
    }
    report.median(&format!("a death beside {count} sleepers: killed and reaped"), &figures, 0);
    report.median(&format!("a death beside {count} sleepers: GETNCNT and GETVAL say so"), &figures, 1);
    Ok(())
}
