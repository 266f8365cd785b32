//! The calls that are counted. Each makes its objects, and knows what comes before and after each time, so that every time is like the last.

use std::io;

/// A call without arguments left open.
type Call = Box<dyn FnMut() -> i64>;

/// One round: only `counted` is counted.
pub(super) struct Round {
    before: Call,
    pub(super) counted: Call,
    after: Call,
}

impl Round {
    /// What comes before.
    pub(super) fn before(&mut self) -> i64 {
        (self.before)()
    }

    /// What comes after.
    pub(super) fn after(&mut self) -> i64 {
        (self.after)()
    }
}

/// One row.
pub(super) struct Row {
    /// Its name.
    pub(super) name: &'static str,
    /// Where the counted function begins.
    pub(super) function: fn() -> usize,
    /// Makes the objects.
    pub(super) make: fn() -> io::Result<Round>,
}

/// All rows.
pub(super) static ROWS: [Row; 17] = [
    Row { name: "semop-down", function: semop, make: || one(0, -1) },
    Row { name: "semop-up", function: semop, make: || one(0, 1) },
    Row { name: "undo-down", function: semop, make: || one(libc::SEM_UNDO, -1) },
    Row { name: "undo-up", function: semop, make: || one(libc::SEM_UNDO, 1) },
    Row { name: "eight-down", function: semop, make: || eight(-1) },
    Row { name: "eight-up", function: semop, make: || eight(1) },
    Row { name: "msgsnd-64", function: || libc::msgsnd as *const () as usize, make: send },
    Row { name: "msgrcv-64", function: || libc::msgrcv as *const () as usize, make: receive },
    Row { name: "getval", function: semctl, make: get_value },
    Row { name: "setval", function: semctl, make: set_value },
    Row { name: "sem-stat", function: semctl, make: sem_stat },
    Row { name: "msg-stat", function: || libc::msgctl as *const () as usize, make: msg_stat },
    Row { name: "shm-stat", function: || libc::shmctl as *const () as usize, make: shm_stat },
    Row { name: "semget", function: || libc::semget as *const () as usize, make: get },
    Row { name: "shmat", function: || libc::shmat as *const () as usize, make: attach },
    Row { name: "shmdt", function: || libc::shmdt as *const () as usize, make: detach },
    Row { name: "sigaction", function: || libc::sigaction as *const () as usize, make: signal },
];

fn semop() -> usize {
    libc::semop as *const () as usize
}

fn semctl() -> usize {
    libc::semctl as *const () as usize
}

/// A round with nothing before and after.
fn alone(counted: impl FnMut() -> i64 + 'static) -> Round {
    Round { before: Box::new(|| 0), counted: Box::new(counted), after: Box::new(|| 0) }
}

/// A private set of 16 semaphores with the value 5.
fn set() -> io::Result<i32> {
    // SAFETY: semget(2) takes numbers.
    let id = done(unsafe { libc::semget(libc::IPC_PRIVATE, 16, 0o600) })?;
    let mut values = [5u16; 16];
    // SAFETY: as many values as the set has.
    done(unsafe { libc::semctl(id, 0, libc::SETALL, values.as_mut_ptr()) })?;
    Ok(id)
}

/// semop of `N` operations.
fn op<const N: usize>(id: i32, mut ops: [libc::sembuf; N]) -> Call {
    // SAFETY: a live array of that length.
    Box::new(move || unsafe { libc::semop(id, ops.as_mut_ptr(), N) }.into())
}

/// One operation of one semaphore; its opposite follows.
fn one(flags: i32, change: i16) -> io::Result<Round> {
    let id = set()?;
    let ops = |sem_op| [libc::sembuf { sem_num: 3, sem_op, sem_flg: flags as i16 }];
    Ok(Round { before: Box::new(|| 0), counted: op(id, ops(change)), after: op(id, ops(-change)) })
}

/// An operation on each of eight semaphores.
fn eight(change: i16) -> io::Result<Round> {
    let id = set()?;
    let ops =
        |sem_op| std::array::from_fn::<_, 8, _>(|n| libc::sembuf { sem_num: n as u16, sem_op, sem_flg: 0 });
    Ok(Round { before: Box::new(|| 0), counted: op(id, ops(change)), after: op(id, ops(-change)) })
}

/// A message of 64 bytes.
#[repr(C)]
struct Message {
    mtype: libc::c_long,
    text: [u8; 64],
}

/// A private queue's two calls of 64 bytes.
fn queue() -> io::Result<(Call, Call)> {
    // SAFETY: msgget(2) takes numbers.
    let id = done(unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) })?;
    let mut got = Box::new(Message { mtype: 0, text: [0; 64] });
    let sent = Box::new(Message { mtype: 1, text: [7; 64] });
    // SAFETY: the message is a long followed by 64 bytes.
    let send = move || unsafe { libc::msgsnd(id, (&raw const *sent).cast(), 64, 0) }.into();
    // SAFETY: the message has room for 64 bytes behind its long.
    let receive = move || unsafe { libc::msgrcv(id, (&raw mut *got).cast(), 64, 0, 0) } as i64 - 64;
    Ok((Box::new(send), Box::new(receive)))
}

fn send() -> io::Result<Round> {
    let (send, receive) = queue()?;
    Ok(Round { before: Box::new(|| 0), counted: send, after: receive })
}

fn receive() -> io::Result<Round> {
    let (send, receive) = queue()?;
    Ok(Round { before: send, counted: receive, after: Box::new(|| 0) })
}

fn get_value() -> io::Result<Round> {
    let id = set()?;
    // SAFETY: GETVAL takes nothing more.
    Ok(alone(move || i64::from(unsafe { libc::semctl(id, 3, libc::GETVAL) }) - 5))
}

fn set_value() -> io::Result<Round> {
    let id = set()?;
    // SAFETY: SETVAL takes a number.
    Ok(alone(move || unsafe { libc::semctl(id, 3, libc::SETVAL, 5) }.into()))
}

fn sem_stat() -> io::Result<Round> {
    let id = set()?;
    let mut stat = Box::<libc::semid_ds>::new_uninit();
    // SAFETY: room for one semid_ds.
    Ok(alone(move || unsafe { libc::semctl(id, 0, libc::IPC_STAT, stat.as_mut_ptr()) }.into()))
}

fn msg_stat() -> io::Result<Round> {
    // SAFETY: msgget(2) takes numbers.
    let id = done(unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) })?;
    let mut stat = Box::<libc::msqid_ds>::new_uninit();
    // SAFETY: room for one msqid_ds.
    Ok(alone(move || unsafe { libc::msgctl(id, libc::IPC_STAT, stat.as_mut_ptr()) }.into()))
}

/// A private segment.
fn segment() -> io::Result<i32> {
    // SAFETY: shmget(2) takes numbers.
    done(unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, 0o600) })
}

fn shm_stat() -> io::Result<Round> {
    let id = segment()?;
    let mut stat = Box::<libc::shmid_ds>::new_uninit();
    // SAFETY: room for one shmid_ds.
    Ok(alone(move || unsafe { libc::shmctl(id, libc::IPC_STAT, stat.as_mut_ptr()) }.into()))
}

fn get() -> io::Result<Round> {
    const KEY: i32 = 0x5233_0002;
    // SAFETY: semget(2) takes numbers.
    done(unsafe { libc::semget(KEY, 16, libc::IPC_CREAT | 0o600) })?;
    // SAFETY: semget(2) takes numbers.
    Ok(alone(|| i64::from(unsafe { libc::semget(KEY, 16, 0) }).min(0)))
}

/// A segment's two calls: where it lies goes from one to the other.
fn attaching() -> io::Result<(Call, Call)> {
    let id = segment()?;
    let place = std::rc::Rc::new(std::cell::Cell::new(0i64));
    let placed = std::rc::Rc::clone(&place);
    let attach = move || {
        // SAFETY: no address is given, so nothing of ours is mapped over.
        place.set(unsafe { libc::shmat(id, std::ptr::null(), 0) } as i64);
        place.get().min(0)
    };
    // SAFETY: no reference into the segment is kept.
    let detach = move || unsafe { libc::shmdt(placed.get() as *const libc::c_void) }.into();
    Ok((Box::new(attach), Box::new(detach)))
}

fn attach() -> io::Result<Round> {
    let (attach, detach) = attaching()?;
    Ok(Round { before: Box::new(|| 0), counted: attach, after: detach })
}

fn detach() -> io::Result<Round> {
    let (attach, detach) = attaching()?;
    Ok(Round { before: attach, counted: detach, after: Box::new(|| 0) })
}

/// A signal's disposition, which the agent passes on to the kernel.
fn signal() -> io::Result<Round> {
    let mut old = Box::<libc::sigaction>::new_uninit();
    // SAFETY: nothing is set; room for one sigaction.
    Ok(alone(move || unsafe { libc::sigaction(libc::SIGUSR1, std::ptr::null(), old.as_mut_ptr()) }.into()))
}

fn done(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
