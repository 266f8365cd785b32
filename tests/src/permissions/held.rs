//! What a process holds of ring3's memory: no more than the rights it has. memfd_create(2), proc(5).
//!
//! On the kernel there is nothing to hold, so a finding is a difference.

use crate::oracle::sys;
use std::fs::{self, OpenOptions};

/// What a process may do with the objects of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Rights {
    /// `msg` or `sem`.
    pub word: &'static str,
    /// It may read.
    pub read: bool,
    /// It may alter.
    pub alter: bool,
}

/// What this process has beyond `rights`; nothing is the same in both worlds.
pub fn beyond(rights: &[Rights]) -> String {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut found: Vec<String> = maps.lines().filter_map(|line| mapping(line, rights)).collect();
    found.extend(descriptors());
    found.sort();
    found.dedup();
    if found.is_empty() { "nothing".to_owned() } else { found.join(", ") }
}

/// What is wrong about one mapping.
fn mapping(line: &str, rights: &[Rights]) -> Option<String> {
    let right = rights.iter().find(|right| line.contains(&format!("/memfd:ring3-{}", right.word)))?;
    let mut words = line.split(' ');
    let (range, access) = (words.next()?, words.next()?);
    if !right.read {
        return Some(format!("{} mapped without a right", right.word));
    }
    if right.alter {
        return None;
    }
    if access.contains('w') {
        return Some(format!("{} mapped for writing", right.word));
    }
    let (from, to) = range.split_once('-')?;
    let (from, to) = (usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?);
    // SAFETY: the mapping is the agent's; if this succeeds, the table has a difference, and nothing else depends on it.
    let writable =
        unsafe { libc::mprotect(from as *mut _, to - from, libc::PROT_READ | libc::PROT_WRITE) } == 0;
    if writable {
        return Some(format!("{} can be made writable", right.word));
    }
    reopens(range).then(|| format!("{} can be opened for writing by its mapping", right.word))
}

/// Whether a mapping's file can be opened for writing. Root's files are open to root, as the broker's memory is.
fn reopens(range: &str) -> bool {
    let opened = OpenOptions::new().write(true).open(format!("/proc/self/map_files/{range}"));
    !sys::is_root() && opened.is_ok()
}

/// Descriptors of ring3's memory: none stays.
fn descriptors() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| Some((entry.path(), fs::read_link(entry.path()).ok()?)));
    let kept = names.filter(|(_, name)| {
        let name = name.to_string_lossy();
        name.contains("memfd:ring3-msg") || name.contains("memfd:ring3-sem") || name.contains("memfd:SYSV")
    });
    kept.map(|(path, name)| format!("{} is {}", path.display(), name.display())).collect()
}

/// Whether an attached segment that was asked for read-only can be written in any way. By the mapping's file the kernel lets whoever may open
/// that at all; ring3's segments it lets nobody.
pub fn segment(at: usize, len: usize) -> String {
    // SAFETY: the range is the attached segment; making it writable changes no contents.
    let writable = unsafe { libc::mprotect(at as *mut _, len, libc::PROT_READ | libc::PROT_WRITE) } == 0;
    let range = format!("{at:x}-{:x}", at + len);
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let ours = maps.lines().any(|line| line.starts_with(&range) && line.contains("/memfd:"));
    let reopened = if ours && reopens(&range) { ", can be opened for writing" } else { "" };
    format!("can be made writable: {writable}{reopened}")
}
