//! Whether a process sleeps: not guessed from time, but seen.
//!
//! `/proc/PID/syscall` names a system call only of a task that is off its CPU in it; `/proc/PID/schedstat` counts how often the
//! task was given a CPU. If each of a group of tasks sleeps in a first look, and in a second look sleeps with the same
//! count, then all of them slept at one moment between the looks: nothing is under way any more, unless a timer or the
//! outside moves it. So the driver looks at its sleeping workers *and* at the processes that may still work for
//! them (ring3's broker). A task that sleeps uninterruptibly (state D) waits for the kernel, which is under way: for memory, for a disk.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// One task under observation.
pub struct Watch {
    syscall: File,
    runs: File,
    stat: File,
}

impl Watch {
    /// Watches thread `tid` of process `pid`.
    pub fn new(pid: u32, tid: u32) -> io::Result<Watch> {
        let dir = format!("/proc/{pid}/task/{tid}");
        Ok(Watch {
            syscall: File::open(format!("{dir}/syscall"))?,
            runs: File::open(format!("{dir}/schedstat"))?,
            stat: File::open(format!("{dir}/stat"))?,
        })
    }

    /// How often it was given a CPU; 0 when it is gone.
    pub fn runs(&self) -> u64 {
        let mut buffer = [0; 96];
        let len = super::sys::reread(self.runs.as_raw_fd(), &mut buffer).unwrap_or(0);
        let text = std::str::from_utf8(&buffer[..len]).unwrap_or_default();
        text.split_whitespace().nth(2).and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// Whether its state is D: the letter behind its name, which ends with the last parenthesis.
    fn is_uninterruptible(&self) -> bool {
        let mut buffer = [0; 256];
        let len = super::sys::reread(self.stat.as_raw_fd(), &mut buffer).unwrap_or(0);
        let text = buffer.get(..len).unwrap_or_default();
        let name_end = text.iter().rposition(|byte| *byte == b')');
        name_end.is_some_and(|at| text.get(at + 2) == Some(&b'D'))
    }

    /// How often it was given a CPU, if it sleeps (or is stopped, or gone).
    fn asleep(&self) -> Option<u64> {
        let mut buffer = [0; 256];
        match super::sys::reread(self.syscall.as_raw_fd(), &mut buffer) {
            Ok(len) if buffer.get(..len)?.starts_with(b"running") || self.is_uninterruptible() => None,
            Ok(_) => Some(self.runs()),
            Err(_) => Some(0), // gone
        }
    }
}

impl Watch {
    /// Whether it waits for an answer over a socket: then a peer may act for it by and by, without being asked.
    pub fn listens(&self) -> bool {
        let mut buffer = [0; 32];
        let len = super::sys::reread(self.syscall.as_raw_fd(), &mut buffer).unwrap_or(0);
        let text = std::str::from_utf8(&buffer[..len]).unwrap_or_default();
        let number = text.split_whitespace().next().and_then(|word| word.parse().ok());
        number.is_some_and(|n: i64| [libc::SYS_recvmsg, libc::SYS_recvfrom, libc::SYS_ppoll].contains(&n))
    }
}

/// How often each was given a CPU, if all sleep.
pub fn counts<'a>(all: impl Iterator<Item = &'a Watch>) -> Option<Vec<u64>> {
    all.map(Watch::asleep).collect()
}

/// Whether all of them slept at one moment.
pub fn quiet<'a>(all: impl Iterator<Item = &'a Watch> + Clone) -> bool {
    counts(all.clone()).is_some_and(|first| counts(all) == Some(first))
}

/// The children of `pid`, from its first thread's list.
pub fn children(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}
