//! One who may alter a few objects of mode 0666, and writes what it likes wherever it can write: in every region that it has mapped, and to the broker.
//!
//! It gets at the regions as anybody does, by calls; from then on its own calls may fail, and itself crash or hang: it is killed and started again.

use crate::ipc::{self, Attached, Kind, Message, sop};
use crate::storm::{Chance, mix};
use std::fs;
use std::io;

/// The user that it is, where this process may choose.
const NOBODY: u32 = 65_534;
/// A request's first word (crates/wire/src/lib.rs).
const MAGIC: u32 = ring3_wire::MAGIC;

/// Objects that it may alter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prey {
    ids: [i32; 3],
}

impl Prey {
    /// New ones.
    pub(super) fn new() -> io::Result<Prey> {
        let make = |kind: Kind| kind.get(libc::IPC_PRIVATE, 0o666);
        Ok(Prey { ids: [make(Kind::Msg)?, make(Kind::Sem)?, make(Kind::Shm)?] })
    }

    /// They go, however spoiled they are.
    pub(super) fn remove(self) -> io::Result<()> {
        Kind::ALL.into_iter().zip(self.ids).try_for_each(|(kind, id)| kind.remove(id))
    }
}

/// Does its worst until it is killed.
pub(super) fn attack(prey: Prey, seed: u64) -> io::Result<()> {
    // SAFETY: these take numbers; an ordinary user stays who it is. The parent's connection is the parent's.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0);
        libc::setgid(NOBODY);
        libc::setuid(NOBODY);
    }
    let mut chance = Chance::new(seed);
    let mut message = Message::<64>::new(1);
    // Seen once, a region is mapped.
    let _ = ipc::msgsnd(prey.ids[0], &message, 64, libc::IPC_NOWAIT);
    let _ = ipc::semop(prey.ids[1], &mut [sop(0, 1, libc::SEM_UNDO)], None);
    let _attached = Attached::new(prey.ids[2], 0);
    let (ranges, sockets) = (writable()?, sockets()?);
    loop {
        for _ in 0..1 + chance.below(200) {
            scribble(&ranges, &mut chance);
        }
        for _ in 0..chance.below(4) {
            babble(&sockets, &mut chance);
        }
        let _ = ipc::msgsnd(prey.ids[0], &message, chance.below(64), libc::IPC_NOWAIT);
        let _ = ipc::msgrcv(prey.ids[0], &mut message, chance.below(5) as i64 - 2, libc::IPC_NOWAIT);
        let changes = [sop(chance.below(3), chance.below(5) as i16 - 2, libc::IPC_NOWAIT | libc::SEM_UNDO)];
        let _ = ipc::semop(prey.ids[1], &mut changes.clone(), Some(1));
    }
}

/// What this process has mapped, shared and writable, of memory files: its range.
fn writable() -> io::Result<Vec<(usize, usize)>> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let lines = maps.lines().filter(|line| line.contains(" rw-s ") && line.contains("/memfd:"));
    let range = |line: &str| {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        Some((usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?))
    };
    Ok(lines.filter_map(range).collect())
}

/// This process's sockets: the one to the broker is among them.
fn sockets() -> io::Result<Vec<i32>> {
    let entries = fs::read_dir("/proc/self/fd")?.flatten();
    let is_socket = |entry: &fs::DirEntry| {
        fs::read_link(entry.path()).is_ok_and(|path| path.to_string_lossy().starts_with("socket:"))
    };
    let numbers = entries.filter(is_socket).filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(numbers.collect())
}

/// A word somewhere: often where headers are, often one that means something there.
fn scribble(ranges: &[(usize, usize)], chance: &mut Chance) {
    let Some(&(from, to)) = ranges.get(chance.below(ranges.len())) else { return };
    let words = (to - from) / 4;
    let at = if chance.below(2) == 0 { chance.below(words.min(128)) } else { chance.below(words) };
    let word = match chance.below(5) {
        0 => chance.below(16) as u32,
        1 => std::process::id(),
        2 => 1 << chance.below(32),
        3 => std::process::id() | 1 << 31,
        _ => chance.next() as u32,
    };
    // SAFETY: the word lies in a mapping of this process that may be written; nothing of Rust's is there.
    unsafe { std::ptr::with_exposed_provenance_mut::<u32>(from + at * 4).write_volatile(word) };
}

/// A packet to the broker: a request's head and nonsense, or nonsense.
fn babble(sockets: &[i32], chance: &mut Chance) {
    let Some(&socket) = sockets.get(chance.below(sockets.len())) else { return };
    let mut packet = [0u32; 64];
    for (at, word) in packet.iter_mut().enumerate() {
        *word =
            if chance.below(2) == 0 { chance.below(8) as u32 } else { mix(chance.next() ^ at as u64) as u32 };
    }
    if chance.below(8) != 0 {
        packet[0] = MAGIC;
        packet[1] = chance.below(64) as u32;
    }
    let len = 16 + chance.below(size_of_val(&packet) - 16);
    // SAFETY: the packet has so many bytes.
    unsafe { libc::send(socket, packet.as_ptr().cast(), len, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
}
