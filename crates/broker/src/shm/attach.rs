//! shmat(2), shmdt(2), and what of it a process, a fork or a child has. kernel: do_shmat(), shm_open(), shm_close(), exit_shm().
//!
//! # Invariants
//! A1. An attachment is counted once in its segment's `nattch` for each holder that has its token: a process, or a fork whose child is not
//!     known yet.

use super::{KIND, State, again, rows};
use crate::ledgers;
use crate::life::Holder;
use crate::namespace::{Namespace, Trouble};
use crate::policy::creds::Creds;
use crate::serve::client::Answer;
use crate::state::{Noted, Sheet, Table, keep, part};
use ring3_abi::shm::{SHM_EXEC, SHM_RDONLY};
use ring3_abi::{Errno, IpcId, Pid};
use ring3_wire::reply::Attached;
use ring3_wire::request;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use zerocopy::FromBytes;

/// Who has what attached.
#[derive(Debug, Default)]
pub(super) struct Attachments {
    /// Segments by who has them and by token. A forked child has its parent's tokens.
    held: Table<(Holder, u64), IpcId>,
    /// Each process's last attach, for one that could not be mapped.
    undo: Table<Pid, Undo>,
    /// What, by token, a process's next fork does not give to the child.
    kept: Table<(Pid, u64), ()>,
    last_token: Noted<u64>,
}

/// What undoes an attach.
#[derive(Clone, Copy, Debug)]
struct Undo {
    token: u64,
    /// The segment's atime and lpid before it.
    atime: i64,
    lpid: Pid,
}
keep!(Undo { token, atime, lpid });

/// The keys of what a holder has.
fn all_of(holder: Holder) -> RangeInclusive<(Holder, u64)> {
    (holder, 0)..=(holder, u64::MAX)
}

impl Attachments {
    /// Makes tokens that no other namespace of this broker makes.
    pub(super) fn number(&mut self, namespace: u64) {
        *self.last_token.change() = namespace << 40;
    }

    /// The parts of the state, each with its number.
    pub(super) fn sheets(&mut self) -> [(u8, &mut dyn Sheet); 4] {
        let Attachments { held, undo, kept, last_token } = self;
        [(part::TOKENS, held), (part::UNDONE, undo), (part::KEPT, kept), (part::LAST_TOKEN, last_token)]
    }

    /// What a holder has, by token.
    fn of(&self, holder: Holder) -> BTreeMap<u64, IpcId> {
        self.held.range(all_of(holder)).map(|(&(_, token), &id)| (token, id)).collect()
    }

    /// The segments that a holder has attached.
    pub(super) fn segments_of(&self, holder: Holder) -> impl Iterator<Item = IpcId> {
        self.held.range(all_of(holder)).map(|(_, &id)| id)
    }

    /// How often each holder has each segment.
    pub(super) fn each(&self) -> impl Iterator<Item = (Holder, IpcId)> {
        self.held.iter().map(|(&(holder, _), &id)| (holder, id))
    }

    fn take_kept(&mut self, pid: Pid) -> Vec<u64> {
        let kept: Vec<(Pid, u64)> =
            self.kept.range((pid, 0)..=(pid, u64::MAX)).map(|(key, ())| *key).collect();
        kept.iter().for_each(|key| _ = self.kept.remove(key));
        kept.into_iter().map(|(_, token)| token).collect()
    }

    /// The processes that have any segment attached.
    pub(super) fn processes(&self) -> Vec<Pid> {
        let mut found: Vec<Pid> = self.held.keys().filter_map(|(holder, _)| holder.process()).collect();
        // In the order of the processes already.
        found.dedup();
        found
    }
}

impl State {
    /// A new attachment of a process, and its token.
    fn attached(&mut self, pid: Pid, id: IpcId) -> u64 {
        *self.attachments.last_token.change() += 1;
        let token = *self.attachments.last_token;
        self.hold(Holder::Process(pid), token, id);
        token
    }

    /// From now on a holder has a token.
    fn hold(&mut self, holder: Holder, token: u64, id: IpcId) {
        self.attachments.held.insert((holder, token), id);
        if let Some(segment) = self.segments.derived_mut(&id) {
            *segment.holders.entry(holder).or_default() += 1;
        }
    }

    /// A holder has a token no more; answers the segment.
    fn release(&mut self, holder: Holder, token: u64) -> Option<IpcId> {
        let id = self.attachments.held.remove(&(holder, token))?;
        self.forget_holder(holder, id);
        Some(id)
    }

    /// A holder has nothing any more; answers what it had.
    fn release_all(&mut self, holder: Holder) -> BTreeMap<u64, IpcId> {
        let segments = self.attachments.of(holder);
        for &token in segments.keys() {
            self.release(holder, token);
        }
        if let Holder::Process(pid) = holder {
            self.attachments.undo.remove(&pid);
            self.attachments.take_kept(pid);
        }
        segments
    }

    fn forget_holder(&mut self, holder: Holder, id: IpcId) {
        let Some(segment) = self.segments.derived_mut(&id) else { return };
        if let Some(count) = segment.holders.get_mut(&holder) {
            *count -= 1;
            if *count == 0 {
                segment.holders.remove(&holder);
            }
        }
    }
}

/// The permission bits that an attach wants.
fn wanted(flags: i32) -> i32 {
    let read_write = if flags & SHM_RDONLY != 0 { 0o444 } else { 0o666 };
    read_write | if flags & SHM_EXEC != 0 { 0o111 } else { 0 }
}

/// Counts an attachment and gives its file.
pub(crate) fn attach(ns: &mut Namespace, creds: &Creds, ask: &request::Attach) -> Result<Answer, Trouble> {
    let now = ns.now();
    if !creds.permits(&ns.object(KIND, ask.id)?.perm, wanted(ask.flags)) {
        return Err(Errno::EACCES.into());
    }
    let shm = &mut ns.states.shm;
    let segment = shm.segments.get_mut(&ask.id).ok_or(Errno::EINVAL)?;
    let file = segment.descriptor(ask.flags)?;
    let (atime, lpid) = (segment.atime, segment.lpid);
    segment.opened(creds.pid, now);
    let attached = Attached { size: segment.size, page: segment.page, version: 0 };
    let token = shm.attached(creds.pid, ask.id);
    shm.attachments.undo.insert(creds.pid, Undo { token, atime, lpid });
    let version = if ask.again != 0 { again::allow(ns, creds.pid, ask.id) } else { 0 };
    rows::publish(ns, ask.id);
    Ok(Answer::with(token.cast_signed(), &Attached { version, ..attached }).passing(file))
}

/// Counts an attachment that a process has made without asking, with the token that it gave.
pub(super) fn attach_as(ns: &mut Namespace, pid: Pid, id: IpcId, token: u64) {
    let now = ns.now();
    let shm = &mut ns.states.shm;
    let Some(segment) = shm.segments.get_mut(&id) else { return };
    let undo = Undo { token, atime: segment.atime, lpid: segment.lpid };
    segment.opened(pid, now);
    shm.hold(Holder::Process(pid), token, id);
    shm.attachments.undo.insert(pid, undo);
    rows::publish(ns, id);
}

/// Whether a holder has a token.
pub(super) fn is_held(ns: &Namespace, holder: Holder, token: u64) -> bool {
    ns.states.shm.attachments.held.contains_key(&(holder, token))
}

/// Counts another mapping of what an attachment maps. No permission is asked for: the memory is mapped already. kernel: shm_open().
pub(crate) fn split(ns: &mut Namespace, creds: &Creds, ask: &request::Detach) -> Result<Answer, Trouble> {
    let keeper = keeper(ns, creds.pid, ask.token).ok_or(Errno::EINVAL)?;
    let held = &ns.states.shm.attachments.held;
    let id = *held.get(&(Holder::Process(keeper), ask.token)).ok_or(Errno::EINVAL)?;
    again(ns, creds, keeper, id)
}

/// Counts a mapping that has taken another's place: the old one goes first, and the segment with it if it was the last of a removed one.
/// kernel: shm_mmap().
pub(crate) fn renew(ns: &mut Namespace, creds: &Creds, ask: &request::Detach) -> Result<Answer, Trouble> {
    let keeper = keeper(ns, creds.pid, ask.token).ok_or(Errno::EINVAL)?;
    let id = ns.states.shm.release(Holder::Process(keeper), ask.token).ok_or(Errno::EINVAL)?;
    ns.states.shm.attachments.undo.remove(&keeper);
    close(ns, id, creds.pid);
    again(ns, creds, keeper, id)
}

fn again(ns: &mut Namespace, creds: &Creds, keeper: Pid, id: IpcId) -> Result<Answer, Trouble> {
    let now = ns.now();
    let shm = &mut ns.states.shm;
    shm.segments.get_mut(&id).ok_or(Errno::EINVAL)?.opened(creds.pid, now);
    let token = shm.attached(keeper, id);
    rows::publish(ns, id);
    Ok(Answer::value(token.cast_signed()))
}

/// Notes what a process's next fork does not give to the child (MADV_DONTFORK).
pub(crate) fn keep(ns: &mut Namespace, pid: Pid, tokens: &[u8]) {
    ledgers::read(ns);
    let tokens = tokens.chunks_exact(8).filter_map(|bytes| u64::read_from_bytes(bytes).ok());
    // What it does not have it cannot keep: nobody could say how much that would be.
    let tokens: Vec<u64> = tokens.filter(|&token| keeper(ns, pid, token).is_some()).collect();
    let attachments = &mut ns.states.shm.attachments;
    tokens.into_iter().for_each(|token| _ = attachments.kept.insert((pid, token), ()));
}

/// The process among those in `pid`'s memory that an attachment is counted for.
fn keeper(ns: &Namespace, pid: Pid, token: u64) -> Option<Pid> {
    let held = &ns.states.shm.attachments.held;
    let has = |pid: &Pid| held.contains_key(&(Holder::Process(*pid), token));
    if has(&pid) { Some(pid) } else { ns.neighbours(pid).into_iter().find(has) }
}

/// Takes an attachment back.
pub(crate) fn detach(ns: &mut Namespace, creds: &Creds, ask: &request::Detach) -> Result<Answer, Trouble> {
    ledgers::read(ns);
    end_of(ns, creds.pid, ask.token, ask.undo != 0)?;
    Ok(Answer::default())
}

/// An attachment fewer; `undo`: there never was one.
///
/// # Errors
/// `EINVAL` if the process has no such token.
pub(super) fn end_of(ns: &mut Namespace, pid: Pid, token: u64, undo: bool) -> Result<(), Errno> {
    let keeper = keeper(ns, pid, token).ok_or(Errno::EINVAL)?;
    let shm = &mut ns.states.shm;
    let id = shm.release(Holder::Process(keeper), token).ok_or(Errno::EINVAL)?;
    let last = shm.attachments.undo.remove(&keeper).filter(|last| last.token == token);
    if !undo {
        close(ns, id, pid);
        return Ok(());
    }
    let segment = shm.segments.get_mut(&id).filter(|segment| segment.lpid == pid);
    if let Some((segment, last)) = segment.zip(last) {
        (segment.atime, segment.lpid) = (last.atime, last.lpid);
    }
    uncount(ns, id);
    Ok(())
}

/// One attachment fewer. kernel: shm_close().
fn close(ns: &mut Namespace, id: IpcId, pid: Pid) {
    let now = ns.now();
    let Some(segment) = ns.states.shm.segments.get_mut(&id) else { return };
    segment.lpid = pid;
    segment.dtime = now;
    uncount(ns, id);
}

/// An attachment fewer that never was one: no dtime, no lpid.
fn uncount(ns: &mut Namespace, id: IpcId) {
    if let Some(segment) = ns.states.shm.segments.get_mut(&id) {
        segment.nattch = segment.nattch.saturating_sub(1);
    }
    show(ns, id);
}

/// Attachments fewer, all at once: nobody sees some of them gone, by `closer`, or as if they had never been.
fn close_all(ns: &mut Namespace, segments: &BTreeMap<u64, IpcId>, closer: Option<Pid>) {
    let now = ns.now();
    for id in segments.values() {
        let Some(segment) = ns.states.shm.segments.get_mut(id) else { continue };
        segment.nattch = segment.nattch.saturating_sub(1);
        if let Some(pid) = closer {
            (segment.lpid, segment.dtime) = (pid, now);
        }
    }
    let ids: BTreeSet<IpcId> = segments.values().copied().collect();
    ids.into_iter().for_each(|id| show(ns, id));
}

/// A segment has fewer attachments than before: others see it, or it goes.
fn show(ns: &mut Namespace, id: IpcId) {
    rows::publish(ns, id);
    destroy_if_due(ns, id);
}

/// A fork holds all that its parent does, but for what the parent keeps. kernel: dup_mmap(); shm_open(), run by the parent.
pub(super) fn share(ns: &mut Namespace, parent: Pid, fork: Holder) {
    ledgers::read(ns);
    let now = ns.now();
    let all = ns.neighbours(parent).into_iter().chain([parent]);
    let shm = &mut ns.states.shm;
    let (mut segments, mut kept) = (BTreeMap::new(), Vec::new());
    for pid in all {
        kept.extend(shm.attachments.take_kept(pid));
        segments.extend(shm.attachments.of(Holder::Process(pid)));
    }
    segments.retain(|token, _| !kept.contains(token));
    for (&token, &id) in &segments {
        if let Some(segment) = shm.segments.get_mut(&id) {
            segment.opened(parent, now);
        }
        shm.hold(fork, token, id);
    }
    publish_each(ns, &segments);
}

/// Publishes the rows of segments, each once.
fn publish_each(ns: &Namespace, segments: &BTreeMap<u64, IpcId>) {
    let ids: BTreeSet<IpcId> = segments.values().copied().collect();
    ids.into_iter().for_each(|id| rows::publish(ns, id));
}

/// Gives a holder what another had.
fn hand_over(ns: &mut Namespace, from: Holder, to: Pid) {
    let segments = ns.states.shm.release_all(from);
    for (&token, &id) in &segments {
        ns.states.shm.hold(Holder::Process(to), token, id);
    }
    publish_each(ns, &segments);
}

/// A fork's child has what the fork holds; without a child it is given back.
pub(super) fn inherit(ns: &mut Namespace, fork: Holder, child: Option<Pid>) {
    match child {
        Some(child) => hand_over(ns, fork, child),
        None => {
            let left = ns.states.shm.release_all(fork);
            close_all(ns, &left, None);
        }
    }
}

/// A process's image is gone, and its attachments with it, unless another process runs in the same memory.
pub(super) fn leave(ns: &mut Namespace, pid: Pid) {
    again::end(ns, pid);
    match ns.neighbours(pid).first() {
        Some(&neighbour) => hand_over(ns, Holder::Process(pid), neighbour),
        None => {
            let left = ns.states.shm.release_all(Holder::Process(pid));
            close_all(ns, &left, Some(pid));
        }
    }
}

/// The segments that a process made are nobody's from now on. kernel: exit_shm().
pub(super) fn orphan(ns: &mut Namespace, pid: Pid) {
    let made: Vec<IpcId> =
        ns.names(KIND).iter().filter(|(_, object)| object.creator == pid).map(|(id, _)| id).collect();
    for id in made {
        let segments = &mut ns.states.shm.segments;
        let is_fostered = segments.get(&id).is_some_and(|segment| segment.fostered);
        if let Some(segment) = segments.get_mut(&id).filter(|_| is_fostered) {
            segment.fostered = false;
            destroy_if_due(ns, id);
        }
    }
}

/// Destroys the segments that nobody has and whose maker is gone: shm_rmid_forced was switched on. kernel: shm_destroy_orphaned().
pub(super) fn destroy_orphans(ns: &mut Namespace) {
    let shm = &ns.states.shm;
    let orphans: Vec<IpcId> =
        shm.segments.iter().filter(|(_, segment)| !segment.fostered).map(|(id, _)| *id).collect();
    for id in orphans {
        destroy_if_due(ns, id);
    }
}

/// Destroys a segment that has no attachment and is to go then. kernel: shm_may_destroy().
pub(super) fn destroy_if_due(ns: &mut Namespace, id: IpcId) {
    let forced = ns.limits().shm_rmid_forced != 0;
    let unattached = ns.states.shm.segments.get(&id).is_some_and(|segment| segment.nattch == 0);
    let marked = |mode: u32| mode & ring3_abi::shm::SHM_DEST != 0;
    let due = ns.names(KIND).get(id).is_some_and(|object| forced || marked(object.perm.mode));
    if unattached && due {
        ns.forget(KIND, id);
    }
}
