//! A program's own filter of system calls: seccomp(2), prctl(2) with PR_SET_SECCOMP; kernel: seccomp_set_mode_filter().
//!
//! The filter is amended for the agent's own calls when the program installs it (`ring3_os::seccomp`), and the agent does everything before
//! that it could not do afterwards: from then on it goes without whatever else the filter may forbid. The strict mode, which lets nothing pass but
//! read, write, _exit and sigreturn, cannot be amended; nor can a program that uses IPC natively be in it.

use crate::process::{connection, trace};
use crate::thread::{memory, robust_list};
use ring3_os::arch::nr;
use ring3_os::seccomp::{self, Instruction, LONGEST, PROLOGUE, Program};
use ring3_os::user::UserPtr;
use ring3_os::{map, time, vdso};
use zerocopy::IntoBytes;

/// seccomp's operation that installs a filter.
const SET_MODE_FILTER: u32 = 1;
/// With this flag seccomp answers a descriptor.
const NEW_LISTENER: usize = 1 << 3;
/// prctl's option, and its mode that installs a filter.
pub const PR_SET_SECCOMP: i32 = 22;
const MODE_FILTER: usize = 2;

/// seccomp(2) or prctl(2) by its number, made by `run` with these arguments or with an amended filter.
pub fn by_number(number: usize, args: [usize; 6], run: impl Fn([usize; 6]) -> isize) -> isize {
    let [a, b, filter, d, e, f] = args;
    let with = |filter| run([a, b, filter, d, e, f]);
    match number {
        nr::SECCOMP if a as u32 == SET_MODE_FILTER => installing(UserPtr::claim(filter), b, with),
        nr::PRCTL if a as i32 == PR_SET_SECCOMP && b == MODE_FILTER => {
            installing(UserPtr::claim(filter), 0, with)
        }
        _ => run(args),
    }
}

/// Installs the filter of the `struct sock_fprog` at an address, by `pass`, which makes the program's call with such an address. What cannot be
/// amended goes to the kernel as it is, and so does what the kernel refuses: its answer is the one about the program's own filter.
fn installing(program: UserPtr<Program>, flags: usize, pass: impl Fn(usize) -> isize) -> isize {
    // A vfork child's filter is its own, and what it runs next has another agent.
    let amended = if memory::is_ours() { Amended::of(program) } else { None };
    let Some(amended) = amended else { return pass(program.addr()) };
    prepare();
    // Before it is in force, for all threads.
    let before = seccomp::set_filtered(true);
    let done = match pass(amended.program_at()) {
        ..0 => pass(program.addr()),
        done => done,
    };
    // Without NEW_LISTENER a positive number is the thread that could not take the filter (TSYNC).
    if done == 0 || done > 0 && flags & NEW_LISTENER != 0 {
        trace::end();
    } else {
        seccomp::set_filtered(before);
    }
    done
}

/// Does what only a process without a filter surely can: makes the connection, finds the vDSO, has libc register what it registers late.
fn prepare() {
    connection::prepare();
    robust_list::prepare();
    time::monotonic();
    vdso::cpu();
}

/// A copy of a program's filter behind ours, in memory of its own, with the structure that names it in front.
struct Amended {
    memory: usize,
}

/// Where in that memory the instructions are.
const HEAD: usize = size_of::<Program>();
const LEN: usize = HEAD + LONGEST * size_of::<Instruction>();

impl Amended {
    /// `None`: the filter cannot be read, or would be too long, or there is no memory.
    fn of(program: UserPtr<Program>) -> Option<Amended> {
        let (len, at) = Program::read(program).ok()?.parts();
        let whole = PROLOGUE + len;
        if len == 0 || whole > LONGEST {
            return None;
        }
        let amended = Amended { memory: map::anonymous(LEN).ok()?.as_ptr() as usize };
        let instructions = amended.memory + HEAD;
        // SAFETY: the memory has room for LONGEST instructions, is zeroed, and nobody else's; any bytes are an instruction.
        let all = unsafe { core::slice::from_raw_parts_mut(instructions as *mut Instruction, whole) };
        let (ours, theirs) = all.split_at_mut_checked(PROLOGUE)?;
        seccomp::prologue(ours);
        at.bytes(size_of_val(theirs)).read(theirs.as_mut_bytes()).ok()?;
        let program = Program::new(whole as u16, instructions);
        // SAFETY: a Program has room in front of the instructions, at the beginning of a page of ours.
        unsafe { (amended.memory as *mut Program).write(program) };
        Some(amended)
    }

    fn program_at(&self) -> usize {
        self.memory
    }
}

impl Drop for Amended {
    fn drop(&mut self) {
        // SAFETY: mapped by of(), and known to nobody else.
        let _ = unsafe { map::unmap(self.memory, LEN) };
    }
}
