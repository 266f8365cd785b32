//! pthread_cancel(3).

use crate::next;
use ring3_calls::thread::cancel;

/// pthread_cancel(3): wakes the calls that sleep here.
pub extern "C" fn pthread_cancel(thread: usize) -> i32 {
    let result = next!(pthread_cancel(thread => usize) -> i32);
    cancel::cancelled();
    result
}
