//! A program's own filter of system calls, amended for the agent's calls. seccomp(2); kernel: seccomp_check_filter(), seccomp_attach_filter().
//!
//! A program that lists the calls it may make does not list ours. The amended filter lets a few numbers (`RULES`) pass if the instruction
//! pointer is that of the agent's own system calls ([`own_places`]), and hands everything else to the program's filter as it was.
//!
//! Whoever runs code inside the program can jump to those instructions, so the list is a widening of the filter: it has nothing that opens,
//! starts or reaches what the process has not, and says of arguments what a filter can see of them.
//!
//! # Invariants
//! Q1. The program's filter begins as it would without ours: with 0 in both registers, and nothing in memory.
//! Q2. Of a number that is not in the list the filter looks at machine and number only, so that the kernel can keep in mind that such
//!     a call passes (kernel: seccomp_is_const_allow()).

use crate::arch::{OWN_PLACES, nr, own_places};
use crate::user::UserPtr;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use ring3_abi::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One instruction. kernel: struct sock_filter.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Instruction {
    code: u16,
    /// How many to skip if the comparison is true, and if not.
    yes: u8,
    no: u8,
    value: u32,
}

/// The most instructions a filter may have (BPF_MAXINSNS).
pub const LONGEST: usize = 4096;

/// BPF_LD | BPF_W | BPF_ABS
const LOAD: u16 = 0x20;
/// BPF_ALU | BPF_AND | BPF_K
const AND: u16 = 0x54;
/// BPF_JMP | BPF_JA
const JUMP: u16 = 0x05;
/// BPF_JMP | BPF_JEQ | BPF_K
const EQUAL: u16 = 0x15;
/// BPF_JMP | BPF_JSET | BPF_K
const ANY_BIT: u16 = 0x45;
/// BPF_RET | BPF_K
const RETURN: u16 = 0x06;
const SECCOMP_RET_ALLOW: u32 = 0x7fff_0000;

/// What a filter sees (struct seccomp_data): number, machine, instruction pointer, arguments. Both machines put a word's lower half first.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const POINTER_LOW: u32 = 8;
const POINTER_HIGH: u32 = 12;
const fn argument(n: u32) -> u32 {
    16 + 8 * n
}

/// What an argument (of which 32 bits are looked at) must be.
#[derive(Clone, Copy, Debug)]
enum When {
    Always,
    Equals(u32, u32),
    /// None of these bits is set.
    Without(u32, u32),
}
use When::{Always, Equals, Without};

/// The agent's own calls. Calls of one number stand together.
const RULES: [(usize, When); RULE_COUNT] = [
    // To sleep and to wake.
    (nr::FUTEX, Always),
    (nr::SCHED_YIELD, Always),
    (nr::CLOCK_GETTIME, Always),
    (nr::GETCPU, Always),
    // To ask the broker, by the connection that there is or by another over it (AF_UNIX).
    (nr::SENDMSG, Always),
    (nr::RECVMSG, Always),
    (nr::PPOLL, Always),
    (nr::SOCKETPAIR, Equals(0, 1)),
    (nr::FSTAT, Always),
    (nr::CLOSE, Always),
    // F_DUPFD_CLOEXEC
    (nr::FCNTL, Equals(1, 1030)),
    // To map regions and segments, never to be executed: SHM_EXEC is for the program's filter to decide.
    (nr::MMAP, Without(2, crate::map::PROT_EXEC as u32)),
    (nr::MUNMAP, Always),
    (nr::MREMAP, Always),
    (nr::MUNLOCK, Always),
    (nr::MINCORE, Always),
    // MADV_WIPEONFORK
    (nr::MADVISE, Equals(2, 18)),
    // To put off signals, to take a handler away that is to run once (SA_RESETHAND), to end by a fault.
    (nr::RT_SIGPROCMASK, Always),
    (nr::RT_TGSIGQUEUEINFO, Always),
    (nr::RT_SIGRETURN, Always),
    (nr::RT_SIGACTION, Always),
    // To know who calls.
    (nr::GETPID, Always),
    (nr::GETTID, Always),
    (nr::GETPPID, Always),
    (nr::GETUID, Always),
    (nr::GETGID, Always),
    (nr::GETEUID, Always),
    (nr::GETRESUID, Always),
    (nr::GETEGID, Always),
    (nr::GETGROUPS, Always),
    (nr::CAPGET, Always),
    (nr::GETRANDOM, Always),
    (nr::GET_ROBUST_LIST, Always),
    // Signal 0: whether there is such a thread. KCMP_VM. PR_GET_TID_ADDRESS, PR_GET_AUXV.
    (nr::TGKILL, Equals(2, 0)),
    (nr::KCMP, Equals(2, 1)),
    (nr::PRCTL, Equals(0, 40)),
    (nr::PRCTL, Equals(0, 0x4155_5856)),
];
const RULE_COUNT: usize = 37;

/// Instructions in front of the program's. A conditional jump goes over 255 at most.
pub const PROLOGUE: usize = 4 + NUMBERS + 1 + 4 * OWN_PLACES + 1 + passing() + 1;
const _: () = assert!(PROLOGUE < 255);

/// How many numbers there are.
const NUMBERS: usize = {
    let (mut count, mut n) = (0, 0);
    while n < RULE_COUNT {
        count += is_first(n) as usize;
        n += 1;
    }
    count
};

/// Whether no earlier rule has this one's number.
const fn is_first(n: usize) -> bool {
    n == 0 || RULES[n - 1].0 != RULES[n].0
}

/// How many instructions the rules have.
const fn passing() -> usize {
    let (mut count, mut n) = (1, 0);
    while n < RULE_COUNT {
        count += if matches!(RULES[n].1, Always) { 2 } else { 5 };
        n += 1;
    }
    count
}

/// Writes instructions one after the other.
struct Writer<'a> {
    into: &'a mut [Instruction],
    len: usize,
}

impl Writer<'_> {
    fn put(&mut self, code: u16, value: u32, yes: usize, no: usize) {
        if let Some(place) = self.into.get_mut(self.len) {
            // All jumps are shorter than the prologue, and that is short enough.
            *place = Instruction { code, yes: yes as u8, no: no as u8, value };
        }
        self.len += 1;
    }

    fn allow(&mut self) {
        self.put(RETURN, SECCOMP_RET_ALLOW, 0, 0);
    }

    /// To the program's own filter.
    fn leave(&mut self) {
        self.put(JUMP, (PROLOGUE - 1 - self.len - 1) as u32, 0, 0);
    }
}

/// Writes what comes before a program's filter to the front of `into`, which has room for [`PROLOGUE`] instructions.
pub fn prologue(into: &mut [Instruction]) {
    let mut to = Writer { into, len: 0 };
    to.put(LOAD, ARCH, 0, 0);
    to.put(EQUAL, nr::AUDIT_ARCH, 1, 0);
    to.leave();
    to.put(LOAD, NUMBER, 0, 0);
    let numbers = RULES.iter().enumerate().filter(|&(n, _)| is_first(n)).map(|(_, rule)| rule.0);
    for (n, number) in numbers.enumerate() {
        to.put(EQUAL, number as u32, NUMBERS - n, 0);
    }
    to.leave();
    for (n, place) in own_places().into_iter().enumerate() {
        let after = 4 * (OWN_PLACES - 1 - n) + 1;
        to.put(LOAD, POINTER_HIGH, 0, 0);
        to.put(EQUAL, (place >> 32) as u32, 0, 2);
        to.put(LOAD, POINTER_LOW, 0, 0);
        to.put(EQUAL, place as u32, after, 0);
    }
    to.leave();
    to.put(LOAD, NUMBER, 0, 0);
    for (number, when) in RULES {
        let (at, code, value) = match when {
            Always => {
                to.put(EQUAL, number as u32, 0, 1);
                to.allow();
                continue;
            }
            Equals(n, value) => (argument(n), EQUAL, value),
            Without(n, bits) => (argument(n), ANY_BIT, bits),
        };
        let is_equal = code == EQUAL;
        to.put(EQUAL, number as u32, 0, 4);
        to.put(LOAD, at, 0, 0);
        to.put(code, value, usize::from(!is_equal), usize::from(is_equal));
        to.allow();
        to.put(LOAD, NUMBER, 0, 0);
    }
    // Q1; the other register was not touched.
    to.put(AND, 0, 0, 0);
}

/// Whether a filter may be in force in this process that does not know the agent, or only knows its few calls.
static FILTERED: AtomicBool = AtomicBool::new(false);

/// Whether to do without calls that a filter may forbid.
#[inline]
pub fn is_filtered() -> bool {
    FILTERED.load(Relaxed)
}

/// Notes whether a filter may be in force, and answers what was noted before. Threads and forked children have it, too.
pub fn set_filtered(yes: bool) -> bool {
    FILTERED.swap(yes, Relaxed)
}

/// The kernel's `struct sock_fprog`: how many instructions, and where.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Program {
    len: u16,
    pad: [u16; 3],
    at: usize,
}

impl Program {
    /// The program of so many instructions at an address.
    pub fn new(len: u16, at: usize) -> Program {
        Program { len, pad: [0; 3], at }
    }

    /// Reads the caller's structure.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn read(at: UserPtr<Program>) -> Result<Program, Errno> {
        at.read()
    }

    /// How long it is, and where.
    pub fn parts(&self) -> (usize, UserPtr<Instruction>) {
        (usize::from(self.len), UserPtr::claim(self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    const FORBIDDEN: u32 = 0x0005_0001;

    /// What a filter answers for a call; the few instructions that a prologue and the tests' filters have.
    fn answer(filter: &[Instruction], call: &[u32; 16]) -> u32 {
        let (mut at, mut register) = (0, 0);
        loop {
            let Instruction { code, yes, no, value } = filter[at];
            at += 1;
            let skip = |holds: bool| usize::from(if holds { yes } else { no });
            match code {
                LOAD => register = call[value as usize / 4],
                AND => register &= value,
                JUMP => at += value as usize,
                EQUAL => at += skip(register == value),
                ANY_BIT => at += skip(register & value != 0),
                RETURN => return value,
                _ => panic!("{code:#x}"),
            }
        }
    }

    /// The prologue before a filter that forbids everything, if its register is 0.
    fn amended() -> Vec<Instruction> {
        let mut filter = vec![Instruction::default(); PROLOGUE];
        prologue(&mut filter);
        assert!(filter.iter().all(|instruction| instruction.code != 0));
        assert_eq!(filter[PROLOGUE - 1].code, AND);
        let rest = [(EQUAL, 1, 0, 0), (RETURN, 0, 0, FORBIDDEN), (RETURN, 0, 0, 0)];
        filter.extend(rest.map(|(code, no, yes, value)| Instruction { code, yes, no, value }));
        filter
    }

    fn call(number: usize, arguments: [u32; 6], place: usize) -> [u32; 16] {
        let mut call = [0; 16];
        call[0] = number as u32;
        call[1] = nr::AUDIT_ARCH;
        call[2] = place as u32;
        call[3] = (place >> 32) as u32;
        for (to, argument) in call[4..].chunks_exact_mut(2).zip(arguments) {
            to[0] = argument;
        }
        call
    }

    #[test]
    fn the_list_has_each_number_in_one_place() {
        for n in (0..RULE_COUNT).filter(|&n| is_first(n)) {
            assert!(RULES[..n].iter().all(|rule| rule.0 != RULES[n].0), "{}", RULES[n].0);
        }
    }

    #[test]
    fn only_the_agents_own_calls_pass() {
        let filter = amended();
        for (number, when) in RULES {
            let arguments = |n: u32, value| {
                let mut arguments = [0; 6];
                arguments[n as usize] = value;
                arguments
            };
            let (good, bad) = match when {
                Always => ([1; 6], None),
                Equals(n, value) => (arguments(n, value), Some(arguments(n, value + 90))),
                Without(n, bits) => (arguments(n, !bits), Some(arguments(n, u32::MAX))),
            };
            for place in own_places() {
                assert_eq!(answer(&filter, &call(number, good, place)), SECCOMP_RET_ALLOW, "{number}");
                if let Some(bad) = bad {
                    assert_eq!(answer(&filter, &call(number, bad, place)), FORBIDDEN, "{number}");
                }
                for place in [place - 1, place + 1, place ^ 1 << 32, 0] {
                    assert_eq!(answer(&filter, &call(number, good, place)), FORBIDDEN, "{number}");
                }
                let mut narrow = call(number, good, place);
                narrow[1] = 0x4000_0003;
                assert_eq!(answer(&filter, &narrow), FORBIDDEN);
            }
        }
        for number in [nr::OPENAT, nr::EXECVE, nr::SOCKET, nr::CONNECT, nr::MPROTECT, nr::CLONE, nr::SEMOP] {
            assert!(own_places().iter().all(|&at| answer(&filter, &call(number, [0; 6], at)) == FORBIDDEN));
        }
    }
}
