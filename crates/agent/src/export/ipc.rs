//! The twelve calls of System V IPC, and syscall(3).

use crate::libc::{answer, fail};
use ring3_abi::Errno;
use ring3_calls::process::trace;
use ring3_calls::syscall::sem::Semun;
use ring3_calls::syscall::{Call, dispatch, msg, sem, shm};
use ring3_calls::thread::cancel;
use ring3_os::user::UserPtr;

macro_rules! calls {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $call:expr;)*) => {$(
        $(#[$doc])*
        pub extern "C" fn $name($($arg: $ty),*) -> $ret {
            answer(told(stringify!($name), &[$($arg as usize),*], $call)) as $ret
        }
    )*};
}

/// Passes a result on, and on to the trace if there is one.
#[inline(always)]
fn told(name: &str, arguments: &[usize], result: Result<usize, Errno>) -> Result<usize, Errno> {
    if trace::wanted() {
        trace::call(name, arguments, result);
    }
    result
}

calls! {
    /// msgget(2).
    fn msgget(key: i32, flags: i32) -> i32 = msg::msgget(key, flags);
    /// msgctl(2).
    fn msgctl(id: i32, cmd: i32, buf: usize) -> i32 = msg::msgctl(id, cmd, UserPtr::claim(buf));
    /// semget(2).
    fn semget(key: i32, nsems: i32, flags: i32) -> i32 = sem::semget(key, nsems, flags);
    /// semop(2).
    fn semop(id: i32, ops: usize, count: usize) -> i32 = sem::semop(id, UserPtr::claim(ops), count);
    /// semtimedop(2).
    fn semtimedop(id: i32, ops: usize, count: usize, timeout: usize) -> i32 = sem::semtimedop(id, UserPtr::claim(ops), count, UserPtr::claim(timeout));
    /// semctl(2). Its fourth argument is a union that travels like a word.
    fn semctl(id: i32, num: i32, cmd: i32, arg: usize) -> i32 = sem::semctl(id, num, cmd, Semun::of(arg));
    /// shmget(2).
    fn shmget(key: i32, size: usize, flags: i32) -> i32 = shm::shmget(key, size, flags);
    /// shmat(2).
    fn shmat(id: i32, addr: usize, flags: i32) -> isize = shm::shmat(id, addr, flags);
    /// shmdt(2).
    fn shmdt(addr: usize) -> i32 = shm::shmdt(addr);
    /// shmctl(2).
    fn shmctl(id: i32, cmd: i32, buf: usize) -> i32 = shm::shmctl(id, cmd, UserPtr::claim(buf));
}

/// msgsnd(2). A cancellation point.
pub extern "C-unwind" fn msgsnd(id: i32, message: usize, size: usize, flags: i32) -> i32 {
    cancel::cancellation_point();
    let sent = msg::msgsnd(id, UserPtr::claim(message), size, flags);
    answer(told("msgsnd", &[id as usize, message, size, flags as usize], sent)) as i32
}

/// msgrcv(2). A cancellation point.
pub extern "C-unwind" fn msgrcv(id: i32, message: usize, size: usize, msgtyp: i64, flags: i32) -> isize {
    cancel::cancellation_point();
    let got = msg::msgrcv(id, UserPtr::claim(message), size, msgtyp, flags);
    answer(told("msgrcv", &[id as usize, message, size, msgtyp as usize, flags as usize], got))
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
