//! A crowd: processes that all live at once and do a step each when it is their turn.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

/// Figures that a member may hand in for a step.
pub(super) const FIGURES: usize = 8;

/// What a member and the conductor share.
#[repr(C, align(64))]
struct Desk {
    /// The step that it is to do; a member sleeps on it.
    step: AtomicU32,
    /// The last step that it has done; the conductor sleeps on it.
    done: AtomicU32,
    /// The errno or other reason why it has failed.
    failed: AtomicU32,
    figures: [AtomicU64; FIGURES],
}

/// The step that ends a member.
const END: u32 = u32::MAX;

/// The processes.
pub(super) struct Crowd {
    desks: &'static [Desk],
    pids: Vec<i32>,
    step: u32,
}

/// What a member does: its number, the step; figures for the conductor.
pub(super) type Part<'p> = &'p mut dyn FnMut(usize, u32) -> io::Result<[u64; FIGURES]>;

fn futex(word: &AtomicU32, operation: i32, value: u32, seconds: i64) {
    let time = libc::timespec { tv_sec: seconds, tv_nsec: 0 };
    // SAFETY: word and time outlive the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, &raw const time) };
}

impl Crowd {
    /// Room for so many.
    pub(super) fn new(count: usize) -> io::Result<Crowd> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at =
            unsafe { libc::mmap(std::ptr::null_mut(), count * size_of::<Desk>(), protection, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping is so large, is zero, and stays to the end.
        let desks = unsafe { std::slice::from_raw_parts(at.cast::<Desk>(), count) };
        Ok(Crowd { desks, pids: Vec::new(), step: 0 })
    }

    /// Starts the next member. The child does not return.
    pub(super) fn add(&mut self, part: Part<'_>) -> io::Result<()> {
        let member = self.pids.len();
        // SAFETY: this process has one thread.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                // SAFETY: prctl(2) with numbers: nobody goes on without the conductor.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                live(&self.desks[member], member, part)
            }
            pid => {
                self.pids.push(pid);
                Ok(())
            }
        }
    }

    /// The next step's number.
    pub(super) fn next_step(&mut self) -> u32 {
        self.step += 1;
        self.step
    }

    /// Tells a member to do a step.
    pub(super) fn tell(&self, member: usize, step: u32) {
        self.desks[member].step.store(step, SeqCst);
        futex(&self.desks[member].step, libc::FUTEX_WAKE, 1, 0);
    }

    /// Whether a member has done a step.
    pub(super) fn has_done(&self, member: usize, step: u32) -> bool {
        self.desks[member].done.load(SeqCst) >= step
    }

    /// Waits until a member has done a step.
    pub(super) fn wait(&self, member: usize, step: u32) -> io::Result<[u64; FIGURES]> {
        let desk = &self.desks[member];
        for _ in 0..120 {
            let done = desk.done.load(SeqCst);
            if done >= step {
                break;
            }
            futex(&desk.done, libc::FUTEX_WAIT, done, 1);
        }
        match desk.failed.load(SeqCst) {
            _ if desk.done.load(SeqCst) < step => {
                Err(io::Error::other(format!("process {member} does not finish step {step}")))
            }
            0 => Ok(std::array::from_fn(|at| desk.figures[at].load(SeqCst))),
            errno => Err(io::Error::from_raw_os_error(errno as i32)),
        }
    }

    /// Every member does a step, one after the other.
    pub(super) fn in_turn(&mut self, step: u32) -> io::Result<Vec<[u64; FIGURES]>> {
        (0..self.pids.len())
            .map(|member| {
                self.tell(member, step);
                self.wait(member, step)
            })
            .collect()
    }

    /// Ends a member and reaps it.
    pub(super) fn kill(&mut self, member: usize) {
        // SAFETY: the member is a child that has not been reaped.
        unsafe {
            libc::kill(self.pids[member], libc::SIGKILL);
            libc::waitpid(self.pids[member], std::ptr::null_mut(), 0);
        }
    }

    /// Everybody ends.
    pub(super) fn end(self) {
        for member in 0..self.pids.len() {
            self.tell(member, END);
        }
        for pid in self.pids {
            // SAFETY: as above; one that is dead already is no child any more.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        }
    }
}

/// A member's life.
fn live(desk: &Desk, member: usize, part: Part<'_>) -> ! {
    loop {
        let (step, done) = (desk.step.load(SeqCst), desk.done.load(SeqCst));
        if step == END {
            // SAFETY: a forked process ends without what its parent has registered.
            unsafe { libc::_exit(0) };
        }
        if step == done {
            futex(&desk.step, libc::FUTEX_WAIT, step, 60);
            continue;
        }
        match part(member, step) {
            Ok(figures) => {
                for (to, figure) in desk.figures.iter().zip(figures) {
                    to.store(figure, SeqCst);
                }
            }
            Err(why) => desk.failed.store(why.raw_os_error().unwrap_or(libc::EIO) as u32, SeqCst),
        }
        desk.done.store(step, SeqCst);
        futex(&desk.done, libc::FUTEX_WAKE, 1, 0);
    }
}
