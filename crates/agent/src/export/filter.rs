//! prctl: a program that installs a filter of system calls (`ring3_calls::syscall::filter`).

use crate::libc::answer;
use crate::next;
use ring3_abi::Errno;
use ring3_calls::syscall::{Call, dispatch, filter};
use ring3_os::arch::nr;

/// prctl(2). All arguments travel like words.
pub extern "C" fn prctl(option: i32, a: usize, b: usize, c: usize, d: usize) -> i32 {
    if option == filter::PR_SET_SECCOMP {
        let call = Call { number: nr::PRCTL, args: [option as usize, a, b, c, d, 0] };
        return answer(Errno::decode(dispatch(call))) as i32;
    }
    next!(prctl(option => i32, a => usize, b => usize, c => usize, d => usize) -> i32)
}
