//! shmget, shmat, shmdt, shmctl. shmget(2), shmop(2), shmctl(2); kernel: ipc/shm.c.
//!
//! Arguments are checked in the kernel's order, with the kernel's error numbers. A segment is a file of the broker's; attaching is
//! asking for it and mapping it.

use crate::object::attachments::{self, Part};
use crate::object::flags::Flags;
use crate::object::mappings::{self, Mapping};
use crate::object::{parts, reclaim};
use crate::process::identity::{self, Home};
use crate::process::{self, connection};
use crate::syscall::get;
use crate::thread::section::{self, Section};
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
    process::ready()?;
    let home = identity::home()?;
    let section = section::enter();
    let _held = home.attach.hold(&section);
    let mut buf: connection::Small = [0; 256];
    let answer = connection::call(Op::Attach, Attach { id, flags }.as_bytes(), &[], &mut buf)?;
    let token = answer.value as u64;
    let mapped = (|| {
        let attached: Attached = answer.body(&buf)?;
        let file = answer.fd.as_ref().ok_or(Errno::ENOMEM)?;
        let unit = (attached.page as usize).max(map::PAGE);
        let size = usize::try_from(attached.size).map_err(|_| Errno::ENOMEM)?;
        let len = size.checked_next_multiple_of(unit).ok_or(Errno::ENOMEM)?;
        let prot = protection(flags);
        let replace = flags & SHM_REMAP != 0;
        let at = with_room(home, &section, || {
            map_segment(file.raw(), exactly.then_some(addr), len, prot, replace)
        })?;
        if flags & SHM_REMAP != 0 {
            parts::gone(at, at.saturating_add(len));
        }
        let file = fd::identify(file.raw())?;
        let flags = Flags::attached(prot, flags & SHM_RDONLY != 0, home.locking());
        let part = Part { addr: at, len, offset: 0, token, origin: token, size: len, flags, file };
        with_room(home, &section, || attachments::add(part)).inspect_err(|_| {
            // SAFETY: mapped above; nobody knows it yet.
            let _ = unsafe { map::unmap(at, len) };
        })?;
        Ok(at)
    })();
    if mapped.is_err() {
        let _ = connection::ask(Op::Detach, &Detach { token, undo: 1, pad: 0 });
    }
    mapped
}

/// Does something that takes memory, once more if there was too little and something of ours can be given back.
fn with_room<T>(home: &Home, section: &Section, take: impl Fn() -> Result<T, Errno>) -> Result<T, Errno> {
    match take() {
        Err(Errno::ENOMEM) => {
            let _held = home.objects.hold(section);
            reclaim::make_room();
            take()
        }
        other => other,
    }
}

/// How shmat's flags let a segment be used.
fn protection(flags: i32) -> usize {
    let write = if flags & SHM_RDONLY == 0 { map::PROT_WRITE } else { 0 };
    let exec = if flags & SHM_EXEC != 0 { map::PROT_EXEC } else { 0 };
    map::PROT_READ | write | exec
}

fn map_segment(
    file: i32,
    exactly: Option<usize>,
    len: usize,
    prot: usize,
    replace: bool,
) -> Result<usize, Errno> {
    let Some(addr) = exactly else {
        // SAFETY: no MAP_FIXED.
        return unsafe { map::map(0, len, prot, map::MAP_SHARED, file, 0) };
    };
    if replace {
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
    if !addr.is_multiple_of(map::PAGE) || !attachments::any() {
        return Err(Errno::EINVAL);
    }
    process::ready()?;
    let home = identity::home()?;
    let section = section::enter();
    let _held = home.attach.hold(&section);
    if unmap_at(addr) { Ok(0) } else { Err(Errno::EINVAL) }
}

/// Unmaps the first mapping at or above `addr` that is as far above it as into its segment, and all others of the same shmat of
/// which that is true. Answers whether there was one.
fn unmap_at(addr: usize) -> bool {
    let mut found: Option<Part> = None;
    // Mappings side by side go at once.
    let (mut from, mut to) = (addr, addr);
    let mut visit = |mapping: Mapping| {
        if mapping.start.checked_sub(addr) != Some(mapping.offset) {
            return true;
        }
        let inside = |p: &Part| p.file == mapping.file && p.addr <= mapping.start && mapping.start < p.end();
        let Some(part) = attachments::all().find(inside) else { return true };
        let first = *found.get_or_insert(part);
        if mapping.start >= addr.saturating_add(first.size) {
            return false;
        }
        if part.origin == first.origin {
            // SAFETY: a mapping of the segment that the program asks to be unmapped.
            if unsafe { map::unmap(mapping.start, mapping.end - mapping.start) }.is_err() {
                // It is sealed, and stays; the kernel goes on as well.
                return true;
            }
            if mapping.start != to {
                if to > from {
                    parts::gone(from, to);
                }
                from = mapping.start;
            }
            to = mapping.end;
        }
        true
    };
    if mappings::walk(addr, &mut visit).is_err() {
        // The kernel cannot be asked: there is no /proc (chroot), no free descriptor, or no permission. What was written down must do.
        parts::walk(addr, visit);
    }
    if to > from {
        parts::gone(from, to);
    }
    found.is_some()
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
            connection::ask(Op::ShmLock, &body).map(|_| 0)
        }
        _ => Err(Errno::EINVAL),
    }
}
