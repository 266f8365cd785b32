//! The calls, and the one table from a system call's number to its function, for every front door that is entered by number.
//!
//! | question | file |
//! | --- | --- |
//! | which errno, in which order | `msg.rs`, `msgctl.rs`, `sem.rs`, `semctl.rs`, `shm.rs`; `get.rs` for what they share |
//! | which calls does the broker do, and how | `proxy.rs` |
//! | fork, exec, wait | `life.rs` |
//! | mmap, munmap, mremap | `memory.rs` |
//! | files of /proc | `files.rs` |

pub mod files;
mod get;
pub mod life;
pub mod memory;
pub mod msg;
pub mod msgctl;
mod proxy;
pub mod sem;
pub mod semctl;
pub mod shm;

use ring3_abi::Errno;
use ring3_os::arch::nr;

/// Does a system call, if it is one of ours; answers as the kernel would, a value or a negated error number.
pub fn dispatch(number: usize, a: [usize; 6]) -> Option<isize> {
    // Arguments come in registers of 64 bits, of which the kernel takes as many bits as the parameter has.
    let int = |n: usize| a.get(n).map_or(0, |word| *word as i32);
    let word = |n: usize| a.get(n).copied().unwrap_or(0);
    let result = match number {
        nr::MSGGET => msg::msgget(int(0), int(1)),
        nr::MSGSND => msg::msgsnd(int(0), word(1), word(2), int(3)),
        nr::MSGRCV => msg::msgrcv(int(0), word(1), word(2), word(3) as i64, int(4)),
        nr::MSGCTL => msgctl::msgctl(int(0), int(1), word(2)),
        nr::SEMGET => sem::semget(int(0), int(1), int(2)),
        nr::SEMOP => sem::semop(int(0), word(1), word(2)),
        nr::SEMTIMEDOP => sem::semtimedop(int(0), word(1), word(2), word(3)),
        nr::SEMCTL => semctl::semctl(int(0), int(1), int(2), word(3)),
        nr::SHMGET => shm::shmget(int(0), word(1), int(2)),
        nr::SHMAT => shm::shmat(int(0), word(1), int(2)),
        nr::SHMDT => shm::shmdt(word(0)),
        nr::SHMCTL => shm::shmctl(int(0), int(1), word(2)),
        _ => return None,
    };
    Some(result.map_or_else(Errno::encode, |value| value as isize))
}
