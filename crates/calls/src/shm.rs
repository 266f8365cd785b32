//! shmget, shmat, shmdt, shmctl. shmget(2), shmop(2), shmctl(2); kernel: ipc/shm.c.
//!
//! Arguments are checked in the kernel's order, with the kernel's error numbers. A segment is a file of the broker's; attaching is
//! asking for it and mapping it.

use crate::attach::{self, Attachment};
use crate::maps::{self, Mapping};
use crate::section::{self, Section};
use crate::{broker, get, process};
use ring3_abi::ipc::{IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT};
use ring3_abi::shm::{
    SHM_EXEC, SHM_INFO, SHM_LOCK, SHM_RDONLY, SHM_REMAP, SHM_RND, SHM_STAT, SHM_STAT_ANY, SHM_UNLOCK, SHMLBA,
    ShmInfo, Shmid, Shminfo,
};
use ring3_abi::{Errno, Kind};
use ring3_os::{fd, map, user};
use ring3_wire::Op;
use ring3_wire::reply::Attached;
use ring3_wire::request::{Attach, Detach, ShmLock, StatBy};
use zerocopy::IntoBytes;

const KIND: Kind = Kind::Shm;

/// shmget(2).
pub fn shmget(key: i32, size: usize, flags: i32) -> Result<usize, Errno> {
    get::get(KIND, key, flags, size as u64)
}

/// Whether this process has segments attached.
pub fn attached() -> bool {
    attach::any()
}

/// Where shmat is to map. kernel: do_shmat(), its first half.
fn place(addr: usize, flags: i32) -> Result<usize, Errno> {
    if addr == 0 {
        return if flags & SHM_REMAP != 0 { Err(Errno::EINVAL) } else { Ok(0) };
    }
    if addr.is_multiple_of(SHMLBA) {
        return Ok(addr);
    }
    if flags & SHM_RND == 0 {
        return Err(Errno::EINVAL);
    }
    let addr = addr & !(SHMLBA - 1);
    if addr == 0 && flags & SHM_REMAP != 0 { Err(Errno::EINVAL) } else { Ok(addr) }
}

/// shmat(2). Answers the address.
pub fn shmat(id: i32, addr: usize, flags: i32) -> Result<usize, Errno> {
    if id < 0 {
        return Err(Errno::EINVAL);
    }
    // An address that rounds to 0 is an address still: the kernel maps there, or fails to.
    let exactly = addr != 0;
    let addr = place(addr, flags)?;
    let page = process::ready()?;
    let section = section::enter();
    let _held = page.attach.hold(&section);
    let mut buf: broker::Small = [0; 256];
    let answer = broker::call(Op::Attach, Attach { id, flags }.as_bytes(), &[], &mut buf)?;
    let token = answer.value as u64;
    let mapped = (|| {
        let attached: Attached = answer.body(&buf)?;
        let file = answer.fd.as_ref().ok_or(Errno::ENOMEM)?;
        let unit = (attached.page as usize).max(map::PAGE);
        let size = usize::try_from(attached.size).map_err(|_| Errno::ENOMEM)?;
        let len = size.checked_next_multiple_of(unit).ok_or(Errno::ENOMEM)?;
        let at = map_segment(file.raw(), exactly.then_some(addr), len, flags)?;
        let attachment = Attachment { addr: at, len, token, file: fd::identify(file.raw())? };
        attach::add(attachment).inspect_err(|_| {
            // SAFETY: mapped above; nobody knows it yet.
            let _ = unsafe { map::unmap(at, len) };
        })?;
        Ok(at)
    })();
    if mapped.is_err() {
        let _ = broker::ask(Op::Detach, &Detach { token, undo: 1, pad: 0 });
    }
    mapped
}

fn map_segment(file: i32, exactly: Option<usize>, len: usize, flags: i32) -> Result<usize, Errno> {
    let mut prot = map::PROT_READ;
    if flags & SHM_RDONLY == 0 {
        prot |= map::PROT_WRITE;
    }
    if flags & SHM_EXEC != 0 {
        prot |= map::PROT_EXEC;
    }
    let Some(addr) = exactly else {
        // SAFETY: no MAP_FIXED.
        return unsafe { map::map(0, len, prot, map::MAP_SHARED, file, 0) };
    };
    if flags & SHM_REMAP != 0 {
        // SAFETY: the program asked for what is there to be replaced; that is what SHM_REMAP means.
        return unsafe { map::map(addr, len, prot, map::MAP_SHARED | map::MAP_FIXED, file, 0) };
    }
    if addr.checked_add(len).is_none() {
        return Err(Errno::EINVAL);
    }
    // SAFETY: with MAP_FIXED_NOREPLACE nothing is replaced.
    let at = unsafe { map::map(addr, len, prot, map::MAP_SHARED | map::MAP_FIXED_NOREPLACE, file, 0) };
    at.map_err(|errno| if errno == Errno::EEXIST { Errno::EINVAL } else { errno })
}

/// shmdt(2): unmaps what is left of the attachment whose first byte is, or would be, at `addr`. kernel: ksys_shmdt().
pub fn shmdt(addr: usize) -> Result<usize, Errno> {
    if !addr.is_multiple_of(map::PAGE) || !attach::any() {
        return Err(Errno::EINVAL);
    }
    let page = process::ready()?;
    let section = section::enter();
    let _held = page.attach.hold(&section);
    match unmap_at(addr)? {
        Some(token) => {
            detach(token);
            Ok(0)
        }
        None => {
            sweep(addr, 1, &section);
            Err(Errno::EINVAL)
        }
    }
}

/// Whether a mapping is where a segment attached at `addr` has it: as far above `addr` as into its file.
fn fits(mapping: &Mapping, addr: usize) -> bool {
    mapping.start.checked_sub(addr) == Some(mapping.offset)
}

/// Unmaps the first fitting mapping of a segment at or above `addr`, and what else is left of that attachment. Answers its token.
fn unmap_at(addr: usize) -> Result<Option<u64>, Errno> {
    let mut found: Option<Attachment> = None;
    let mut unmapped = Ok(());
    maps::walk(addr, |mapping| {
        if found.is_none() && fits(&mapping, addr) {
            let same = |a: &Attachment| a.file == mapping.file;
            // The one mapped there; else, if the program has moved it (mremap), any of the same segment.
            found = attach::all().find(|a| same(a) && a.addr == addr).or_else(|| attach::all().find(same));
        }
        let Some(attachment) = &found else { return true };
        if mapping.start >= addr.saturating_add(attachment.len) {
            return false;
        }
        if mapping.file == attachment.file && fits(&mapping, addr) {
            // SAFETY: a mapping of the segment that the program asks to be unmapped.
            unmapped = unsafe { map::unmap(mapping.start, mapping.end - mapping.start) };
        }
        unmapped.is_ok()
    })?;
    unmapped.map(|()| found.map(|attachment| attachment.token))
}

/// A mapping that is part of the attachment at `addr`.
fn piece_of(addr: usize, attachment: &Attachment) -> Result<Option<Mapping>, Errno> {
    let end = addr.saturating_add(attachment.len);
    let mut piece = None;
    maps::walk(addr, |mapping| {
        if mapping.start >= end {
            return false;
        }
        if mapping.file == attachment.file && fits(&mapping, addr) {
            piece = Some(mapping);
        }
        piece.is_none()
    })?;
    Ok(piece)
}

fn detach(token: u64) {
    attach::remove(token);
    let _ = broker::ask(Op::Detach, &Detach { token, undo: 0, pad: 0 });
}

/// The program has unmapped a range itself: attachments of which nothing is left are over, as in the kernel.
pub fn unmapped(addr: usize, len: usize) {
    if !attach::any() {
        return;
    }
    let section = section::enter();
    let page = crate::identity::current();
    let _held = page.attach.hold(&section);
    sweep(addr, len, &section);
}

/// Drops attachments that overlap a range and have no mapping left.
fn sweep(addr: usize, len: usize, _section: &Section) {
    let end = addr.saturating_add(len);
    let touched = |a: &Attachment| a.addr < end && addr < a.addr.saturating_add(a.len);
    while let Some(gone) =
        attach::all().filter(touched).find(|a| piece_of(a.addr, a).is_ok_and(|piece| piece.is_none()))
    {
        detach(gone.token);
    }
}

/// shmctl(2).
pub fn shmctl(id: i32, cmd: i32, arg: usize) -> Result<usize, Errno> {
    if id < 0 || cmd < 0 {
        return Err(Errno::EINVAL);
    }
    match cmd {
        IPC_INFO => get::info::<Shminfo>(KIND, 0, arg),
        SHM_INFO => get::info::<ShmInfo>(KIND, 1, arg),
        IPC_STAT => get::stat::<Shmid>(KIND, id, StatBy::Id, arg),
        SHM_STAT => get::stat::<Shmid>(KIND, id, StatBy::Index, arg),
        SHM_STAT_ANY => get::stat::<Shmid>(KIND, id, StatBy::IndexAny, arg),
        IPC_SET => {
            process::ready()?;
            let new: Shmid = user::read(arg)?;
            get::set(KIND, id, &new.perm, 0)
        }
        IPC_RMID => get::remove(KIND, id),
        SHM_LOCK | SHM_UNLOCK => {
            let body = ShmLock { id, lock: u32::from(cmd == SHM_LOCK) };
            broker::ask(Op::ShmLock, &body).map(|_| 0)
        }
        _ => Err(Errno::EINVAL),
    }
}
