//! The twelve calls of System V IPC, and syscall(3).

use crate::libc::{answer, fail};
use ring3_abi::Errno;
use ring3_calls::process::trace;
use ring3_calls::syscall::sem::{Quick, Semun, Undone};
use ring3_calls::syscall::{Call, dispatch, msg, sem, shm};
use ring3_calls::thread::cancel;
use ring3_os::user::UserPtr;

macro_rules! calls {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $call:expr;)*) => {$(
        $(#[$doc])*
        pub extern "C" fn $name($($arg: $ty),*) -> $ret {
            if trace::wanted() {
                return told(stringify!($name), &[$($arg as usize),*], move || $call) as $ret;
            }
            answer($call) as $ret
        }
    )*};
}

/// Makes a call that the trace is told of.
#[cold]
fn told(name: &str, arguments: &[usize], call: impl FnOnce() -> Result<usize, Errno>) -> isize {
    let result = call();
    trace::call(name, arguments, result);
    answer(result)
}

calls! {
    /// msgget(2).
    fn msgget(key: i32, flags: i32) -> i32 = msg::msgget(key, flags);
    /// msgctl(2).
    fn msgctl(id: i32, cmd: i32, buf: usize) -> i32 = msg::msgctl(id, cmd, UserPtr::claim(buf));
    /// semget(2).
    fn semget(key: i32, nsems: i32, flags: i32) -> i32 = sem::semget(key, nsems, flags);
    /// semtimedop(2).
    fn semtimedop(id: i32, ops: usize, count: usize, timeout: usize) -> i32 = sem::semtimedop(id, UserPtr::claim(ops), count, UserPtr::claim(timeout));
    /// shmget(2).
    fn shmget(key: i32, size: usize, flags: i32) -> i32 = shm::shmget(key, size, flags);
    /// shmat(2).
    fn shmat(id: i32, addr: usize, flags: i32) -> isize = shm::shmat(id, addr, flags);
    /// shmdt(2).
    fn shmdt(addr: usize) -> i32 = shm::shmdt(addr);
    /// shmctl(2).
    fn shmctl(id: i32, cmd: i32, buf: usize) -> i32 = shm::shmctl(id, cmd, UserPtr::claim(buf));
}

/// semop(2). What can be done at once needs few registers, so that little is saved for it.
pub extern "C" fn semop(id: i32, ops: usize, count: usize) -> i32 {
    if trace::wanted() {
        return semop_traced(id, ops, count);
    }
    match sem::semop_at_once(id, UserPtr::claim(ops), count) {
        Quick::Done => 0,
        Quick::Undone(op) => semop_undone(id, ops, op),
        Quick::Several => semop_several(id, ops, count),
        Quick::Adjusted => semop_adjusted(id, ops),
        Quick::Long => semop_long(id, ops),
    }
}

#[inline(never)]
fn semop_undone(id: i32, ops: usize, op: Undone) -> i32 {
    answer(sem::semop_undone(id, UserPtr::claim(ops), op)) as i32
}

#[inline(never)]
fn semop_several(id: i32, ops: usize, count: usize) -> i32 {
    answer(sem::semop_several(id, UserPtr::claim(ops), count)) as i32
}

#[inline(never)]
fn semop_adjusted(id: i32, ops: usize) -> i32 {
    answer(sem::semop_adjusted(id, UserPtr::claim(ops))) as i32
}

#[inline(never)]
fn semop_long(id: i32, ops: usize) -> i32 {
    answer(sem::semop_long(id, UserPtr::claim(ops))) as i32
}

#[cold]
#[inline(never)]
fn semop_traced(id: i32, ops: usize, count: usize) -> i32 {
    told("semop", &[id as usize, ops, count], move || sem::semop(id, UserPtr::claim(ops), count)) as i32
}

/// semctl(2). Its fourth argument is a union that travels like a word. As in [`semop`], what can be done at once comes first.
pub extern "C" fn semctl(id: i32, num: i32, cmd: i32, arg: usize) -> i32 {
    if !trace::wanted()
        && let Some(value) = sem::semctl_at_once(id, num, cmd)
    {
        return value as i32;
    }
    semctl_at_length(id, num, cmd, arg)
}

#[inline(never)]
fn semctl_at_length(id: i32, num: i32, cmd: i32, arg: usize) -> i32 {
    let call = move || sem::semctl(id, num, cmd, Semun::of(arg));
    if trace::wanted() {
        return told("semctl", &[id as usize, num as usize, cmd as usize, arg], call) as i32;
    }
    answer(call()) as i32
}

/// msgsnd(2). A cancellation point.
pub extern "C-unwind" fn msgsnd(id: i32, message: usize, size: usize, flags: i32) -> i32 {
    cancel::cancellation_point();
    if !trace::wanted() && msg::msgsnd_at_once(id, UserPtr::claim(message), size).is_some() {
        return 0;
    }
    msgsnd_at_length(id, message, size, flags)
}

#[inline(never)]
extern "C-unwind" fn msgsnd_at_length(id: i32, message: usize, size: usize, flags: i32) -> i32 {
    let send = move || msg::msgsnd(id, UserPtr::claim(message), size, flags);
    if trace::wanted() {
        return told("msgsnd", &[id as usize, message, size, flags as usize], send) as i32;
    }
    answer(send()) as i32
}

/// msgrcv(2). A cancellation point.
pub extern "C-unwind" fn msgrcv(id: i32, message: usize, size: usize, msgtyp: i64, flags: i32) -> isize {
    cancel::cancellation_point();
    if !trace::wanted()
        && let Some(received) = msg::msgrcv_at_once(id, UserPtr::claim(message), size, msgtyp, flags)
    {
        return answer(received);
    }
    msgrcv_at_length(id, message, size, msgtyp, flags)
}

#[inline(never)]
extern "C-unwind" fn msgrcv_at_length(
    id: i32,
    message: usize,
    size: usize,
    msgtyp: i64,
    flags: i32,
) -> isize {
    let receive = move || msg::msgrcv(id, UserPtr::claim(message), size, msgtyp, flags);
    if trace::wanted() {
        return told("msgrcv", &[id as usize, message, size, msgtyp as usize, flags as usize], receive);
    }
    answer(receive())
}

/// syscall(2).
pub extern "C" fn syscall(
    number: usize,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> isize {
    let raw = dispatch(Call { number, args: [a, b, c, d, e, f] });
    match Errno::decode(raw) {
        Ok(_) => raw,
        Err(errno) => fail(errno),
    }
}
