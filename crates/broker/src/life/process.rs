//! The processes that the broker knows.

use crate::object::arena::RangeId;
use crate::state::{Held, Keep, keep, keep_one};
use ring3_abi::{IpcId, Kind, Pid, Uid};
use ring3_engine::life::Life;
use ring3_os::process::{Memory, compare_memory};
use rustix::process::{PidfdFlags, pidfd_open};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};

/// Names a connection for as long as the broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConnId(pub(crate) u64);
keep_one!(ConnId(u64));

/// Which image of a process the broker has to do with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Image {
    /// Introduced by this random number.
    Known(u64),
    /// Born of a fork, or replaced: it has not introduced itself.
    New,
}

impl Keep for Image {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Image::Known(number) => Some(*number),
            Image::New => None,
        }
        .put(out);
    }

    fn get(from: &mut &[u8]) -> Option<Image> {
        Some(Option::get(from)?.map_or(Image::New, Image::Known))
    }
}

/// A process.
#[derive(Debug)]
pub(crate) struct Process {
    /// Becomes readable when the process ends. It never refers to another process.
    pub(crate) pidfd: Held,
    pub(crate) image: Image,
    /// The user that it counts for: the one it, or its parent, had when it became known.
    pub(crate) user: Uid,
    /// It said that it is about to exec.
    pub(crate) leaving: bool,
    /// `Welcome::abroad`, as it was told last.
    pub(crate) abroad: u32,
    /// Its own connections.
    pub(crate) conns: HashSet<ConnId>,
    /// Its name, once it was asked for.
    name: Option<[u8; 16]>,
    /// Names those that run in the same memory, while its image has introduced itself (`share.rs`).
    pub(crate) memory: Option<u64>,
    /// Names those that owe together with it, if there were ever any (`share.rs`).
    pub(crate) undo_group: Option<u64>,
    /// Objects it has opened, removed ones too.
    pub(crate) objects: HashSet<(Kind, IpcId)>,
    /// The lives that it has been given; the last one is that of its user.
    pub(crate) lives: Vec<Life>,
    /// Ranges it may reach.
    pub(crate) ranges: HashSet<RangeId>,
}

keep!(Process { pidfd, image, user, leaving, abroad, name, memory, undo_group, lives } derived { conns, objects, ranges });

impl Process {
    /// Looks a process up. `None`: it is gone and reaped.
    pub(crate) fn find(pid: Pid, image: Image, user: Uid) -> Option<Process> {
        let raw = rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?;
        let pidfd = pidfd_open(raw, PidfdFlags::empty()).ok()?.into();
        Some(Process {
            pidfd,
            image,
            user,
            leaving: false,
            abroad: 0,
            conns: HashSet::new(),
            name: None,
            memory: None,
            undo_group: None,
            objects: HashSet::new(),
            lives: Vec::new(),
            ranges: HashSet::new(),
        })
    }

    /// Its name (comm), zero-padded, as it was when it was first asked for.
    pub(crate) fn name(&mut self, pid: Pid) -> [u8; 16] {
        *self.name.get_or_insert_with(|| name_of(pid))
    }

    /// Takes note of an image that introduces itself.
    pub(crate) fn introduce(&mut self, image: u64, abroad: u32) {
        self.abroad = abroad;
        self.image = Image::Known(image);
        self.leaving = false;
        self.name = None;
    }

    /// The life by which others learn of its end; 0 none.
    pub(crate) fn life(&self) -> Life {
        self.lives.last().copied().unwrap_or(0)
    }

    /// Whether it has ended for all purposes of its own, though its pidfd need not say so yet.
    pub(crate) fn is_ending(&self, pid: Pid) -> bool {
        // In this order: what /proc says of a number is said of this process only if that has not been reaped meanwhile.
        let ending = super::ending::is_ending(pid);
        self.is_dead() || ending
    }

    /// Whether it has ended, and nothing of it runs in the kernel either.
    pub(crate) fn is_dead(&self) -> bool {
        crate::serve::client::is_readable(&self.pidfd)
    }
}

/// The process's name (comm), zero-padded.
fn name_of(pid: Pid) -> [u8; 16] {
    let mut name = [0; 16];
    let text = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    for (to, from) in name.iter_mut().take(15).zip(text.iter().take_while(|&&byte| byte != b'\n')) {
        *to = *from;
    }
    name
}

/// Whether two processes may run in the same memory: the kernel does not say that they do not. kcmp(2).
pub(super) fn share_memory(a: Pid, b: Pid) -> bool {
    compare_memory(a, b) != Memory::Apart
}

/// The parent of a process.
pub(crate) fn parent_of(pid: Pid) -> Option<Pid> {
    // One read has the fields that matter; the whole file takes several.
    let mut text = [0; 512];
    let len = fs::File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut text).ok()?;
    parent_in(text.get(..len)?)
}

fn parent_in(stat: &[u8]) -> Option<Pid> {
    // The name in parentheses may hold anything, so what follows starts at the last one.
    let behind = stat.iter().rposition(|&byte| byte == b')')? + 1;
    let rest = std::str::from_utf8(stat.get(behind..)?).ok()?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Whether a process has one thread, as far as can be seen.
pub(crate) fn is_single_threaded(pid: Pid) -> bool {
    fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|threads| threads.count() == 1)
}

/// What a process has mapped of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mapped {
    /// Some of it.
    Yes,
    /// Nothing.
    No,
    /// The process may not be asked, or has so many mappings that the answer would take long.
    Unknown,
}

/// How much of a process's list of mappings is read: some 10,000 of them, in a few milliseconds.
const MAPS: u64 = 1 << 20;

/// Whether the process has a file mapped whose inode is `inode` and whose name has `name` in it.
pub(crate) fn mapped(pid: Pid, name: &str, inode: u64) -> Mapped {
    let Ok(maps) = File::open(format!("/proc/{pid}/maps")) else { return Mapped::Unknown };
    let mut maps = BufReader::new(maps.take(MAPS));
    let (mut line, mut read) = (Vec::new(), 0);
    loop {
        line.clear();
        match maps.read_until(b'\n', &mut line) {
            Ok(0) if read < MAPS => return Mapped::No,
            Ok(0) | Err(_) => return Mapped::Unknown,
            Ok(more) => read += more as u64,
        }
        let text = String::from_utf8_lossy(&line);
        if text.contains(name) && text.split_ascii_whitespace().nth(4).is_some_and(|n| n.parse() == Ok(inode))
        {
            return Mapped::Yes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_read_behind_the_name() {
        assert_eq!(parent_in(b"7 (a) (\xff) S 5 7 7 0 -1"), Some(5));
        assert_eq!(parent_in(b"7 (a"), None);
        assert_eq!(parent_of(std::process::id()), Some(std::os::unix::process::parent_id()));
    }
}
