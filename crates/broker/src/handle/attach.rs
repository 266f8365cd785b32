//! shmat(2), shmdt(2). kernel: do_shmat(), shm_open(), shm_close().

use crate::client::Answer;
use crate::creds::Creds;
use crate::namespace::{Namespace, Trouble};
use ring3_abi::shm::{SHM_EXEC, SHM_RDONLY};
use ring3_abi::{Errno, Kind};
use ring3_wire::reply::Attached;
use ring3_wire::request;

/// The permission bits that an attach wants.
fn wanted(flags: i32) -> i32 {
    let read_write = if flags & SHM_RDONLY != 0 { 0o444 } else { 0o666 };
    read_write | if flags & SHM_EXEC != 0 { 0o111 } else { 0 }
}

/// Counts an attachment and gives its file.
pub(crate) fn attach(ns: &mut Namespace, creds: &Creds, ask: &request::Attach) -> Result<Answer, Trouble> {
    let now = ns.now();
    let object = ns.names_mut(Kind::Shm).get_mut(ask.id).ok_or(Errno::EINVAL)?;
    if !creds.permits(&object.perm, wanted(ask.flags)) {
        return Err(Errno::EACCES.into());
    }
    let segment = object.segment_mut().ok_or(Errno::EINVAL)?;
    let file = segment.descriptor(ask.flags)?;
    let before = (segment.atime, segment.lpid);
    segment.nattch += 1;
    segment.atime = now;
    segment.lpid = creds.pid;
    let attached = Attached { size: segment.size, page: segment.page };
    ns.last_token += 1;
    let token = ns.last_token;
    match ns.processes.get_mut(&creds.pid) {
        Some(process) => {
            process.attachments.insert(token, ask.id);
            process.last_attach = Some((token, before.0, before.1));
        }
        None => return Err(Errno::EPROTO.into()),
    }
    Ok(Answer::with(token.cast_signed(), &attached).passing(file))
}

/// Counts another mapping of what an attachment maps. No permission is asked for: the memory is mapped already. kernel: shm_open().
pub(crate) fn split(ns: &mut Namespace, creds: &Creds, ask: &request::Detach) -> Result<Answer, Trouble> {
    let now = ns.now();
    let process = ns.processes.get(&creds.pid).ok_or(Errno::EINVAL)?;
    let id = *process.attachments.get(&ask.token).ok_or(Errno::EINVAL)?;
    let object = ns.names_mut(Kind::Shm).get_mut(id).ok_or(Errno::EINVAL)?;
    let segment = object.segment_mut().ok_or(Errno::EINVAL)?;
    segment.nattch += 1;
    segment.atime = now;
    segment.lpid = creds.pid;
    ns.last_token += 1;
    let token = ns.last_token;
    if let Some(process) = ns.processes.get_mut(&creds.pid) {
        process.attachments.insert(token, id);
    }
    Ok(Answer::value(token.cast_signed()))
}

/// Takes an attachment back.
pub(crate) fn detach(ns: &mut Namespace, creds: &Creds, ask: &request::Detach) -> Result<Answer, Trouble> {
    let process = ns.processes.get_mut(&creds.pid).ok_or(Errno::EINVAL)?;
    let id = process.attachments.remove(&ask.token).ok_or(Errno::EINVAL)?;
    let before = process.last_attach.take().filter(|last| last.0 == ask.token);
    if ask.undo == 0 {
        ns.detach(id, creds.pid);
        return Ok(Answer::default());
    }
    let segment = ns.names_mut(Kind::Shm).get_mut(id).and_then(|object| object.segment_mut());
    if let Some((segment, (_, atime, lpid))) = segment.filter(|segment| segment.lpid == creds.pid).zip(before)
    {
        (segment.atime, segment.lpid) = (atime, lpid);
    }
    uncount(ns, id);
    Ok(Answer::default())
}

/// An attachment fewer that never was one: no dtime, no lpid.
pub(crate) fn uncount(ns: &mut Namespace, id: ring3_abi::IpcId) {
    if let Some(segment) = ns.names_mut(Kind::Shm).get_mut(id).and_then(|object| object.segment_mut()) {
        segment.nattch = segment.nattch.saturating_sub(1);
    }
    ns.destroy_if_due(id);
}
