//! semctl. semctl(2); kernel: ipc/sem.c, ksys_semctl().
//!
//! What a set's values are, its region says to whoever may see it; everything else is the broker's to answer.

use crate::object::open;
use crate::object::record::{self, Object};
use crate::object::recover::{Tries, recover};
use crate::process::{self, identity};
use crate::syscall::sem::scratch::with_memory;
use crate::syscall::sem::set::{KIND, set_of, settle, settle_in_time};
use crate::syscall::{get, proxy};
use crate::thread::section::{self, Section};
use crate::thread::sleep::Agent;
use ring3_abi::ipc::{IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, READ, WRITE};
use ring3_abi::sem::{
    GETALL, GETNCNT, GETPID, GETVAL, GETZCNT, SEM_INFO, SEM_STAT, SEM_STAT_ANY, SETALL, SETVAL, Semid,
    Seminfo,
};
use ring3_abi::{Errno, IpcId};
use ring3_engine::sem::{Set, rules};
use ring3_engine::{Caller, Error, Host};
use ring3_os::user::UserPtr;
use ring3_wire::request::StatBy;

/// `union semun`: what it is, the command says.
#[derive(Clone, Copy, Debug)]
pub struct Semun(usize);

impl Semun {
    /// Takes the word that it travels in.
    #[inline]
    pub const fn of(word: usize) -> Semun {
        Semun(word)
    }

    /// `val`.
    fn val(self) -> i32 {
        self.0 as i32
    }

    /// `buf`, `array` or `__buf`.
    fn pointer<T>(self) -> UserPtr<T> {
        UserPtr::claim(self.0)
    }
}

/// semctl(2) if it can be done at once: GETVAL of an open set with no adjustments in it, whose semaphore the lock does not rule. `None`: call
/// [`semctl`], which finds every error in its order.
#[inline(always)]
pub fn semctl_at_once(id: i32, num: i32, cmd: i32) -> Option<usize> {
    if cmd != GETVAL {
        return None;
    }
    let section = section::enter();
    let value = record::find(KIND, id, identity::current()).and_then(|object| {
        let set = set_of(object).filter(|set| object.direct && !set.has_adjustments())?;
        set.peek(num as u32)
    });
    drop(section);
    value.map(|(value, _)| value as usize)
}

/// semctl(2).
pub fn semctl(id: i32, num: i32, cmd: i32, arg: Semun) -> Result<usize, Errno> {
    if id < 0 {
        return Err(Errno::EINVAL);
    }
    match cmd {
        IPC_INFO => get::info(KIND, arg.pointer(), |limits, _| Seminfo::of(limits)),
        SEM_INFO => get::info(KIND, arg.pointer(), |limits, directory| {
            Seminfo::of(limits).in_use(directory.usage(KIND).0, directory.totals().0)
        }),
        IPC_STAT => stat(id, arg.pointer()),
        SEM_STAT | SEM_STAT_ANY => stat_at(id, cmd, arg.pointer()),
        GETALL | GETVAL | GETPID | GETNCNT | GETZCNT | SETALL => values(id, num, cmd, arg.pointer()),
        SETVAL => setval(id, num, arg.val()),
        IPC_SET => {
            process::ready()?;
            let new = arg.pointer::<Semid>().read()?;
            if set_again(id, &new) { Ok(0) } else { get::set(KIND, id, &new.perm, 0) }
        }
        IPC_RMID => get::remove(KIND, id),
        _ => Err(Errno::EINVAL),
    }
}

/// Opens a set, once those with adjustments in it that have ended are settled.
fn open_settled(id: IpcId) -> Result<&'static Object, Errno> {
    let object = open::open(KIND, id)?;
    settle(object);
    Ok(object)
}

/// Runs an operation on a mapped set until it is done; or asks the broker.
fn on_set<R>(
    id: IpcId,
    check: impl Fn(&Object) -> Result<(), Errno>,
    mut run: impl FnMut(&Set<'static>, Caller, &Section) -> Result<R, Error>,
    mut otherwise: impl FnMut(&Object) -> Result<R, Errno>,
) -> Result<R, Errno> {
    let mut tries = Tries::default();
    loop {
        let section = section::enter();
        let object = open_settled(id)?;
        check(object)?;
        let who = process::caller(process::ready()?);
        match set_of(object) {
            Some(set) if object.is_writable() => match run(set, who, &section) {
                Ok(value) => return Ok(value),
                Err(error) => recover(object, error, &mut tries)?,
            },
            _ => return otherwise(object),
        }
    }
}

/// Checks a command on values against the set that it is for.
fn check(object: &Object, cmd: i32, num: i32) -> Result<(), Errno> {
    rules::check_command(cmd, num, object.entry.size, |wanted| object.permit(wanted))
}

fn setval(id: IpcId, num: i32, value: i32) -> Result<usize, Errno> {
    rules::check_value(value)?;
    on_set(
        id,
        |object| check(object, SETVAL, num),
        |set, who, _| set.setval(&Agent, who, num as u32, value).map(|()| 0),
        |_| proxy::semctl(id, num, SETVAL, value),
    )
}

/// GETVAL and its like: kernel: semctl_main().
fn values(id: IpcId, num: i32, cmd: i32, arg: UserPtr<u16>) -> Result<usize, Errno> {
    match cmd {
        GETALL => return get_all(id, arg),
        SETALL => return set_all(id, arg),
        _ => {}
    }
    if cmd == GETVAL || cmd == GETPID {
        // Lock-free if nobody holds several semaphores at once; good on a mapping that may only be read too.
        let section = section::enter();
        let object = open_settled(id)?;
        check(object, cmd, num)?;
        if cmd == GETPID && process::pids_abroad() {
            drop(section);
            return proxy::semctl(id, num, cmd, 0);
        }
        if let Some((value, pid)) = set_of(object).and_then(|set| set.peek(num as u32)) {
            return Ok(if cmd == GETVAL { value as usize } else { pid as usize });
        }
    }
    on_set(
        id,
        |object| check(object, cmd, num),
        |set, who, _| match cmd {
            GETVAL => set.getval(&Agent, who, num as u32).map(|value| value as usize),
            GETPID => set.getpid(&Agent, who, num as u32).map(|pid| pid as usize),
            _ => {
                let (more, zero) = set.counts(&Agent, who, num as u32)?;
                Ok(if cmd == GETNCNT { more as usize } else { zero as usize })
            }
        },
        |_| proxy::semctl(id, num, cmd, 0),
    )
}

fn count_of(id: IpcId, wanted: u32) -> Result<usize, Errno> {
    let _section = section::enter();
    let object = open::open(KIND, id)?;
    object.permit(wanted)?;
    Ok(object.entry.size as usize)
}

/// Where a set's values come from.
enum Source {
    /// They were read from the region.
    Region,
    /// The region is not mapped as this needs it: the broker has them.
    Broker,
}

fn get_all(id: IpcId, arg: UserPtr<u16>) -> Result<usize, Errno> {
    let nsems = count_of(id, READ)?;
    with_memory(nsems * 2, |memory| {
        let source = on_set(
            id,
            |object| object.permit(READ),
            |set, who, _| {
                set.getall(&Agent, who, |n, value| {
                    if let Some(place) = memory.get_mut(n as usize * 2..n as usize * 2 + 2) {
                        place.copy_from_slice(&value.to_ne_bytes());
                    }
                })?;
                Ok(Source::Region)
            },
            |_| Ok(Source::Broker),
        )?;
        if let Source::Broker = source {
            proxy::get_all(id, memory)?;
        }
        arg.bytes(memory.len()).write(memory).map(|()| 0)
    })
}

fn set_all(id: IpcId, arg: UserPtr<u16>) -> Result<usize, Errno> {
    let nsems = count_of(id, WRITE)?;
    with_memory(nsems * 2, |memory| {
        arg.bytes(memory.len()).read(memory)?;
        let value = |n: u32| {
            let at = n as usize * 2;
            memory.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_ne_bytes)
        };
        (0..nsems as u32).try_for_each(|n| rules::check_value(i32::from(value(n))))?;
        on_set(
            id,
            |object| object.permit(WRITE),
            |set, who, _| set.setall(&Agent, who, value).map(|()| 0),
            |_| proxy::set_all(id, memory),
        )
    })
}

fn stat(id: IpcId, arg: UserPtr<Semid>) -> Result<usize, Errno> {
    let section = section::enter();
    let object = open::open(KIND, id)?;
    settle_in_time(object);
    object.permit(READ)?;
    if let Some(told) = told(object, arg) {
        return told.map(|()| 0);
    }
    drop(section);
    get::stat(KIND, id, StatBy::Id, arg)
}

/// SEM_STAT and SEM_STAT_ANY.
#[inline(never)]
fn stat_at(index: i32, cmd: i32, arg: UserPtr<Semid>) -> Result<usize, Errno> {
    let by = if cmd == SEM_STAT { StatBy::Index } else { StatBy::IndexAny };
    process::ready()?;
    let section = section::enter();
    let found = get::open_at(KIND, index).inspect(|object| settle_in_time(object));
    if let Some(object) = found.filter(|_| cmd == SEM_STAT) {
        object.permit(READ)?;
    }
    let told = found.and_then(|object| told(object, arg).map(|told| told.map(|()| object.id as usize)));
    drop(section);
    told.unwrap_or_else(|| get::stat(KIND, index, by, arg))
}

/// Tells what there is to tell of a set, if its region is mapped here and this process's ids are the broker's. In a section.
#[inline(always)]
fn told(object: &Object, arg: UserPtr<Semid>) -> Option<Result<(), Errno>> {
    match set_of(object).map(|set| set.stat()) {
        Some(Ok(times)) if object.is_current() && !process::users_abroad() => {
            Some(arg.write(&times.semid(get::perm(&object.entry), object.entry.size)))
        }
        _ => None,
    }
}

/// IPC_SET that leaves everything but the time as it is. `false`: the broker does it, or says why not.
fn set_again(id: IpcId, new: &Semid) -> bool {
    let _section = section::enter();
    let set = get::to_set_again(KIND, id, &new.perm).and_then(set_of);
    let (Some(set), Ok(page)) = (set, process::ready()) else { return false };
    set.set_ctime(&Agent, process::caller(page), Agent.now()).is_ok()
}
