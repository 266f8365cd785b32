//! Changes of how a range of memory is used: each may cut an attachment's mapping in two, and the kernel counts mappings. mprotect(2), madvise(2),
//! mlock(2), mbind(2), mseal(2), remap_file_pages(2); kernel: vma_modify(), vma_merge_existing_range(), vma_merge_new_range().
//!
//! What was cut stays cut: the kernel takes no mapping of a segment away to join its neighbours. It only moves the border between two of them,
//! and lets a new one be part of its neighbour.

use crate::object::attachments::{self, Part};
use crate::object::count::opened;
use crate::object::flags::Change;

/// Applies a change to a range that the kernel has changed. `Home::attach` is held.
pub(crate) fn change(from: usize, to: usize, change: Change) {
    let mut from = from;
    while from < to
        && let Some(part) = first_in(from, to)
    {
        alter(part, part.addr.max(from), part.end().min(to), change);
        from = part.end();
    }
}

/// Applies a change that the kernel gave up at some place in the range: it works its way up, and stops where nothing is mapped, or where a
/// mapping refuses. `mapped`: whether a range is mapped wholly.
pub(crate) fn change_up_to_fault(
    from: usize,
    to: usize,
    with: Change,
    mapped: impl Fn(usize, usize) -> bool,
) {
    let mut at = from;
    while at < to
        && let Some(part) = first_in(at, to)
    {
        if part.flags.refuses(with) || at < part.addr && !mapped(at, part.addr) {
            return;
        }
        let end = part.end().min(to);
        change(part.addr.max(at), end, with);
        at = end;
    }
}

/// The lowest part in a range.
pub(crate) fn first_in(from: usize, to: usize) -> Option<Part> {
    attachments::all().filter(|p| p.addr < to && from < p.end()).min_by_key(|p| p.addr)
}

/// Changes a range that lies in one part. kernel: vma_modify().
fn alter(part: Part, from: usize, to: usize, change: Change) {
    let flags = part.flags.with(change);
    if flags == part.flags {
        return;
    }
    let changed = Part { flags, ..part }.cut(from, to);
    let (below, above) = (from > part.addr, to < part.end());
    if !below
        && above
        && let Some(neighbour) = attachments::all().find(|p| continues(p, &changed))
    {
        attachments::replace(part.addr, part.cut(to, usize::MAX));
        attachments::replace(neighbour.addr, Part { len: neighbour.len + changed.len, ..neighbour });
        return;
    }
    if below
        && !above
        && let Some(neighbour) = attachments::all().find(|p| continues(&changed, p))
    {
        attachments::replace(part.addr, part.cut(0, from));
        attachments::replace(neighbour.addr, joined(&changed, &neighbour));
        return;
    }
    attachments::replace(part.addr, changed);
    let rest = [below.then(|| part.cut(0, from)), above.then(|| part.cut(to, usize::MAX))];
    for rest in rest.into_iter().flatten() {
        let _ = attachments::add(Part { token: opened(part.token), ..rest });
    }
}

/// Makes a range that was mapped just now a part of the neighbour that it continues, if there is one. kernel: vma_merge_new_range().
pub(crate) fn absorbed(new: &Part) -> bool {
    if let Some(below) = attachments::all().find(|p| continues(p, new)) {
        attachments::replace(below.addr, Part { len: below.len + new.len, ..below });
        return true;
    }
    if let Some(above) = attachments::all().find(|p| continues(new, p)) {
        attachments::replace(above.addr, joined(new, &above));
        return true;
    }
    false
}

/// `above`, with what lies below it.
fn joined(below: &Part, above: &Part) -> Part {
    Part { addr: below.addr, offset: below.offset, len: below.len + above.len, ..*above }
}

/// Whether one mapping goes on where another ends. kernel: can_vma_merge_right().
fn continues(below: &Part, above: &Part) -> bool {
    below.end() == above.addr
        && below.origin == above.origin
        && below.flags == above.flags
        && below.offset + below.len == above.offset
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::flags::Flags;
    use ring3_os::map::PAGE;
    use std::vec::Vec;

    const BASE: usize = 0x10_0000;

    /// Where the parts of the segment begin, in pages, lowest first.
    fn borders() -> Vec<usize> {
        let ours = attachments::all().filter(|p| p.origin == 7);
        let mut borders: Vec<usize> = ours.map(|p| (p.addr - BASE) / PAGE).collect();
        borders.sort_unstable();
        borders
    }

    fn protect(page: usize, pages: usize, protection: usize) -> Vec<usize> {
        change(BASE + page * PAGE, BASE + (page + pages) * PAGE, Change::protection(protection));
        borders()
    }

    /// The kernel's answers, as nattch told them.
    #[test]
    fn cuts_where_the_kernel_does() {
        let flags = Flags::attached(3, false, ring3_os::map::Locking::No);
        let part = Part { addr: BASE, len: 8 * PAGE, size: 8 * PAGE, origin: 7, flags, ..Part::default() };
        attachments::add(part).unwrap();
        assert_eq!(protect(2, 2, 1), [0, 2, 4]);
        assert_eq!(protect(1, 1, 1), [0, 1, 4]);
        assert_eq!(protect(4, 1, 1), [0, 1, 5]);
        assert_eq!(protect(2, 1, 3), [0, 1, 2, 3, 5]);
        assert_eq!(protect(0, 8, 1), [0, 1, 2, 3, 5]);
        assert_eq!(protect(0, 8, 1), [0, 1, 2, 3, 5]);
    }
}
