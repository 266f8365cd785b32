//! What a program that has segments attached does to its mappings: mmap(2), munmap(2), mremap(2), remap_file_pages(2). `usage.rs` has the calls that
//! change how memory may be used.

use crate::object::{attachments, cuts, parts};
use crate::process::identity;
use crate::thread::{memory, section};
use ring3_abi::Errno;
use ring3_os::arch::nr;
use ring3_os::map::{self, MREMAP_DONTUNMAP, MREMAP_FIXED};

/// Runs a change of mappings while no other thread attaches or detaches, and accounts for how it ended. Costs one load in a process without
/// attachments.
pub(super) fn changing(
    run: impl FnOnce() -> Result<usize, Errno>,
    account: impl FnOnce(Result<usize, Errno>) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    // A guest that nobody has seen begin changes its parent's mappings, but has no name of its own to say so.
    if !attachments::any() || !(identity::in_company() || memory::is_ours()) {
        return run();
    }
    let section = section::enter();
    let _held = identity::home()?.attach.hold(&section);
    account(run())
}

/// Whole pages.
pub(super) fn rounded(len: usize) -> usize {
    len.checked_next_multiple_of(map::PAGE).unwrap_or(usize::MAX)
}

/// munmap(2) for the program.
pub fn munmap(addr: usize, len: usize) -> Result<usize, Errno> {
    changing(
        // SAFETY: the program's own call, about its own memory.
        || unsafe { map::change(nr::MUNMAP, [addr, len, 0, 0, 0, 0]) },
        |done| done.inspect(|_| parts::gone(addr, addr.saturating_add(rounded(len)))),
    )
}

/// mmap(2) for the program.
pub fn mmap(
    addr: usize,
    len: usize,
    prot: usize,
    flags: usize,
    fd: i32,
    offset: u64,
) -> Result<usize, Errno> {
    changing(
        // SAFETY: the program's own call, about its own memory.
        || unsafe { map::change(nr::MMAP, [addr, len, prot, flags, fd as usize, offset as usize]) },
        |done| {
            done.inspect(|&at| {
                if flags & map::MAP_FIXED != 0 {
                    parts::gone(at, at.saturating_add(rounded(len)));
                }
            })
        },
    )
}

/// mremap(2) for the program.
pub fn mremap(old: usize, old_len: usize, new_len: usize, flags: usize, to: usize) -> Result<usize, Errno> {
    let stays = flags & MREMAP_DONTUNMAP != 0;
    changing(
        || {
            if stays_where_it_is(old, rounded(old_len), rounded(new_len), flags, to) {
                return Err(Errno::EFAULT);
            }
            // SAFETY: the program's own call, about its own memory.
            unsafe { map::change(nr::MREMAP, [old, old_len, new_len, flags, to, 0]) }
        },
        |done| done.inspect(|&at| parts::moved(old, rounded(old_len), at, rounded(new_len), stays)),
    )
}

/// Whether the kernel would refuse to move or to enlarge a range because it is more than one mapping, of a segment among others: `EFAULT`. It
/// would move several mappings of a memfd, which segments are here. kernel: check_prep_vma(), vma_multi_allowed().
fn stays_where_it_is(old: usize, old_len: usize, new_len: usize, flags: usize, to: usize) -> bool {
    let moves = flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) != 0 || new_len > old_len;
    let aligned =
        old.is_multiple_of(map::PAGE) && (flags & MREMAP_FIXED == 0 || to.is_multiple_of(map::PAGE));
    let end = old.saturating_add(old_len);
    moves
        && aligned
        && new_len != 0
        && cuts::first_in(old, end).is_some_and(|part| part.addr > old || part.end() < end)
}

/// remap_file_pages(2) for the program.
pub fn remap_file_pages(
    addr: usize,
    size: usize,
    prot: usize,
    page: usize,
    flags: usize,
) -> Result<usize, Errno> {
    let from = addr & !(map::PAGE - 1);
    let to = from.saturating_add(size & !(map::PAGE - 1));
    changing(
        // SAFETY: the program's own call, about its own memory.
        || unsafe { map::change(nr::REMAP_FILE_PAGES, [addr, size, prot, page, flags, 0]) },
        |done| {
            if done.is_err() || parts::remapped(from, to, page.saturating_mul(map::PAGE)) {
                return done;
            }
            // The segment went with its last mapping, before there was a new one.
            // SAFETY: the kernel has unmapped the range by then.
            let _ = unsafe { map::unmap(from, to - from) };
            Err(Errno::EINVAL)
        },
    )
}
