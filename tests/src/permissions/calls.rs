//! What is done to an object: each call and command that asks for a right, in the forms that ask for different ones.

use super::{OWNER, held};
use crate::oracle::sys;
use ring3_abi::ipc::{IPC_CREAT, IPC_EXCL, IPC_INFO, IPC_NOWAIT, IPC_RMID, IPC_SET, IPC_STAT, IpcPerm};
use ring3_abi::msg::{MSG_COPY, MSG_INFO, MSG_STAT, MSG_STAT_ANY, Msqid};
use ring3_abi::sem::{
    GETALL, GETNCNT, GETPID, GETVAL, GETZCNT, SEM_INFO, SEM_STAT, SEM_STAT_ANY, SEM_UNDO, SETALL, SETVAL,
    Sembuf, Semid,
};
use ring3_abi::shm::{SHM_EXEC, SHM_INFO, SHM_LOCK, SHM_RDONLY, SHM_STAT, SHM_STAT_ANY, SHM_UNLOCK, Shmid};
use ring3_abi::{IpcId, Kind, ipc};
use std::ffi::c_void;

/// The object that a call is for.
#[derive(Clone, Copy, Debug)]
pub struct Object {
    /// Which kind.
    pub kind: Kind,
    /// Its identifier.
    pub id: IpcId,
    /// Its key.
    pub key: i32,
    /// The mode that it has.
    pub mode: u32,
}

/// One column of the table.
pub struct Call {
    /// What the table calls it.
    pub name: String,
    /// What it is done to.
    pub kind: Kind,
    /// Does it, and says how that went.
    pub run: Box<dyn Fn(Object) -> String>,
}

/// All of them.
pub fn all() -> Vec<Call> {
    let mut calls = Vec::new();
    for kind in Kind::ALL {
        gets(&mut calls, kind);
        looks(&mut calls, kind);
        sets(&mut calls, kind);
        add(&mut calls, kind, "/proc/sysvipc", listed);
    }
    messages(&mut calls);
    semaphores(&mut calls);
    segments(&mut calls);
    for kind in Kind::ALL {
        add(&mut calls, kind, "IPC_RMID", |object| said(control(object, IPC_RMID, 0)));
    }
    calls
}

fn add(calls: &mut Vec<Call>, kind: Kind, name: &str, run: impl Fn(Object) -> String + 'static) {
    calls.push(Call { name: format!("{}:{name}", kind.word()), kind, run: Box::new(run) });
}

/// A result: the number, or the error's.
pub(super) fn said(result: i64) -> String {
    if result == -1 { format!("E{}", sys::errno()) } else { result.to_string() }
}

/// A result that is an identifier or an address: whether there is one.
fn done(result: i64) -> String {
    if result == -1 { said(result) } else { "done".to_owned() }
}

/// msgget, semget or shmget.
pub(super) fn get(kind: Kind, key: i32, flags: i32) -> i64 {
    // SAFETY: they take numbers only.
    i64::from(unsafe {
        match kind {
            Kind::Msg => libc::msgget(key, flags),
            Kind::Sem => libc::semget(key, 1, flags),
            Kind::Shm => libc::shmget(key, 4096, flags),
        }
    })
}

/// msgctl, semctl (of semaphore 0) or shmctl. `argument` is an address of what the command takes, or a number.
fn ctl(kind: Kind, id: IpcId, command: i32, argument: usize) -> i64 {
    // SAFETY: each caller passes what the command reads and writes.
    i64::from(unsafe {
        match kind {
            Kind::Msg => libc::msgctl(id, command, argument as *mut _),
            Kind::Sem => libc::semctl(id, 0, command, argument),
            Kind::Shm => libc::shmctl(id, command, argument as *mut _),
        }
    })
}

fn control(object: Object, command: i32, argument: usize) -> i64 {
    ctl(object.kind, object.id, command, argument)
}

/// Room for any kind's state.
#[repr(C, align(8))]
struct Room([u8; 512]);
const _: () = assert!(size_of::<Msqid>() <= 512 && size_of::<Semid>() <= 512 && size_of::<Shmid>() <= 512);

impl Room {
    fn perm(&mut self) -> &mut IpcPerm {
        // SAFETY: each kind's state begins with an IpcPerm, of which all bits are good.
        unsafe { &mut *self.0.as_mut_ptr().cast() }
    }
}

/// What a command that fills in an object's state says, and whom it belongs to according to that.
fn look(kind: Kind, id: IpcId, command: i32) -> String {
    let mut room = Room([0; 512]);
    let result = ctl(kind, id, command, room.0.as_mut_ptr() as usize);
    if result == -1 {
        return said(result);
    }
    let IpcPerm { uid, gid, cuid, cgid, mode, .. } = *room.perm();
    format!("{uid} {gid} {cuid} {cgid} {mode:o}")
}

/// How an object looks to who may see it.
pub fn state(object: Object) -> String {
    look(object.kind, object.id, IPC_STAT)
}

/// Removes an object.
pub(super) fn remove(object: Object) -> i64 {
    control(object, IPC_RMID, 0)
}

/// Uses an object that everybody may use, and leaves it as it was.
pub(super) fn touch(object: Object) {
    let _ = state(object);
    match object.kind {
        Kind::Msg => {
            let _ = (send(object.id), receive(object.id, 0, 0));
        }
        Kind::Sem => {
            let _ = (operate(object.id, &[(0, 1, 0)]), operate(object.id, &[(0, -1, 0)]));
        }
        Kind::Shm => drop(attach(object.id, 0)),
    }
}

fn gets(calls: &mut Vec<Call>, kind: Kind) {
    for flags in [0, 0o400, 0o200, 0o600, 0o040, 0o002, 0o100, 0o001, 0o666, 0o777] {
        add(calls, kind, &format!("get {flags:o}"), move |object| done(get(object.kind, object.key, flags)));
        let create = flags | IPC_CREAT;
        add(calls, kind, &format!("get create {flags:o}"), move |object| {
            done(get(object.kind, object.key, create))
        });
    }
    let exclusive = IPC_CREAT | IPC_EXCL;
    add(calls, kind, "get exclusive", move |object| done(get(object.kind, object.key, exclusive)));
}

fn looks(calls: &mut Vec<Call>, kind: Kind) {
    let (stat, any, info) = match kind {
        Kind::Msg => (MSG_STAT, MSG_STAT_ANY, MSG_INFO),
        Kind::Sem => (SEM_STAT, SEM_STAT_ANY, SEM_INFO),
        Kind::Shm => (SHM_STAT, SHM_STAT_ANY, SHM_INFO),
    };
    add(calls, kind, "IPC_STAT", state);
    for (name, command) in [("STAT", stat), ("STAT_ANY", any)] {
        add(calls, kind, name, move |object| {
            let index = ipc::index_of(object.id).map_or(-1, |index| index as i32);
            look(object.kind, index, command)
        });
    }
    for (name, command) in [("IPC_INFO", IPC_INFO), ("INFO", info)] {
        add(calls, kind, name, move |object| {
            let mut room = Room([0; 512]);
            done(ctl(object.kind, 0, command, room.0.as_mut_ptr() as usize))
        });
    }
}

/// Changes one thing of an object.
pub(super) fn change(object: Object, alter: impl Fn(&mut IpcPerm), bytes: u64) -> String {
    let mut room = Room([0; 512]);
    let perm = room.perm();
    (perm.uid, perm.gid, perm.mode) = (OWNER.0, OWNER.1, object.mode);
    alter(perm);
    if object.kind == Kind::Msg {
        // SAFETY: the room is a queue's state.
        unsafe { (*room.0.as_mut_ptr().cast::<Msqid>()).qbytes = bytes };
    }
    said(control(object, IPC_SET, room.0.as_mut_ptr() as usize))
}

/// What a queue holds at most, unless somebody changes it.
pub(super) const BYTES: u64 = 16384;

fn sets(calls: &mut Vec<Call>, kind: Kind) {
    add(calls, kind, "IPC_SET nothing", |object| change(object, |_| (), BYTES));
    add(calls, kind, "IPC_SET uid", |object| change(object, |perm| perm.uid = 1009, BYTES));
    add(calls, kind, "IPC_SET gid", |object| change(object, |perm| perm.gid = 2009, BYTES));
    add(calls, kind, "IPC_SET mode", |object| change(object, |perm| perm.mode = 0o7751, BYTES));
    add(calls, kind, "IPC_SET no user", |object| change(object, |perm| perm.uid = u32::MAX, BYTES));
    if kind == Kind::Msg {
        add(calls, kind, "IPC_SET less", |object| change(object, |_| (), 100));
        add(calls, kind, "IPC_SET more", |object| change(object, |_| (), BYTES * 4));
    }
}

/// Whether the object's line is in its table of /proc/sysvipc.
fn listed(object: Object) -> String {
    let table = std::fs::read_to_string(format!("/proc/sysvipc/{}", object.kind.word())).unwrap_or_default();
    let id = object.id.to_string();
    let line = table.lines().find(|line| line.split_whitespace().nth(1) == Some(&id));
    line.map_or("no", |_| "yes").to_owned()
}

/// A message of one byte.
#[repr(C)]
struct Message(i64, [u8; 8]);

/// msgsnd(2) of one byte.
pub(super) fn send(id: IpcId) -> i64 {
    let message = Message(1, *b"x       ");
    // SAFETY: a type and a byte of text are there.
    i64::from(unsafe { libc::msgsnd(id, (&raw const message).cast::<c_void>(), 1, IPC_NOWAIT) })
}

fn receive(id: IpcId, kind: i64, flags: i32) -> i64 {
    let mut message = Message(0, [0; 8]);
    // SAFETY: there is room for a type and a byte.
    unsafe { libc::msgrcv(id, (&raw mut message).cast::<c_void>(), 1, kind, flags | IPC_NOWAIT) as i64 }
}

fn messages(calls: &mut Vec<Call>) {
    add(calls, Kind::Msg, "msgsnd", |object| said(send(object.id)));
    add(calls, Kind::Msg, "msgrcv", |object| said(receive(object.id, 0, 0)));
    add(calls, Kind::Msg, "msgrcv of no type there", |object| said(receive(object.id, 7, 0)));
    add(calls, Kind::Msg, "msgrcv copy", |object| said(receive(object.id, 0, MSG_COPY)));
}

/// Semaphore, change, flags.
type Operation = (u16, i16, i16);

/// semop(2).
pub(super) fn operate(id: IpcId, operations: &[Operation]) -> i64 {
    let mut list: Vec<Sembuf> =
        operations.iter().map(|&(sem_num, sem_op, sem_flg)| Sembuf { sem_num, sem_op, sem_flg }).collect();
    // SAFETY: the operations live through the call.
    i64::from(unsafe { libc::semop(id, list.as_mut_ptr().cast(), list.len()) })
}

fn semaphores(calls: &mut Vec<Call>) {
    const NOWAIT: i16 = IPC_NOWAIT as i16;
    let lists: [(&str, &[Operation]); 8] = [
        ("semop up", &[(0, 1, 0)]),
        ("semop down", &[(0, -1, NOWAIT)]),
        ("semop too far down", &[(0, -9, NOWAIT)]),
        ("semop zero", &[(0, 0, NOWAIT)]),
        ("semop up undo", &[(0, 1, SEM_UNDO)]),
        ("semop up, zero", &[(0, 1, 0), (0, 0, NOWAIT)]),
        ("semop no such semaphore", &[(5, 1, 0)]),
        ("semop zero of no such semaphore", &[(5, 0, 0)]),
    ];
    for (name, list) in lists {
        add(calls, Kind::Sem, name, move |object| said(operate(object.id, list)));
    }
    let commands = [
        ("GETVAL", GETVAL),
        ("GETPID", GETPID),
        ("GETNCNT", GETNCNT),
        ("GETZCNT", GETZCNT),
        ("SETVAL", SETVAL),
    ];
    for (name, command) in commands {
        let say = if command == GETPID { done } else { said };
        add(calls, Kind::Sem, name, move |object| say(control(object, command, 3)));
    }
    add(calls, Kind::Sem, "SETVAL out of range", |object| said(control(object, SETVAL, 40_000)));
    for (name, command) in [("GETALL", GETALL), ("SETALL", SETALL)] {
        add(calls, Kind::Sem, name, move |object| {
            let mut values = [2_u16; 4];
            said(control(object, command, values.as_mut_ptr() as usize))
        });
    }
}

/// shmat(2); detaches again. A segment that is attached read-only says what else can be done with it.
pub(super) fn attach(id: IpcId, flags: i32) -> String {
    // SAFETY: at an address of the kernel's choice.
    let at = unsafe { libc::shmat(id, std::ptr::null(), flags) };
    if at as isize == -1 {
        return said(-1);
    }
    let more = if flags & SHM_RDONLY != 0 { held::segment(at as usize, 4096) } else { String::new() };
    // SAFETY: attached above, and nothing refers to it.
    let detached = i64::from(unsafe { libc::shmdt(at) });
    format!("attached, {}{}{more}", said(detached), if more.is_empty() { "" } else { ", " })
}

fn segments(calls: &mut Vec<Call>) {
    let flags =
        [("", 0), (" read", SHM_RDONLY), (" execute", SHM_EXEC), (" read execute", SHM_RDONLY | SHM_EXEC)];
    for (name, flags) in flags {
        add(calls, Kind::Shm, &format!("shmat{name}"), move |object| attach(object.id, flags));
    }
    add(calls, Kind::Shm, "SHM_LOCK", |object| said(control(object, SHM_LOCK, 0)));
    add(calls, Kind::Shm, "SHM_UNLOCK", |object| said(control(object, SHM_UNLOCK, 0)));
}
