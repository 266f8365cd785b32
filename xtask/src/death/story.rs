//! What is done while a broker is killed, and what came of it: requests of every kind, each once, whose results and traces tell whether it was done once.

use crate::ipc::{self, Attached, Kind, Message, sop};
use std::io;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::SeqCst;

/// Keys that the story uses.
const KEY: i32 = 0x5374_0000;
/// A user who is not this process's.
const OTHER: u32 = 1000;
/// How many results a child may have.
const ROOM: usize = 8;

/// A result as a number: 0 or more, or the error's negative.
fn number<T: TryInto<i64>>(result: io::Result<T>) -> i64 {
    match result {
        Ok(value) => value.try_into().unwrap_or(i64::MAX),
        Err(why) => -i64::from(why.raw_os_error().unwrap_or(9999)),
    }
}

/// The same of what has no value worth comparing.
fn done<T>(result: &io::Result<T>) -> i64 {
    result.as_ref().map_or_else(|why| -i64::from(why.raw_os_error().unwrap_or(9999)), |_| 0)
}

/// The story so far: what was done, and what came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Story(pub(super) Vec<(&'static str, i64)>);

impl Story {
    fn tell(&mut self, what: &'static str, came: i64) {
        self.0.push((what, came));
    }
}

/// A child, and memory that it has together with this process.
struct Child {
    pid: i32,
    results: &'static [AtomicI64; ROOM],
}

impl Child {
    /// Does something in a child, as another user if wanted.
    fn does(user: Option<u32>, work: impl FnOnce(&[AtomicI64; ROOM])) -> Child {
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: new memory; a page has room for the results, which may be zero.
        let results: &'static [AtomicI64; ROOM] =
            unsafe { &*libc::mmap(std::ptr::null_mut(), 4096, prot, flags, -1, 0).cast() };
        // SAFETY: this process has one thread; the child ends by _exit.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            if let Some(user) = user {
                // SAFETY: numbers only.
                unsafe { libc::setgroups(0, std::ptr::null()) };
                // SAFETY: these take numbers, too.
                unsafe { (libc::setresgid(user, user, user), libc::setresuid(user, user, user)) };
            }
            work(results);
            // SAFETY: it takes a number.
            unsafe { libc::_exit(0) };
        }
        Child { pid, results }
    }

    /// Waits for its end, and tells what came of what it did.
    fn ends(self, story: &mut Story, whats: &[&'static str]) {
        let mut status = 0;
        // SAFETY: the status outlives the call.
        let waited = unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
        story.tell("the child ends", i64::from(waited == self.pid && status == 0));
        for (what, result) in whats.iter().zip(self.results) {
            story.tell(what, result.load(SeqCst));
        }
        // SAFETY: the mapping of does(), which nobody uses any more.
        unsafe { libc::munmap(self.results.as_ptr().cast_mut().cast(), 4096) };
    }
}

/// Plays it all, and tells it.
pub(super) fn play() -> Story {
    let mut story = Story::default();
    queues(&mut story);
    sets(&mut story);
    segments(&mut story);
    for kind in Kind::ALL {
        story.tell("objects left", number(kind.used()));
    }
    story
}

fn queues(story: &mut Story) {
    let made = ipc::msgget(KEY, libc::IPC_CREAT | libc::IPC_EXCL | 0o622);
    story.tell("msgget makes", done(&made));
    story.tell("msgget again", done(&ipc::msgget(KEY, libc::IPC_CREAT | libc::IPC_EXCL | 0o622)));
    let queue = made.unwrap_or(-1);
    let mut message = Message::<64>::new(5);
    story.tell("msgsnd", done(&ipc::msgsnd(queue, &message, 3, 0)));
    Child::does(Some(OTHER), |results| {
        let message = Message::<64>::new(6);
        results[0].store(done(&ipc::msgsnd(queue, &message, 10, 0)), SeqCst);
        results[1].store(done(&ipc::msgsnd(queue, &message, 20, 0)), SeqCst);
        results[2].store(number(ipc::msgrcv(queue, &mut Message::<64>::new(0), 0, libc::IPC_NOWAIT)), SeqCst);
    })
    .ends(story, &["msgsnd by the broker", "another", "msgrcv without the right"]);
    let state = ipc::queue_state(queue);
    story.tell("messages and bytes", state.map_or(-1, |(count, bytes)| (count * 1000 + bytes) as i64));
    story.tell("msgrcv", number(ipc::msgrcv(queue, &mut message, 6, 0)));
    let read = ipc::msgget(libc::IPC_PRIVATE, 0o644).unwrap_or(-1);
    for len in [0, 40] {
        story.tell("msgsnd", done(&ipc::msgsnd(read, &Message::<64>::new(7), len, 0)));
    }
    let reader = Child::does(Some(OTHER), |results| {
        for result in results.iter().take(3) {
            result.store(number(ipc::msgrcv(read, &mut Message::<64>::new(0), 0, 0)), SeqCst);
        }
    });
    story.tell("msgsnd for a sleeper", done(&ipc::msgsnd(read, &Message::<64>::new(8), 50, 0)));
    reader.ends(story, &["msgrcv by the broker", "another", "one that slept"]);
    story.tell("messages left", ipc::queue_state(read).map_or(-1, |(count, _)| count as i64));
    story.tell("msgctl IPC_SET", done(&chmod(queue, 0o600)));
    story.tell("messages after it", ipc::queue_state(queue).map_or(-1, |(count, _)| count as i64));
    story.tell("IPC_RMID", done(&Kind::Msg.remove(queue)));
    story.tell("IPC_RMID", done(&Kind::Msg.remove(read)));
    story.tell("msgget of what is gone", done(&ipc::msgget(KEY, 0)));
}

/// msgctl(2) IPC_SET of the mode.
fn chmod(queue: i32, mode: u16) -> io::Result<()> {
    // SAFETY: a structure of numbers may be zero; it outlives both calls.
    let failed = unsafe {
        let mut state: libc::msqid_ds = std::mem::zeroed();
        let stat = libc::msgctl(queue, libc::IPC_STAT, &raw mut state);
        state.msg_perm.mode = mode;
        stat != 0 || libc::msgctl(queue, libc::IPC_SET, &raw mut state) != 0
    };
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn sets(story: &mut Story) {
    let set = ipc::semget(KEY, 3, libc::IPC_CREAT | libc::IPC_EXCL | 0o622).unwrap_or(-1);
    story.tell("semop", done(&ipc::semop(set, &mut [sop(0, 5, 0)], None)));
    Child::does(Some(OTHER), |results| {
        results[0].store(done(&ipc::semop(set, &mut [sop(0, 2, 0)], None)), SeqCst);
        results[1].store(number(ipc::semctl(set, 1, libc::SETVAL, 7)), SeqCst);
        results[2]
            .store(done(&ipc::semop(set, &mut [sop(1, 1, 0), sop(2, 1, libc::SEM_UNDO)], None)), SeqCst);
        results[3].store(number(ipc::semctl(set, 1, libc::GETVAL, 0)), SeqCst);
    })
    .ends(story, &["semop by the broker", "SETVAL", "two at once", "GETVAL without the right"]);
    let values = || {
        ipc::values(set, 3).map_or(-1, |all| all.iter().fold(0, |sum, &value| sum * 100 + i64::from(value)))
    };
    story.tell("values", values());
    let sleeper = Child::does(Some(OTHER), |results| {
        results[0].store(done(&ipc::semop(set, &mut [sop(0, -9, 0)], None)), SeqCst);
        results[1].store(done(&ipc::semop(set, &mut [sop(0, -1, 0)], Some(5))), SeqCst);
    });
    story.tell("semop for a sleeper", done(&ipc::semop(set, &mut [sop(0, 2, 0)], None)));
    sleeper.ends(story, &["a semop that slept", "one whose time passed"]);
    story.tell("values", values());
    let undoer = Child::does(None, |results| {
        results[0].store(done(&ipc::semop(set, &mut [sop(0, 3, libc::SEM_UNDO)], None)), SeqCst);
    });
    undoer.ends(story, &["semop with SEM_UNDO"]);
    story.tell("values", values());
    story.tell("IPC_RMID", done(&Kind::Sem.remove(set)));
}

fn segments(story: &mut Story) {
    let segment = ipc::shmget(KEY, 8192, libc::IPC_CREAT | libc::IPC_EXCL | 0o600).unwrap_or(-1);
    let first = Attached::new(segment, 0);
    let second = Attached::new(segment, libc::SHM_RDONLY);
    story.tell("shmat", done(&first) + done(&second));
    story.tell("nattch", number(ipc::attached(segment)));
    let child = Child::does(None, |results| {
        results[0].store(number(ipc::attached(segment)), SeqCst);
        let third = Attached::new(segment, 0);
        results[1].store(done(&third), SeqCst);
        results[2].store(number(ipc::attached(segment)), SeqCst);
        drop(third);
        results[3].store(number(ipc::attached(segment)), SeqCst);
    });
    child.ends(story, &["nattch in a child", "shmat in a child", "nattch then", "nattch after shmdt"]);
    story.tell("nattch after the child", number(ipc::attached(segment)));
    drop(second);
    story.tell("nattch after shmdt", number(ipc::attached(segment)));
    story.tell("IPC_RMID", done(&Kind::Shm.remove(segment)));
    story.tell("shmget of what is gone", done(&ipc::shmget(KEY, 8192, 0)));
    story.tell("nattch of what is removed", number(ipc::attached(segment)));
    drop(first);
    story.tell("it is gone", number(ipc::attached(segment)));
}
