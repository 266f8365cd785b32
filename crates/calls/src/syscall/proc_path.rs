//! Which file of a namespace's own in /proc something is: a path, a descriptor. proc(5), path_resolution(7).
//!
//! What was opened counts, not how it was spelled: relative paths, links and other mounts of /proc lead to the same file. So the kernel walks
//! the path, and the descriptor that it gives is asked. A name is only looked at to spare most files the question.

use core::ffi::CStr;
use ring3_os::file::{self, HERE};
use ring3_wire::request::ProcFile;

/// Length of `/proc`, which another mount of it is called otherwise.
const MOUNT: usize = 5;
/// Longest name of a file.
const LONGEST: usize = 15;
/// Longest path that is looked at by its text.
const ROOM: usize = 1024;

/// A file's path from the root of a /proc, with a slash in front.
fn below(which: ProcFile) -> &'static [u8] {
    which.path().to_bytes().get(MOUNT..).unwrap_or_default()
}

/// The way to a file from a directory in which one of its name lies.
fn beside(which: ProcFile, room: &mut [u8; 64]) -> Option<&CStr> {
    let up: &[u8] = if which.is_limit() { b"../.." } else { b".." };
    let (start, rest) = room.split_at_mut_checked(up.len())?;
    start.copy_from_slice(up);
    rest.get_mut(..below(which).len())?.copy_from_slice(below(which));
    CStr::from_bytes_until_nul(room).ok()
}

/// A path's last component.
fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// Whether a path's last component is the name of one of the files: so it is for hardly any other.
///
/// # Safety
/// `path` is null or a string.
#[inline]
pub(super) unsafe fn has_name(path: *const u8) -> bool {
    if path.is_null() {
        return false;
    }
    let (mut begin, mut at) = (path, path);
    loop {
        // SAFETY: every byte before was not NUL.
        match unsafe { at.read() } {
            0 => break,
            // SAFETY: behind a byte that is not NUL there is another.
            b'/' => begin = unsafe { at.add(1) },
            _ => {}
        }
        // SAFETY: this byte is not NUL, so there is another.
        at = unsafe { at.add(1) };
    }
    let len = at as usize - begin as usize;
    if len > LONGEST {
        return false;
    }
    // SAFETY: the bytes between two places of the string.
    let name = unsafe { core::slice::from_raw_parts(begin, len) };
    matches!(name, [b'm' | b's' | b'a', _, _, ..])
        && ProcFile::ALL.iter().any(|which| which.name().as_bytes() == name)
}

/// Which file a descriptor is of. `opened` is how it was opened, if that is known: a directory and a path.
///
/// # Safety
/// The path is null or a string.
pub(super) unsafe fn of_descriptor(fd: i32, opened: Option<(i32, *const u8)>) -> Option<ProcFile> {
    if !file::is_in_proc(fd) {
        return None;
    }
    let mut room = [0; ROOM];
    let link = link_of(fd, &mut room);
    if let Some(which) =
        link.and_then(|link| ProcFile::ALL.iter().copied().find(|&which| link.ends_with(below(which))))
    {
        return Some(which);
    }
    // Files of a process, which are most, need no further look.
    if link.is_some_and(|link| link.starts_with(b"/proc/")) {
        return None;
    }
    let stat = file::stat(fd).ok()?;
    let is =
        |dir, path: &CStr| file::stat_at(dir, path).is_ok_and(|there| there.identity() == stat.identity());
    if let Some(which) = ProcFile::ALL.iter().copied().find(|which| is(HERE, which.path())) {
        return Some(which);
    }
    let (dir, path) = opened?;
    // SAFETY: the caller's promise.
    let parent = unsafe { parent_of(dir, path) }?;
    let is_beside =
        |which: &ProcFile| beside(*which, &mut [0; 64]).is_some_and(|path| is(parent.raw(), path));
    ProcFile::ALL.iter().copied().find(is_beside)
}

/// Where a descriptor's file is: by the link in /proc, if that is mounted.
pub(super) fn link_of(fd: i32, room: &mut [u8]) -> Option<&[u8]> {
    let mut path = [0; 32];
    file::read_link(descriptor_path(fd, &mut path)?, room).ok()
}

/// Which file a memory file has the text of. The broker names it after the path.
pub(super) fn of_memory_file(fd: i32) -> Option<ProcFile> {
    let mut room = [0; ROOM];
    let named = link_of(fd, &mut room)?.strip_prefix(b"/memfd:")?;
    let path = named.strip_suffix(b" (deleted)").unwrap_or(named);
    ProcFile::ALL.iter().copied().find(|which| which.path().to_bytes() == path)
}

/// `/proc/self/fd/N`. The number's digits are written from behind; the slashes that stay in front are one to the kernel.
fn descriptor_path(fd: i32, room: &mut [u8; 32]) -> Option<&CStr> {
    let text = b"/proc/self/fd//////////0\0";
    room.get_mut(..text.len())?.copy_from_slice(text);
    let mut rest = u32::try_from(fd).ok()?;
    for byte in room.get_mut(14..text.len() - 1)?.iter_mut().rev() {
        if rest > 0 {
            *byte = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
    CStr::from_bytes_until_nul(room).ok()
}

/// The directory of a path's last component.
///
/// # Safety
/// The path is null or a string.
unsafe fn parent_of(dir: i32, path: *const u8) -> Option<ring3_os::fd::Fd> {
    // SAFETY: the caller's promise.
    let text = unsafe { text_of(path) }?;
    let parent = text.get(..text.len() - last(text).len())?;
    let mut room = [0; ROOM];
    room.get_mut(..parent.len())?.copy_from_slice(parent);
    if parent.is_empty() {
        *room.get_mut(0)? = b'.';
    }
    file::open_path(dir, room.as_ptr() as usize).ok()
}

/// A path's text, if it is not longer than what is looked at.
///
/// # Safety
/// The path is null or a string.
unsafe fn text_of<'a>(path: *const u8) -> Option<&'a [u8]> {
    if path.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(path.cast()) }.to_bytes();
    (text.len() < ROOM).then_some(text)
}

/// Which file a path names, for a machine that has no such file because its kernel has no System V IPC: then nothing can be opened and
/// asked, and the path's text must do.
///
/// # Safety
/// The path is null or a string.
pub(super) unsafe fn of_missing(dir: i32, path: *const u8) -> Option<ProcFile> {
    const PROC_ROOT_INODE: u64 = 1;
    // SAFETY: the caller's promise.
    let text = unsafe { text_of(path) }?;
    let mut room = [0; ROOM];
    let base: &[u8] = match dir {
        _ if text.starts_with(b"/") => b"",
        HERE => file::current_directory(&mut room).ok()?,
        _ => link_of(dir, &mut room)?,
    };
    let mut parts = Parts::default();
    parts.walk(base)?;
    parts.walk(text)?;
    let which = ProcFile::ALL.iter().copied().find(|which| parts.spell(which.path().to_bytes()))?;
    let missing = file::stat_at(HERE, which.path()).is_err();
    let proc_is_there = file::stat_at(HERE, c"/proc").is_ok_and(|root| root.identity().1 == PROC_ROOT_INODE);
    (missing && proc_is_there).then_some(which)
}

/// The components of a path that was walked by its text.
#[derive(Debug, Default)]
struct Parts<'a> {
    parts: [&'a [u8]; 16],
    len: usize,
}

impl<'a> Parts<'a> {
    /// Goes along a path. `None` if it is too deep to be one of ours.
    fn walk(&mut self, path: &'a [u8]) -> Option<()> {
        for part in path.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => self.len = self.len.saturating_sub(1),
                _ => {
                    *self.parts.get_mut(self.len)? = part;
                    self.len += 1;
                }
            }
            if self.spell(b"/proc/self/root") || self.spell(b"/proc/thread-self/root") {
                self.len = 0;
            }
        }
        Some(())
    }

    /// Whether they are the components of this path.
    fn spell(&self, path: &[u8]) -> bool {
        let parts = self.parts.get(..self.len).unwrap_or_default();
        path.split(|byte| *byte == b'/').skip(1).eq(parts.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    fn named(path: &str) -> bool {
        let path = CString::new(path).unwrap();
        // SAFETY: a string of this test's.
        unsafe { has_name(path.as_ptr().cast()) }
    }

    #[test]
    fn names_are_told_by_the_last_component() {
        for path in ["/proc/sysvipc/shm", "shm", "../kernel/sem", "//x//auto_msgmni", "shm_rmid_forced"] {
            assert!(named(path), "{path}");
        }
        for path in ["", "/", "shm/", "/proc/sysvipc/shmx", "/etc/passwd", "xshm", "shm_rmid_forcedx", "m"] {
            assert!(!named(path), "{path}");
        }
    }

    #[test]
    fn paths_are_walked_by_their_text() {
        let walk = |base: &'static str, path: &'static str, want: &str| {
            let mut parts = Parts::default();
            parts.walk(base.as_bytes()).unwrap();
            parts.walk(path.as_bytes()).unwrap();
            parts.spell(want.as_bytes())
        };
        assert!(walk("/proc/sys", "kernel/./shmmni", "/proc/sys/kernel/shmmni"));
        assert!(walk("/proc/sys/kernel", "..//../sysvipc/shm", "/proc/sysvipc/shm"));
        assert!(walk("", "/proc/self/root/../proc/sysvipc/sem", "/proc/sysvipc/sem"));
        assert!(!walk("/proc/sys", "kernel/shmmni/x", "/proc/sys/kernel/shmmni"));
        assert!(!walk("/tmp", "proc/sysvipc/sem", "/proc/sysvipc/sem"));
        let mut parts = Parts::default();
        assert!(parts.walk(b"/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q").is_none());
    }

    #[test]
    fn a_descriptor_is_known_however_it_was_opened() {
        let Ok(file) = std::fs::File::open("/proc/self/root/proc/sys/../sys/kernel/sem") else { return };
        let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
        // SAFETY: no path is given.
        assert_eq!(unsafe { of_descriptor(fd, None) }, Some(ProcFile::Sem));
        let other = std::fs::File::open("/proc/self/status").unwrap();
        // SAFETY: no path is given.
        assert_eq!(unsafe { of_descriptor(std::os::fd::AsRawFd::as_raw_fd(&other), None) }, None);
    }

    #[test]
    fn a_descriptors_path_ends_in_its_number() {
        for fd in [0, 7, 1023, i32::MAX] {
            let mut room = [0; 32];
            let path =
                descriptor_path(fd, &mut room).unwrap().to_str().unwrap().trim_start_matches("/proc/self/fd");
            assert_eq!(path.trim_start_matches('/').parse(), Ok(fd));
        }
        assert!(descriptor_path(-1, &mut [0; 32]).is_none());
    }
}
