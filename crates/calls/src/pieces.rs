//! What becomes of attachments when a program changes its mappings by other calls than shmdt. mmap(2), munmap(2), mremap(2).
//!
//! The kernel counts mappings, not calls of shmat: cutting one opens another, and each that goes is closed (kernel: shm_open(),
//! shm_close(), __split_vma()). So does this, in the same order, so that nattch, times and lpid come out the same. Not seen are mappings that
//! mprotect or madvise cut, and calls that reach the kernel without a libc function; shmdt asks the kernel what is mapped before it
//! touches anything.

use crate::attach::{self, Piece};
use crate::broker;
use crate::identity;
use crate::life;
use crate::section;
use ring3_abi::Errno;
use ring3_os::map;
use ring3_wire::Op;
use ring3_wire::request::Detach;

/// Runs a change of mappings while no other thread attaches or detaches, and accounts for it if it succeeds. Costs one load in a process
/// without attachments.
fn changing(run: impl FnOnce() -> Result<usize, Errno>, account: impl FnOnce(usize)) -> Result<usize, Errno> {
    // A vfork child changes its parent's mappings, but has no name of its own to say so.
    if !attach::any() || !life::is_ours() {
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
        |_| gone(addr, addr.saturating_add(rounded(len))),
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
                gone(at, at.saturating_add(rounded(len)));
            }
        },
    )
}

/// mremap(2) for the program.
pub fn mremap(old: usize, old_len: usize, new_len: usize, flags: usize, to: usize) -> Result<usize, Errno> {
    changing(
        // SAFETY: the program's own call, about its own memory.
        || unsafe { map::remap(old, old_len, new_len, flags, to) },
        |at| moved(old, rounded(old_len), at, rounded(new_len), flags & map::MREMAP_DONTUNMAP != 0),
    )
}

/// Accounts for a range that is not mapped any more. `Identity::attach` is held.
pub(crate) fn gone(from: usize, to: usize) {
    while from < to
        && let Some(piece) = attach::all().find(|p| p.addr < to && from < p.end())
    {
        let rest = [(piece.addr, from), (to, piece.end())]
            .map(|(from, to)| (from < to).then(|| piece.cut(from, to)));
        attach::remove(piece.addr);
        // Each cut opens a mapping, then the one in the range is closed.
        for part in rest.into_iter().flatten() {
            let _ = attach::add(Piece { token: opened(piece.token), ..part });
        }
        closed(piece.token);
    }
}

fn moved(old: usize, old_len: usize, new: usize, new_len: usize, stays: bool) {
    let old_end = old.saturating_add(old_len);
    let Some(piece) = attach::all().find(|p| p.addr <= old && old < p.end()) else {
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
            attach::remove(piece.addr);
            let _ = attach::add(Piece { len: old.saturating_add(new_len) - piece.addr, ..piece });
        }
        return;
    }
    gone(new, new.saturating_add(new_len));
    let part = piece.cut(old, usize::MAX);
    let _ = attach::add(Piece { addr: new, len: new_len, token: opened(piece.token), ..part });
    // A length of 0 asks for a second mapping of the same pages.
    if !stays && old_len != 0 {
        gone(old, old.saturating_add(old_len.min(new_len)));
    }
}

/// Another mapping of what `token` names; 0 if the broker does not count it.
fn opened(token: u64) -> u64 {
    if token == 0 {
        return 0;
    }
    broker::ask(Op::Split, &Detach { token, undo: 0, pad: 0 }).map_or(0, i64::cast_unsigned)
}

/// A mapping fewer.
fn closed(token: u64) {
    if token != 0 {
        let _ = broker::ask(Op::Detach, &Detach { token, undo: 0, pad: 0 });
    }
}
