//! What becomes of attachments when a program changes its mappings by other calls than shmdt. mmap(2), munmap(2), mremap(2).
//!
//! The kernel counts mappings, not calls of shmat: cutting one opens another, and each that goes is closed (kernel: shm_open(),
//! shm_close(), __split_vma()). So does this, in the same order, so that nattch, times and lpid come out the same. Not seen are calls that reach
//! the kernel without a libc function; shmdt asks the kernel what is mapped before it touches anything.

use crate::object::attachments::{self, Part};
use crate::object::count::{closed, opened, renew};
use crate::object::cuts;
use crate::object::mappings::Mapping;

/// Calls `each` for every part that begins at or above `from`, in order of address, until it answers `false`: what `mappings::walk` would say of
/// a process that changes its mappings by libc's functions alone. `Home::attach` is held.
pub(crate) fn walk(mut from: usize, mut each: impl FnMut(Mapping) -> bool) {
    while let Some(part) = attachments::all().filter(|p| p.addr >= from).min_by_key(|p| p.addr) {
        from = part.end();
        let mapping = Mapping { start: part.addr, end: from, offset: part.offset, file: part.file };
        if !each(mapping) {
            return;
        }
    }
}

/// Accounts for a range that is not mapped any more. `Home::attach` is held.
pub(crate) fn gone(from: usize, to: usize) {
    while from < to
        && let Some(part) = attachments::all().find(|p| p.addr < to && from < p.end())
    {
        let rest =
            [(part.addr, from), (to, part.end())].map(|(from, to)| (from < to).then(|| part.cut(from, to)));
        attachments::remove(part.addr);
        // Each cut opens a mapping, then the one in the range is closed.
        for part in rest.into_iter().flatten() {
            let _ = attachments::add(Part { token: opened(part.token), ..part });
        }
        closed(part.token);
    }
}

pub(crate) fn moved(old: usize, old_len: usize, new: usize, new_len: usize, stays: bool) {
    let old_end = old.saturating_add(old_len);
    let Some(part) = attachments::all().find(|p| p.addr <= old && old < p.end()) else {
        // Something else was moved, perhaps to where a segment was.
        if new != old {
            gone(new, new.saturating_add(new_len));
        }
        return;
    };
    if new_len < old_len {
        gone(old.saturating_add(new_len), old_end);
    }
    if new == old {
        if new_len > old_len {
            attachments::remove(part.addr);
            let _ = attachments::add(Part { len: old.saturating_add(new_len) - part.addr, ..part });
        }
        return;
    }
    gone(new, new.saturating_add(new_len));
    let part = part.cut(old, usize::MAX);
    let part = Part { addr: new, len: new_len, ..part };
    if !cuts::absorbed(&part) {
        let _ = attachments::add(Part { token: opened(part.token), ..part });
    }
    // A length of 0 asks for a second mapping of the same pages.
    if !stays && old_len != 0 {
        gone(old, old.saturating_add(old_len.min(new_len)));
    }
}

/// Accounts for a range of segments that remap_file_pages has mapped anew, at another offset. Answers whether the segment is there still: the
/// last mapping of a removed one took it away. kernel: mmap_region(), shm_mmap(). `Home::attach` is held.
pub(crate) fn remapped(from: usize, to: usize, offset: usize) -> bool {
    let Some(first) = cuts::first_in(from, to) else { return true };
    let flags = first.flags.remapped();
    // Its token stands for the segment until the new mapping is there; what else was in the range goes before.
    let renewed = first.cut(from, to);
    gone(renewed.end(), to);
    let (below, above) = (from > first.addr, to < first.end());
    attachments::remove(first.addr);
    let rest = [below.then(|| first.cut(0, from)), above.then(|| first.cut(to, usize::MAX))];
    for rest in rest.into_iter().flatten() {
        let _ = attachments::add(Part { token: opened(first.token), ..rest });
    }
    let new = Part { addr: from, len: to - from, offset, flags, ..first };
    if cuts::absorbed(&new) {
        closed(first.token);
        return true;
    }
    match renew(first.token) {
        Ok(token) => attachments::add(Part { token, ..new }).is_ok(),
        Err(_) => false,
    }
}
