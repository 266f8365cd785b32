//! semop, semtimedop. semop(2); kernel: ipc/sem.c, __do_semtimedop().

use crate::object::open;
use crate::object::record::{self, Handle, Object};
use crate::object::recover::{Tries, recover};
use crate::object::sleeping::{self, Blocking, Cancel, Sleeping};
use crate::process::identity::Identity;
use crate::process::{self, identity, lives, own_life};
use crate::syscall::proxy;
use crate::syscall::sem::at_once;
use crate::syscall::sem::quick::{Quick, Undone, one, semop_at_once};
use crate::syscall::sem::scratch::{FEW, with_memory};
use crate::syscall::sem::set::{KIND, set_of, settle};
use crate::thread::adaptive_spin;
use crate::thread::early::{self, Seen};
use crate::thread::section::{self, Entry, Section};
use crate::thread::sleep::Agent;
use core::mem::MaybeUninit;
use core::sync::atomic::Ordering::Relaxed;
use ring3_abi::ipc::IPC_NOWAIT;
use ring3_abi::sem::Sembuf;
use ring3_abi::{Errno, IpcId, Kind};
use ring3_engine::sem::Set;
use ring3_engine::sem::rules::{self, Shape};
use ring3_engine::{Caller, Deadline, Error, Host, Parked, Step, Ticket, WaitWord};
use ring3_os::time::{self, Timespec};
use ring3_os::user::UserPtr;
use ring3_wire::request::Limit;

/// semop(2).
pub fn semop(id: i32, sops: UserPtr<Sembuf>, nsops: usize) -> Result<usize, Errno> {
    match semop_at_once(id, sops, nsops) {
        Quick::Done => Ok(0),
        Quick::Undone(op) if undone(id, op) => Ok(0),
        Quick::Several => semop_several(id, sops, nsops),
        Quick::Adjusted => semop_adjusted(id, sops),
        Quick::Undone(_) | Quick::Long => semop_long(id, sops),
    }
}

/// semop(2) of one operation that cannot be done at once.
#[inline(always)]
pub fn semop_long(id: i32, sops: UserPtr<Sembuf>) -> Result<usize, Errno> {
    timed(id, sops, 1, Deadline::NEVER)
}

/// semop(2) of one operation on a set in which somebody has adjustments.
#[inline(always)]
pub fn semop_adjusted(id: i32, sops: UserPtr<Sembuf>) -> Result<usize, Errno> {
    among_adjustments(id, sops, Deadline::NEVER)
}

/// semop(2) of one operation with SEM_UNDO, which has been read.
#[inline(always)]
pub fn semop_undone(id: i32, sops: UserPtr<Sembuf>, op: Undone) -> Result<usize, Errno> {
    if at_once::one(id, op) { Ok(0) } else { timed(id, sops, 1, Deadline::NEVER) }
}

/// The same where that need not be as fast: once for all such places.
#[inline(never)]
fn undone(id: i32, op: Undone) -> bool {
    at_once::one(id, op)
}

/// semop(2) of several operations.
#[inline(always)]
pub fn semop_several(id: i32, sops: UserPtr<Sembuf>, nsops: usize) -> Result<usize, Errno> {
    if at_once::several(id, sops, nsops) { Ok(0) } else { timed(id, sops, nsops, Deadline::NEVER) }
}

/// semtimedop(2). The timeout counts from now, once.
pub fn semtimedop(
    id: i32,
    sops: UserPtr<Sembuf>,
    nsops: usize,
    timeout: UserPtr<Timespec>,
) -> Result<usize, Errno> {
    let Some(timeout) = timeout.given() else { return semop(id, sops, nsops) };
    let Some(until) = deadline(timeout.read()?) else { return timed(id, sops, nsops, INVALID) };
    match semop_at_once(id, sops, nsops) {
        Quick::Done => Ok(0),
        Quick::Adjusted => among_adjustments(id, sops, until),
        Quick::Undone(op) if undone(id, op) => Ok(0),
        Quick::Several if at_once::several(id, sops, nsops) => Ok(0),
        _ => timed(id, sops, nsops, until),
    }
}

/// A timeout that the kernel refuses, but only after it has looked at the operations.
const INVALID: Deadline = Deadline(1);

fn deadline(timeout: Timespec) -> Option<Deadline> {
    if timeout.sec < 0 || !(0..1_000_000_000).contains(&timeout.nsec) {
        return None;
    }
    let ns = (timeout.sec as u64).saturating_mul(1_000_000_000).saturating_add(timeout.nsec as u64);
    Some(Deadline(time::monotonic().saturating_add(ns).clamp(2, u64::MAX - 1)))
}

/// A call of one operation on a set in which somebody has adjustments.
#[inline(never)]
fn among_adjustments(id: IpcId, sops: UserPtr<Sembuf>, until: Deadline) -> Result<usize, Errno> {
    match one(id, sops, |_, set, page| lives::all_live(set, page)) {
        Quick::Done => Ok(0),
        _ => timed(id, sops, 1, until),
    }
}

#[inline(never)]
fn timed(id: IpcId, sops: UserPtr<Sembuf>, nsops: usize, until: Deadline) -> Result<usize, Errno> {
    let entry = section::begin();
    let page = process::ready()?;
    // The kernel's count is an unsigned int.
    let nsops = nsops as u32 as usize;
    rules::check_count(nsops, process::limit(Limit::Semopm)?)?;
    let mut few = [MaybeUninit::<Sembuf>::uninit(); FEW];
    let Some(room) = few.get_mut(..nsops) else { return many(&entry, id, sops, nsops, until, page) };
    let ops: &[Sembuf] = if let [only] = room {
        core::slice::from_ref(only.write(Sembuf::from_word(sops.read_word::<{ size_of::<Sembuf>() }>()?)))
    } else {
        sops.read_slice(room)?
    };
    let shape = Shape::of(ops);
    let call = Call { entry: &entry, id, ops, shape, until, who: caller(&entry, page, shape) };
    let early = match ops {
        [op] if wait_early(id, op, page, until) => Some(op),
        _ => None,
    };
    let section = entry.section();
    // The way of most calls, straight; whatever is different is left to operate().
    if let Some(object) = record::find(KIND, id, page)
        && let Handle::Set(set) = &object.handle
        && object.direct
        && until != INVALID
        && lives::all_live(set, page)
        && !shape.exceeds(ops, set.nsems().into())
    {
        if let Some(op) = early.filter(|_| !shape.undo)
            && set.fast(page.pid(), Agent.now(), op)
        {
            return Ok(0);
        }
        return match set.semop_of(&Agent, call.who, ops, shape) {
            Ok(Step::Done(())) => Ok(0),
            other => call.conclude(section, object, set, other),
        };
    }
    drop(section);
    call.operate()
}

/// Waits a little for one operation's turn before it takes its place among the sleepers. Answers whether it may have come.
///
/// A thread that takes and gives back the same semaphore, where somebody has slept meanwhile, also gives the CPU away (`early.rs`): whoever else gets it then may be one of
/// those, and needs nothing of this thread's to go on. Any other looks, if its peer is on another CPU (`adaptive_spin.rs`).
#[inline]
fn wait_early(id: IpcId, op: &Sembuf, page: &Identity, until: Deadline) -> bool {
    let gave_back = &section::thread().gave_back;
    let name = (id as u64) << 16 | u64::from(op.sem_num) | 1 << 63;
    if op.sem_op > 0 {
        gave_back.store(name, Relaxed);
        return false;
    }
    if i32::from(op.sem_flg) & IPC_NOWAIT != 0 {
        return false;
    }
    if op.sem_op < 0 && gave_back.load(Relaxed) == name {
        wait_early_for(id, op, page);
        return false;
    }
    until == Deadline::NEVER && look_early_for(id, op, page)
}

/// Looks whether an operation's turn has come, as long as nobody sleeps on its semaphore, who would be first.
#[inline(never)]
fn look_early_for(id: IpcId, op: &Sembuf, page: &Identity) -> bool {
    let _section = section::enter();
    let object = record::find(KIND, id, page).filter(|object| object.direct);
    let Some(set) = object.and_then(set_of) else { return false };
    let now = || set.glimpse(op.sem_num.into()).filter(|seen| !seen.slow());
    if now().is_none() {
        return false;
    }
    adaptive_spin::look_early(|| now().is_none_or(|seen| !seen.stops(op.sem_op)))
}

#[cold]
fn wait_early_for(id: IpcId, op: &Sembuf, page: &Identity) {
    let mut last = None;
    let mut see = |looks: bool| {
        let _section = section::enter();
        let object = record::find(KIND, id, page).filter(|object| object.direct);
        let Some(set) = object.and_then(set_of) else { return Seen::Over };
        let now = || set.glimpse(op.sem_num.into()).filter(|seen| seen.stops(op.sem_op));
        let before = core::mem::replace(&mut last, now());
        match last {
            None => Seen::Over,
            Some(_) if looks && early::looked(|| now().is_none()) => Seen::Over,
            seen if seen != before => Seen::Moved,
            _ => Seen::Same,
        }
    };
    if see(true) != Seen::Over {
        early::give_way(|| see(false));
    }
}

/// Who calls, with a life that is held before there is an adjustment, so that no death falls between.
#[inline(always)]
fn caller(entry: &Entry, page: &Identity, shape: Shape) -> Caller {
    let life = if shape.undo { own_life::hold(page) } else { 0 };
    Caller { pid: page.pid(), tid: identity::tid_of(entry.thread()), life }
}

/// Operations that do not fit on the stack.
#[inline(never)]
fn many(
    entry: &Entry,
    id: IpcId,
    sops: UserPtr<Sembuf>,
    nsops: usize,
    until: Deadline,
    page: &Identity,
) -> Result<usize, Errno> {
    with_memory(nsops * size_of::<Sembuf>(), |memory| {
        sops.bytes(memory.len()).read(memory)?;
        // SAFETY: the memory starts at a page, holds nsops operations, and any bits are a Sembuf.
        let ops = unsafe { core::slice::from_raw_parts(memory.as_ptr().cast(), nsops) };
        let shape = Shape::of(ops);
        Call { entry, id, ops, shape, until, who: caller(entry, page, shape) }.operate()
    })
}

/// A call's arguments, copied in and looked at.
struct Call<'a> {
    entry: &'a Entry,
    id: IpcId,
    ops: &'a [Sembuf],
    shape: Shape,
    until: Deadline,
    who: Caller,
}

impl Call<'_> {
    #[inline(never)]
    fn operate(&self) -> Result<usize, Errno> {
        let &Call { entry, id, ops, shape, until, who } = self;
        if id < 0 || until == INVALID {
            return Err(Errno::EINVAL);
        }
        let mut tries = Tries::default();
        let mut settled = false;
        loop {
            let section = entry.section();
            let object = open::open(KIND, id)?;
            if !settled {
                settle(object);
                settled = true;
            }
            let refusal = shape.check(ops, object.entry.size, |wanted| object.permit(wanted)).err();
            if let Some(errno) = refusal.filter(|_| !shape.undo) {
                return Err(errno);
            }
            let set = match &object.handle {
                Handle::Set(set) if object.is_writable() => set,
                _ => {
                    drop(section);
                    return proxy::semop(entry, id, ops, until, Blocking::Allowed);
                }
            };
            if let Some(errno) = refusal {
                // The call fails either way.
                let _ = set.claim_row(&Agent, who);
                return Err(errno);
            }
            match set.semop_of(&Agent, who, ops, shape) {
                Ok(Step::Done(())) => return Ok(0),
                Ok(Step::Wait(ticket)) => return self.wait(section, object, set, ticket),
                Err(error) => recover(object, error, &mut tries)?,
            }
        }
    }

    /// What a call comes to that was not done the first time.
    #[inline(never)]
    fn conclude(
        &self,
        section: Section,
        object: &'static Object,
        set: &'static Set<'static>,
        tried: Result<Step<()>, Error>,
    ) -> Result<usize, Errno> {
        match tried {
            Ok(Step::Done(())) => Ok(0),
            Ok(Step::Wait(ticket)) => self.wait(section, object, set, ticket),
            Err(error) => {
                recover(object, error, &mut Tries::default())?;
                drop(section);
                self.operate()
            }
        }
    }

    fn wait(
        &self,
        section: Section,
        object: &'static Object,
        set: &'static Set<'static>,
        ticket: Ticket,
    ) -> Result<usize, Errno> {
        let &Call { entry, ops, until, who, .. } = self;
        let mut call = Operation { object, set, who, ops, entry };
        sleeping::wait(entry, section, &mut call, ticket, until, Cancel::Never).map(|()| 0)
    }
}

/// A semop that sleeps.
struct Operation<'a> {
    object: &'static Object,
    set: &'static Set<'static>,
    who: Caller,
    ops: &'a [Sembuf],
    entry: &'a Entry,
}

impl Sleeping for Operation<'_> {
    type Value = ();
    const KIND: Kind = KIND;

    fn id(&self) -> IpcId {
        self.object.id
    }

    fn wait_word(&self, ticket: Ticket) -> Result<WaitWord<'static>, Error> {
        self.set.wait_word(ticket)
    }

    fn resume(&mut self, ticket: Ticket, why: Parked) -> Result<Step<()>, Error> {
        self.set.resume(&Agent, self.who, ticket, why)
    }

    fn follow(&mut self) -> Result<Ticket, Errno> {
        let mut tries = Tries::default();
        loop {
            let object = open::open(KIND, self.object.id).map_err(|_| Errno::EIDRM)?;
            let set = set_of(object).filter(|_| object.is_writable()).ok_or(Errno::EACCES)?;
            (self.object, self.set) = (object, set);
            match set.adopt(&Agent, self.who) {
                Ok(ticket) => return ticket.ok_or(Errno::EIDRM),
                Err(error) => recover(object, error, &mut tries)?,
            }
        }
    }

    fn by_proxy(&self, until: Deadline, blocking: Blocking) -> Result<(), Errno> {
        proxy::semop(self.entry, self.object.id, self.ops, until, blocking).map(|_| ())
    }

    fn is_current(&self) -> bool {
        self.object.is_current()
    }
}
