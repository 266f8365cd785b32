//! What semop and semctl check before they look at a value, in the kernel's order. semop(2), semctl(2);
//! kernel: do_semtimedop(), __do_semtimedop(), semctl_setval(), semctl_main(), ipc/sem.c.
//!
//! The agent, and the broker on a caller's behalf, ask the same functions.

use ring3_abi::Errno;
use ring3_abi::ipc::{READ, WRITE};
use ring3_abi::sem::{GETALL, SEM_UNDO, SEMVMX, SETALL, SETVAL, Sembuf};

/// Checks how many operations a call has.
///
/// # Errors
/// `E2BIG`, `EINVAL`.
pub fn check_count(nsops: usize, semopm: i64) -> Result<(), Errno> {
    if i64::try_from(nsops).is_ok_and(|nsops| nsops <= semopm) {
        return if nsops == 0 { Err(Errno::EINVAL) } else { Ok(()) };
    }
    Err(Errno::E2BIG)
}

/// The permission that operations want: one that alters, or only waits for zero.
pub fn wanted(ops: &[Sembuf]) -> u32 {
    if ops.iter().any(|op| op.sem_op != 0) { WRITE } else { READ }
}

/// Checks operations on a set of `nsems` semaphores: their numbers first, then what `permit` says to the permission they want.
///
/// # Errors
/// `EFBIG`, and `permit`'s.
pub fn check_ops(
    ops: &[Sembuf],
    nsems: u64,
    permit: impl FnOnce(u32) -> Result<(), Errno>,
) -> Result<(), Errno> {
    if ops.iter().any(|op| u64::from(op.sem_num) >= nsems) {
        return Err(Errno::EFBIG);
    }
    permit(wanted(ops))
}

/// Whether a call has an undo row even if [`check_ops`] refuses it: then its process's end counts as an operation on the set. kernel:
/// find_alloc_undo() comes before the checks.
pub fn claims_row(ops: &[Sembuf]) -> bool {
    ops.iter().any(|op| op.sem_flg & SEM_UNDO != 0)
}

/// Checks a new value.
///
/// # Errors
/// `ERANGE`.
pub fn check_value(value: i32) -> Result<(), Errno> {
    if (0..=SEMVMX).contains(&value) { Ok(()) } else { Err(Errno::ERANGE) }
}

/// Checks a command on values of a set of `nsems` semaphores. SETVAL looks at the number first, the others at the permission; the commands
/// on all values have no number.
///
/// # Errors
/// `EINVAL`, and `permit`'s.
pub fn check_command(
    cmd: i32,
    num: i32,
    nsems: u64,
    permit: impl FnOnce(u32) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let has_number = u64::try_from(num).is_ok_and(|num| num < nsems);
    let numbered = if has_number { Ok(()) } else { Err(Errno::EINVAL) };
    match cmd {
        SETVAL => numbered.and_then(|()| permit(WRITE)),
        SETALL => permit(WRITE),
        GETALL => permit(READ),
        _ => permit(READ).and(numbered),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring3_abi::sem::GETVAL;

    const NO: fn(u32) -> Result<(), Errno> = |_| Err(Errno::EACCES);

    #[test]
    fn counts() {
        assert_eq!(check_count(500, 500), Ok(()));
        assert_eq!(check_count(501, 500), Err(Errno::E2BIG));
        assert_eq!(check_count(0, 500), Err(Errno::EINVAL));
        assert_eq!(check_count(0, -1), Err(Errno::E2BIG));
    }

    #[test]
    fn numbers_come_before_permission() {
        let op = |sem_num, sem_op| Sembuf { sem_num, sem_op, sem_flg: 0 };
        assert_eq!(check_ops(&[op(0, 1), op(2, 0)], 2, NO), Err(Errno::EFBIG));
        assert_eq!(check_ops(&[op(0, 0), op(1, 0)], 2, NO), Err(Errno::EACCES));
        let asked = core::cell::Cell::new(0);
        let permit = |wanted| {
            asked.set(wanted);
            Ok(())
        };
        assert_eq!(check_ops(&[op(0, 0), op(1, -1)], 2, permit), Ok(()));
        assert_eq!(asked.get(), WRITE);
        assert_eq!(wanted(&[op(0, 0)]), READ);
    }

    #[test]
    fn commands_look_at_number_and_permission_in_their_order() {
        assert_eq!(check_command(SETVAL, 2, 2, NO), Err(Errno::EINVAL));
        assert_eq!(check_command(SETVAL, 1, 2, NO), Err(Errno::EACCES));
        assert_eq!(check_command(GETVAL, 2, 2, NO), Err(Errno::EACCES));
        assert_eq!(check_command(GETVAL, 2, 2, |_| Ok(())), Err(Errno::EINVAL));
        assert_eq!(check_command(GETVAL, -1, 2, |_| Ok(())), Err(Errno::EINVAL));
        assert_eq!(check_command(GETALL, -1, 2, |_| Ok(())), Ok(()));
        assert_eq!(check_command(SETALL, 9, 2, NO), Err(Errno::EACCES));
    }
}
