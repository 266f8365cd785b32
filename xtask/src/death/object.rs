//! Scenes about objects as a whole: made, removed, attached, and what fork, exec and exit do to them.

use super::process::{self, PATIENCE};
use super::scene::{Case, Fate, Scene, gone};
use super::sysv::{self, Sop, must};
use std::time::Instant;

/// A key that nobody else in the namespace uses.
const KEY: i32 = 0x5233_0001;

/// What the victim does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// shmat, with flags.
    Attach(i32),
    /// The same of a segment that it has attached and detached before, so that nobody is asked.
    AttachAgain,
    /// shmdt of what it attached before.
    Detach,
    /// The same after [`Act::AttachAgain`].
    DetachAgain,
    /// shmdt of a removed segment that nobody else has; `true`: attached as by [`Act::AttachAgain`].
    DetachLast(bool),
    /// IPC_RMID of a segment that others have.
    RemoveSegment,
    /// shmget, msgget, semget of something new.
    Make(Kind, bool),
    /// The same by a process that was leased identifiers, so that nobody is asked; it has made and removed others before.
    MakeAgain(Kind, bool),
    /// IPC_RMID of what was made so.
    RemoveAgain(Kind),
    /// fork of a process with attachments and undo; the child ends at once.
    Fork,
    /// exec of such a process.
    Exec,
    /// _exit of such a process.
    Exit,
}

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Message queues.
    Queue,
    /// Semaphore sets.
    Set,
    /// Shared memory segments.
    Segment,
}

/// One case.
pub(super) struct ObjectCase {
    /// Its name.
    pub(super) name: &'static str,
    /// The operation.
    pub(super) act: Act,
}

/// A segment that the harness has attached, and a set.
struct ObjectScene {
    act: Act,
    segment: i32,
    other: i32,
    at: i64,
    set: i32,
}

impl Case for ObjectCase {
    fn name(&self) -> &'static str {
        self.name
    }

    fn forks(&self) -> bool {
        self.act == Act::Fork
    }

    fn set_up(&self) -> Result<Box<dyn Scene>, String> {
        let segment = must("shmget", sysv::shmget(libc::IPC_PRIVATE, 8192, 0o600))? as i32;
        let other = must("shmget", sysv::shmget(libc::IPC_PRIVATE, 4096, 0o600))? as i32;
        let at = must("shmat", sysv::shmat(segment, 0))?;
        let set = must("semget", sysv::semget(libc::IPC_PRIVATE, 1, 0o600))? as i32;
        must("SETVAL", sysv::semctl(set, 0, libc::SETVAL, 2))?;
        Ok(Box::new(ObjectScene { act: self.act, segment, other, at, set }))
    }
}

impl ObjectScene {
    /// Says how many objects of each kind are there.
    fn used() -> (i32, i32, i32) {
        (sysv::msg_used().0, sysv::sem_used().0, sysv::shm_used().0)
    }

    /// Looks at what nothing that the victim does may change.
    fn constant(&self) -> Result<(), String> {
        match sysv::semctl(self.set, 0, libc::GETVAL, 0) {
            2 => {}
            other => return Err(format!("the undone semaphore is {other}, not 2")),
        }
        let destroyed = self.act == Act::RemoveSegment;
        match sysv::shm_attached(self.segment) {
            Ok((1, dest)) if !dest || destroyed => Ok(()),
            other => Err(format!("the segment has {other:?}, not 1 attachment")),
        }
    }

    /// Judges something that may have been removed.
    fn judge_removed(&self, kind: Kind, fate: &Fate) -> Result<bool, String> {
        let base = (0, 1, 2);
        let there = match kind {
            Kind::Queue => (base.0 + 1, base.1, base.2),
            Kind::Set => (base.0, base.1 + 1, base.2),
            Kind::Segment => (base.0, base.1, base.2 + 1),
        };
        match Self::used() {
            used if used == base => Ok(true),
            used if used == there && !fate.ended => Ok(false),
            used => Err(format!("(queues, sets, segments) in use: {used:?}, not {base:?} or {there:?}")),
        }
    }

    /// Judges something that may have been made.
    fn judge_made(&self, kind: Kind, keyed: bool, fate: &Fate) -> Result<bool, String> {
        let (queues, sets, segments) = Self::used();
        let base = (0, 1, 2);
        let made = match kind {
            Kind::Queue => (base.0 + 1, base.1, base.2),
            Kind::Set => (base.0, base.1 + 1, base.2),
            Kind::Segment => (base.0, base.1, base.2 + 1),
        };
        let done = match (queues, sets, segments) {
            used if used == made => true,
            used if used == base && !fate.ended => false,
            used => {
                return Err(format!("(queues, sets, segments) in use: {used:?}, not {base:?} or {made:?}"));
            }
        };
        if keyed {
            let id = get(kind, KEY, 0);
            if done != (id >= 0) || !done && id != -i64::from(libc::ENOENT) {
                return Err(format!("the key gives {id}, though there are {:?}", Self::used()));
            }
            must("making it now", get(kind, KEY, libc::IPC_CREAT | 0o600))?;
            if Self::used() != made {
                return Err(format!("after making it {:?} are in use, not {made:?}", Self::used()));
            }
        }
        Ok(done)
    }
}

/// Makes and removes objects until that is nothing new.
fn make_often(kind: Kind) {
    for _ in 0..3 {
        remove(kind, get(kind, libc::IPC_PRIVATE, 0o600) as i32);
    }
}

/// IPC_RMID.
fn remove(kind: Kind, id: i32) -> i64 {
    match kind {
        Kind::Queue => sysv::msg_remove(id),
        Kind::Set => sysv::semctl(id, 0, libc::IPC_RMID, 0),
        Kind::Segment => sysv::shm_remove(id),
    }
}

/// msgget, semget, shmget.
fn get(kind: Kind, key: i32, flags: i32) -> i64 {
    match kind {
        Kind::Queue => sysv::msgget(key, flags),
        Kind::Set => sysv::semget(key, 3, flags),
        Kind::Segment => sysv::shmget(key, 4096, flags),
    }
}

/// Attaches and detaches a segment until that is nothing new.
fn use_often(segment: i32) {
    for _ in 0..3 {
        sysv::shmdt(sysv::shmat(segment, 0));
    }
}

/// Reaps whatever the victim left: its children are the harness's now.
fn reap_orphans() -> Result<(), String> {
    let until = Instant::now() + PATIENCE;
    loop {
        // SAFETY: no status is asked for.
        match unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } {
            -1 => return Ok(()),
            0 if Instant::now() > until => return Err("a child of the victim does not end".to_owned()),
            0 => process::give_way(),
            _ => {}
        }
    }
}

impl Scene for ObjectScene {
    fn prepare(&self) -> Box<dyn FnOnce() -> i64 + '_> {
        sysv::semop(self.set, &[Sop(0, -1, true)], 0, None);
        let (segment, other) = (self.segment, self.other);
        match self.act {
            Act::Attach(flags) => Box::new(move || sysv::shmat(segment, flags)),
            Act::AttachAgain => {
                use_often(segment);
                Box::new(move || sysv::shmat(segment, 0))
            }
            Act::Detach => {
                let at = sysv::shmat(segment, 0);
                Box::new(move || sysv::shmdt(at))
            }
            Act::DetachAgain => {
                use_often(segment);
                let at = sysv::shmat(segment, 0);
                Box::new(move || sysv::shmdt(at))
            }
            Act::DetachLast(again) => {
                if again {
                    use_often(other);
                }
                let at = sysv::shmat(other, 0);
                sysv::shm_remove(other);
                Box::new(move || sysv::shmdt(at))
            }
            Act::RemoveSegment => Box::new(move || sysv::shm_remove(segment)),
            Act::MakeAgain(kind, keyed) => {
                make_often(kind);
                let (key, flags) =
                    if keyed { (KEY, libc::IPC_CREAT | 0o600) } else { (libc::IPC_PRIVATE, 0o600) };
                Box::new(move || get(kind, key, flags))
            }
            Act::RemoveAgain(kind) => {
                make_often(kind);
                let id = get(kind, libc::IPC_PRIVATE, 0o600) as i32;
                Box::new(move || remove(kind, id))
            }
            Act::Make(kind, false) => Box::new(move || get(kind, libc::IPC_PRIVATE, 0o600)),
            Act::Make(kind, true) => {
                Box::new(move || get(kind, KEY, libc::IPC_CREAT | libc::IPC_EXCL | 0o600))
            }
            Act::Fork => Box::new(|| process::fork(|| ()).map_or(-1, i64::from)),
            Act::Exec => Box::new(|| {
                let program = c"/bin/true".as_ptr();
                let arguments = [program, std::ptr::null()];
                // SAFETY: a null-terminated array of C strings, which outlives the call.
                unsafe { libc::execv(program, arguments.as_ptr()).into() }
            }),
            // SAFETY: _exit(2) takes a number.
            Act::Exit => Box::new(|| unsafe { libc::_exit(0) }),
        }
    }

    fn judge(&mut self, fate: &Fate) -> Result<bool, String> {
        reap_orphans()?;
        self.constant()?;
        match self.act {
            Act::Make(kind, keyed) | Act::MakeAgain(kind, keyed) => self.judge_made(kind, keyed, fate),
            Act::RemoveAgain(kind) => self.judge_removed(kind, fate),
            Act::RemoveSegment => match sysv::shm_attached(self.segment) {
                Ok((1, true)) => {
                    must("shmdt", sysv::shmdt(self.at))?;
                    self.at = 0;
                    if sysv::shm_attached(self.segment).is_err_and(gone) {
                        Ok(true)
                    } else {
                        Err("a removed segment outlives its last attachment".to_owned())
                    }
                }
                Ok((1, false)) if !fate.ended => Ok(false),
                other => Err(format!("the removed segment: {other:?}")),
            },
            Act::DetachLast(_) if !sysv::shm_attached(self.other).is_err_and(gone) => {
                Err("a removed segment outlives its last process".to_owned())
            }
            _ => Ok(fate.ended),
        }
    }

    fn go_on(&mut self, operations: usize) -> Result<(), String> {
        for turn in 0..operations.div_ceil(20) {
            let id = must("shmget", sysv::shmget(libc::IPC_PRIVATE, 4096 * (1 + turn % 5), 0o600))? as i32;
            let at = must("shmat", sysv::shmat(id, 0))?;
            // SAFETY: a page that was attached just now, and that nobody else has.
            let first = unsafe { std::ptr::replace(at as *mut u64, 77) };
            if first != 0 {
                return Err(format!("a new segment begins with {first}"));
            }
            must("shmdt", sysv::shmdt(at))?;
            must("IPC_RMID", sysv::shm_remove(id))?;
        }
        must("semop", sysv::semop(self.set, &[Sop(0, -2, true)], libc::IPC_NOWAIT, None))?;
        must("semop", sysv::semop(self.set, &[Sop(0, 2, true)], libc::IPC_NOWAIT, None)).map(drop)
    }

    fn probe(&self) {
        let at = sysv::shmat(self.segment, 0);
        let _ = sysv::shm_attached(self.segment);
        sysv::shmdt(at);
        sysv::semop(self.set, &[Sop(0, 1, true)], libc::IPC_NOWAIT, None);
        sysv::semctl(get(Kind::Set, libc::IPC_PRIVATE, 0o600) as i32, 0, libc::IPC_RMID, 0);
    }

    fn tear_down(&mut self) -> Result<(), String> {
        if self.at > 0 {
            sysv::shmdt(self.at);
        }
        sysv::clear();
        match Self::used() {
            (0, 0, 0) => Ok(()),
            used => Err(format!("(queues, sets, segments) {used:?} are left")),
        }
    }
}
