//! mmap, munmap, mremap of a program that has segments attached. mmap(2), munmap(2), mremap(2).

use crate::object::{attachments, parts};
use crate::process::identity;
use crate::thread::{memory, section};
use ring3_abi::Errno;
use ring3_os::map;

/// Runs a change of mappings while no other thread attaches or detaches, and accounts for it if it succeeds. Costs one load in a process
/// without attachments.
fn changing(run: impl FnOnce() -> Result<usize, Errno>, account: impl FnOnce(usize)) -> Result<usize, Errno> {
    // A vfork child changes its parent's mappings, but has no name of its own to say so.
    if !attachments::any() || !memory::is_ours() {
        return run();
    }
    let section = section::enter();
    let page = identity::own()?;
    let _held = page.attach.hold(&section);
    let done = run()?;
    account(done);
    Ok(done)
}

fn rounded(len: usize) -> usize {
    len.checked_next_multiple_of(map::PAGE).unwrap_or(usize::MAX)
}

/// munmap(2) for the program.
pub fn munmap(addr: usize, len: usize) -> Result<usize, Errno> {
    changing(
        // SAFETY: the program's own call, about its own memory.
        || unsafe { map::unmap(addr, len) }.map(|()| 0),
        |_| parts::gone(addr, addr.saturating_add(rounded(len))),
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
        || unsafe { map::map(addr, len, prot, flags, fd, offset) },
        |at| {
            if flags & map::MAP_FIXED != 0 {
                parts::gone(at, at.saturating_add(rounded(len)));
            }
        },
    )
}

/// mremap(2) for the program.
pub fn mremap(old: usize, old_len: usize, new_len: usize, flags: usize, to: usize) -> Result<usize, Errno> {
    changing(
        // SAFETY: the program's own call, about its own memory.
        || unsafe { map::remap(old, old_len, new_len, flags, to) },
        |at| parts::moved(old, rounded(old_len), at, rounded(new_len), flags & map::MREMAP_DONTUNMAP != 0),
    )
}
