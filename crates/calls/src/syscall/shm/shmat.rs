//! shmat. shmop(2); kernel: ipc/shm.c, do_shmat().
//!
//! A segment is a file of the broker's: attaching is asking for it and mapping it.

use crate::object::attachments::{self, Part};
use crate::object::flags::Flags;
use crate::object::{parts, reclaim, spare};
use crate::process::identity::{self, Home};
use crate::process::{self, connection, deputy, notes, own_life};
use crate::syscall::shm::again;
use crate::thread::section::{self, Section};
use ring3_abi::Errno;
use ring3_abi::shm::{SHM_EXEC, SHM_RDONLY, SHM_REMAP, SHM_RND, SHMLBA};
use ring3_os::{fd, map};
use ring3_wire::Op;
use ring3_wire::reply::Attached;
use ring3_wire::request::{Attach, Detach};
use zerocopy::IntoBytes;

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
    if !exactly
        && flags & !(SHM_RDONLY | SHM_RND) == 0
        && let Some(at) = again::attach(id, protection(flags), flags & SHM_RDONLY != 0)
    {
        return Ok(at);
    }
    // By its life others know whether this process has done something to the segment.
    own_life::hold(page);
    deputy::provided(|| attach(id, exactly.then_some(addr), flags))
}

fn attach(id: i32, exactly: Option<usize>, flags: i32) -> Result<usize, Errno> {
    let home = identity::home()?;
    let section = section::enter();
    let _held = home.attach.hold(&section);
    spare::sweep(false);
    let again = u32::from(exactly.is_none() && again::is_wanted(id, identity::current()));
    let mut buf: connection::Small = [0; 256];
    let answer = connection::fetch(Op::Attach, Attach { id, flags, again }.as_bytes(), &[], &mut buf)?;
    let token = answer.value as u64;
    let mapped = (|| {
        let attached: Attached = answer.body(&buf)?;
        let file = answer.descriptor()?;
        let unit = (attached.page as usize).max(map::PAGE);
        let size = usize::try_from(attached.size).map_err(|_| Errno::ENOMEM)?;
        let len = size.checked_next_multiple_of(unit).ok_or(Errno::ENOMEM)?;
        let prot = protection(flags);
        let replace = flags & SHM_REMAP != 0;
        let at = with_room(home, &section, || map_segment(file.raw(), exactly, len, prot, replace))?;
        if flags & SHM_REMAP != 0 {
            parts::gone(at, at.saturating_add(len));
        }
        let identity = fd::identify(file.raw())?;
        let flags = Flags::attached(prot, flags & SHM_RDONLY != 0, home.locking());
        let part =
            Part { addr: at, len, offset: 0, token, origin: token, size: len, id, flags, file: identity };
        with_room(home, &section, || attachments::add(part)).inspect_err(|_| {
            // SAFETY: mapped above; nobody knows it yet.
            let _ = unsafe { map::unmap(at, len) };
        })?;
        again::remember(file.raw(), home, &part, prot, attached.version);
        Ok(at)
    })();
    if mapped.is_err() {
        notes::announce(Op::Detach, |note| Detach { token, undo: 1, note });
    }
    mapped
}

/// Does something that takes memory, once more if there was too little and something of ours can be given back.
fn with_room<T>(home: &Home, section: &Section, take: impl Fn() -> Result<T, Errno>) -> Result<T, Errno> {
    match take() {
        Err(Errno::ENOMEM) => {
            spare::sweep(true);
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
