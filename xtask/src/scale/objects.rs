//! As many objects as there may be, made, opened and removed by many processes: the last one must cost what the first did.

use super::crowd::{Crowd, FIGURES};
use super::memory;
use super::report::Report;
use crate::ipc::{self, Attached, Kind, Message, sop};
use std::io;
use std::time::Instant;

/// How much there is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) processes: usize,
    /// Queues, sets, segments.
    pub(super) objects: [usize; 3],
}

/// The steps.
const CONNECT: u32 = 1;
const MAKE: u32 = 2;
const OPEN: u32 = 3;
const AGAIN: u32 = 4;

/// Where a member's objects are among all of a kind.
fn share(counts: Counts, kind: usize, member: usize) -> std::ops::Range<usize> {
    let at = |member: usize| counts.objects[kind] * member / counts.processes;
    at(member)..at(member + 1)
}

/// The key of an object.
fn key(kind: usize, at: usize) -> i32 {
    0x5c00_0000 + (kind as i32) * 0x10_0000 + at as i32
}

fn nanoseconds(since: Instant) -> u64 {
    since.elapsed().as_nanos() as u64
}

/// Runs the work for each object of a member, and answers the time of one.
fn each(range: std::ops::Range<usize>, mut work: impl FnMut(usize) -> io::Result<()>) -> io::Result<u64> {
    let (count, began) = (range.len().max(1) as u64, Instant::now());
    range.into_iter().try_for_each(&mut work)?;
    Ok(nanoseconds(began) / count)
}

/// What a member does; segments stay attached.
fn part(counts: Counts, member: usize, step: u32, held: &mut Vec<Attached>) -> io::Result<[u64; FIGURES]> {
    let mut figures = [0; FIGURES];
    match step {
        CONNECT => {
            let began = Instant::now();
            let found = ipc::semget(0x5cff_ffff, 1, 0);
            figures[0] = nanoseconds(began);
            if !ipc::failed(&found, libc::ENOENT) {
                found?;
            }
        }
        MAKE => {
            for (at, kind) in Kind::ALL.into_iter().enumerate() {
                let make =
                    |object| kind.get(key(at, object), libc::IPC_CREAT | libc::IPC_EXCL | 0o600).map(drop);
                figures[at] = each(share(counts, at, member), make)?;
            }
        }
        // Of the next member's: none that this process knows.
        _ => {
            let other = (member + 1) % counts.processes;
            for (at, kind) in Kind::ALL.into_iter().enumerate() {
                figures[at] = each(share(counts, at, other), |object| touch(kind, key(at, object), held))?;
            }
            figures[3] = memory::own();
        }
    }
    Ok(figures)
}

/// Looks an object up and uses it.
fn touch(kind: Kind, key: i32, held: &mut Vec<Attached>) -> io::Result<()> {
    let id = kind.get(key, 0)?;
    match kind {
        Kind::Msg => {
            let mut message = Message::<8>::new(1);
            ipc::msgsnd(id, &message, 8, 0)?;
            ipc::msgrcv(id, &mut message, 0, 0).map(drop)
        }
        Kind::Sem => ipc::semop(id, &mut [sop(0, 1, 0)], None),
        Kind::Shm => {
            held.push(Attached::new(id, 0)?);
            Ok(())
        }
    }
}

/// Plays it.
pub(super) fn run(counts: Counts, report: &mut Report) -> io::Result<()> {
    let mut crowd = Crowd::new(counts.processes)?;
    let broker = memory::broker();
    let look = || broker.map(memory::of).unwrap_or_default();
    let empty = look();
    report.bytes("memory of an empty namespace", empty.heap + empty.files);
    let began = Instant::now();
    for _ in 0..counts.processes {
        let mut held = Vec::new();
        crowd.add(&mut |member, step| part(counts, member, step, &mut held))?;
    }
    report.seconds(&format!("{} forks", counts.processes), began);
    let figures = crowd.in_turn(CONNECT)?;
    report.three("first call of a process", &figures, 0);
    let connected = look();
    let each =
        (connected.heap + connected.files).saturating_sub(empty.heap + empty.files) / counts.processes as u64;
    report.bytes("memory for a process, in the broker", each);
    let began = Instant::now();
    let figures = crowd.in_turn(MAKE)?;
    for (at, kind) in Kind::ALL.into_iter().enumerate() {
        report.three(&format!("make a {} ({})", kind.word(), counts.objects[at]), &figures, at);
    }
    report.seconds("all made", began);
    let made = look();
    let objects = counts.objects.iter().sum::<usize>() as u64;
    let whole = (made.heap + made.files).saturating_sub(connected.heap + connected.files);
    report.bytes("memory for an object", whole / objects);
    report.bytes("of that, in the broker's heap", made.heap.saturating_sub(connected.heap) / objects);
    let began = Instant::now();
    let opened = crowd.in_turn(OPEN)?;
    let again = crowd.in_turn(AGAIN)?;
    for (at, kind) in Kind::ALL.into_iter().enumerate() {
        report.three(&format!("open a {} and use it", kind.word()), &opened, at);
        report.three(&format!("the same {} again", kind.word()), &again, at);
    }
    report.seconds("all opened and used twice", began);
    let used = look();
    report.bytes("memory of the namespace, everything in use", used.heap + used.files);
    report.count("descriptors of the broker", used.descriptors);
    report.bytes(
        "memory written by a process",
        again.iter().map(|figures| figures[3]).sum::<u64>() / again.len() as u64,
    );
    remove(counts, report)?;
    let left = look();
    report.bytes("memory of the namespace, everything removed", left.heap + left.files);
    let began = Instant::now();
    crowd.end();
    report.seconds("all processes ended", began);
    Ok(())
}

/// Removes everything while it is in use.
fn remove(counts: Counts, report: &mut Report) -> io::Result<()> {
    let all = Instant::now();
    for (at, kind) in Kind::ALL.into_iter().enumerate() {
        let times: io::Result<Vec<[u64; FIGURES]>> = (0..counts.objects[at])
            .map(|object| {
                let id = kind.get(key(at, object), 0)?;
                let began = Instant::now();
                kind.remove(id)?;
                Ok([nanoseconds(began); FIGURES])
            })
            .collect();
        report.three(&format!("IPC_RMID of a {} in use", kind.word()), &times?, 0);
    }
    report.seconds("all removed", all);
    Ok(())
}
