//! What msgsnd and msgrcv check before they look at a queue. msgop(2); kernel: do_msgsnd(), do_msgrcv(), prepare_copy(), ipc/msg.c.
//!
//! The agent, and the broker on a caller's behalf, ask the same functions.

use ring3_abi::ipc::IPC_NOWAIT;
use ring3_abi::msg::{MSG_COPY, MSG_EXCEPT};
use ring3_abi::{Errno, IpcId};

/// Checks msgsnd's arguments.
///
/// # Errors
/// `EINVAL`.
pub fn check_send(id: IpcId, mtype: i64, size: usize, msgmax: i64) -> Result<(), Errno> {
    let fits = i64::try_from(size).is_ok_and(|size| size <= msgmax);
    if fits && id >= 0 && mtype >= 1 { Ok(()) } else { Err(Errno::EINVAL) }
}

/// Checks msgrcv's arguments.
///
/// # Errors
/// `EINVAL`.
pub fn check_receive(id: IpcId, size: usize, flags: i32) -> Result<(), Errno> {
    if id < 0 || isize::try_from(size).is_err() {
        return Err(Errno::EINVAL);
    }
    if copies(flags) && (flags & MSG_EXCEPT != 0 || flags & IPC_NOWAIT == 0) {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// Whether a msgrcv leaves the message in the queue.
pub fn copies(flags: i32) -> bool {
    flags & MSG_COPY != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: Result<(), Errno> = Err(Errno::EINVAL);

    #[test]
    fn sends() {
        assert_eq!(check_send(0, 1, 8192, 8192), Ok(()));
        assert_eq!(check_send(0, 1, 8193, 8192), BAD);
        assert_eq!(check_send(-1, 1, 0, 8192), BAD);
        assert_eq!(check_send(0, 0, 0, 8192), BAD);
        assert_eq!(check_send(0, 1, usize::MAX, i64::MAX), BAD);
    }

    #[test]
    fn receives() {
        assert_eq!(check_receive(0, isize::MAX as usize, MSG_EXCEPT), Ok(()));
        assert_eq!(check_receive(0, usize::MAX, 0), BAD);
        assert_eq!(check_receive(-1, 0, 0), BAD);
        assert_eq!(check_receive(0, 0, MSG_COPY), BAD);
        assert_eq!(check_receive(0, 0, MSG_COPY | IPC_NOWAIT | MSG_EXCEPT), BAD);
        assert_eq!(check_receive(0, 0, MSG_COPY | IPC_NOWAIT), Ok(()));
    }
}
