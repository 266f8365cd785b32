//! semop, semtimedop. semop(2); kernel: ipc/sem.c, __do_semtimedop().

use crate::object::open;
use crate::object::record::{self, Handle, Object};
use crate::object::recover::{Tries, recover};
use crate::object::sleeping::{self, Blocking, Cancel, Sleeping};
use crate::process::{self, identity, lives, own_life};
use crate::syscall::proxy;
use crate::syscall::sem::scratch::with_memory;
use crate::syscall::sem::set::{KIND, set_of, settle};
use crate::thread::section::{self, Entry};
use crate::thread::sleep::Agent;
use core::mem::MaybeUninit;
use ring3_abi::ipc::{READ, WRITE};
use ring3_abi::sem::{SEM_UNDO, Sembuf};
use ring3_abi::{Errno, IpcId, Kind};
use ring3_engine::sem::{Set, rules};
use ring3_engine::{Caller, Deadline, Error, Host, Parked, Step, Ticket, WaitWord};
use ring3_os::time::{self, Timespec};
use ring3_os::user::UserPtr;
use ring3_wire::request::Limit;

/// Operations that fit on the stack; longer calls map memory for a moment. SEMOPM_FAST in the kernel.
const FEW: usize = 64;

/// semop(2).
#[inline]
pub fn semop(id: i32, sops: UserPtr<Sembuf>, nsops: usize) -> Result<usize, Errno> {
    if nsops == 1 {
        match one(id, sops) {
            Quick::Done(result) => return result,
            Quick::Long => {}
        }
    }
    timed(id, sops, nsops, Deadline::NEVER)
}

/// semtimedop(2). The timeout counts from now, once.
pub fn semtimedop(
    id: i32,
    sops: UserPtr<Sembuf>,
    nsops: usize,
    timeout: UserPtr<Timespec>,
) -> Result<usize, Errno> {
    let Some(timeout) = timeout.given() else { return semop(id, sops, nsops) };
    let until = deadline(timeout.read()?);
    if nsops == 1 && until.is_some() {
        match one(id, sops) {
            Quick::Done(result) => return result,
            Quick::Long => {}
        }
    }
    timed(id, sops, nsops, until.unwrap_or(INVALID))
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

/// What came of a quick try.
enum Quick {
    Done(Result<usize, Errno>),
    /// Go the long way, which finds every error in its order, and settles who has ended.
    Long,
}

/// A call of one plain operation that can be done at once: one compare-and-swap, no lock.
#[inline(always)]
fn one(id: IpcId, sops: UserPtr<Sembuf>) -> Quick {
    let page = identity::current();
    let _section = section::enter();
    let Some(object) = record::find(KIND, id, page) else { return Quick::Long };
    let op = match sops.read() {
        Ok(op) => op,
        Err(errno) => return Quick::Done(Err(errno)),
    };
    let wanted = if op.sem_op == 0 { READ } else { WRITE };
    if op.sem_flg & SEM_UNDO != 0 || !object.is_writable() || object.permit(wanted).is_err() {
        return Quick::Long;
    }
    let Handle::Set(set) = &object.handle else { return Quick::Long };
    if lives::all_live(set, page) && set.fast(page.pid(), Agent.now(), &op) {
        Quick::Done(Ok(0))
    } else {
        Quick::Long
    }
}

#[inline(never)]
fn timed(id: IpcId, sops: UserPtr<Sembuf>, nsops: usize, until: Deadline) -> Result<usize, Errno> {
    let entry = section::begin();
    let page = process::ready()?;
    // The kernel's count is an unsigned int.
    let nsops = nsops as u32 as usize;
    rules::check_count(nsops, process::limit(Limit::Semopm)?)?;
    with_ops(sops, nsops, |ops| {
        if id < 0 || until == INVALID {
            return Err(Errno::EINVAL);
        }
        // Held before there is an adjustment, so that no death falls between.
        let life = if rules::claims_row(ops) { own_life::hold(page) } else { 0 };
        operate(&entry, id, ops, until, Caller { life, ..process::caller(page) })
    })
}

/// Copies the caller's operations in, to the stack or to memory mapped for the call.
fn with_ops<R>(
    sops: UserPtr<Sembuf>,
    nsops: usize,
    run: impl FnOnce(&[Sembuf]) -> Result<R, Errno>,
) -> Result<R, Errno> {
    let mut few = [MaybeUninit::uninit(); FEW];
    if let Some(room) = few.get_mut(..nsops) {
        return run(sops.read_slice(room)?);
    }
    with_memory(nsops * size_of::<Sembuf>(), |memory| {
        sops.bytes(memory.len()).read(memory)?;
        // SAFETY: the memory starts at a page, holds nsops operations, and any bits are a Sembuf.
        run(unsafe { core::slice::from_raw_parts(memory.as_ptr().cast(), nsops) })
    })
}

fn operate(entry: &Entry, id: IpcId, ops: &[Sembuf], until: Deadline, who: Caller) -> Result<usize, Errno> {
    let mut tries = Tries::default();
    let mut settled = false;
    loop {
        let section = section::enter();
        let object = open::open(KIND, id)?;
        if !settled {
            settle(object);
            settled = true;
        }
        let refusal = rules::check_ops(ops, object.entry.size, |wanted| object.permit(wanted)).err();
        if let Some(errno) = refusal.filter(|_| !rules::claims_row(ops)) {
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
        match set.semop(&Agent, who, ops) {
            Ok(Step::Done(())) => return Ok(0),
            Ok(Step::Wait(ticket)) => {
                let mut call = Operation { object, set, who, ops, entry };
                return sleeping::wait(entry, section, &mut call, ticket, until, Cancel::Never).map(|()| 0);
            }
            Err(error) => recover(object, error, &mut tries)?,
        }
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
