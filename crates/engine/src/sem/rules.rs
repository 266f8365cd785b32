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

/// What must be known of a call's operations before the first is looked at, from one walk along them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// One has SEM_UNDO: the call has an undo row even if [`Shape::check`] refuses it, and then its process's end counts as an operation on the
    /// set. kernel: find_alloc_undo() comes before the checks.
    pub undo: bool,
    /// One would change a value: the others wait for zero.
    pub alters: bool,
    /// All bits in the numbers of the semaphores: no number is above that.
    pub numbers: u16,
}

impl Shape {
    /// Of these operations.
    #[inline]
    pub fn of(ops: &[Sembuf]) -> Shape {
        if let [op] = ops {
            return Shape { undo: op.sem_flg & SEM_UNDO != 0, alters: op.sem_op != 0, numbers: op.sem_num };
        }
        let (mut flags, mut changes, mut numbers) = (0, 0, 0);
        for op in ops {
            flags |= op.sem_flg;
            changes |= op.sem_op;
            numbers |= op.sem_num;
        }
        Shape { undo: flags & SEM_UNDO != 0, alters: changes != 0, numbers }
    }

    /// The permission that the operations want.
    #[inline]
    pub fn wanted(self) -> u32 {
        if self.alters { WRITE } else { READ }
    }

    /// Whether one of the operations, whose shape this is, is on a semaphore that a set of `nsems` has not.
    #[inline]
    pub fn exceeds(self, ops: &[Sembuf], nsems: u64) -> bool {
        u64::from(self.numbers) >= nsems && ops.iter().any(|op| u64::from(op.sem_num) >= nsems)
    }

    /// Checks the operations, whose shape this is, on a set of `nsems` semaphores: their numbers first, then what `permit` says to the permission
    /// they want.
    ///
    /// # Errors
    /// `EFBIG`, and `permit`'s.
    #[inline]
    pub fn check(
        self,
        ops: &[Sembuf],
        nsems: u64,
        permit: impl FnOnce(u32) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        if self.exceeds(ops, nsems) { Err(Errno::EFBIG) } else { permit(self.wanted()) }
    }
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
        let check = |ops: &[Sembuf]| Shape::of(ops).check(ops, 6, NO);
        assert_eq!(check(&[op(0, 1), op(6, 0)]), Err(Errno::EFBIG));
        assert_eq!(check(&[op(0, 0), op(5, 0)]), Err(Errno::EACCES));
        // Their bits come to 7, which is more than either.
        assert_eq!(check(&[op(3, 0), op(5, 0)]), Err(Errno::EACCES));
        let asked = core::cell::Cell::new(0);
        let permit = |wanted| {
            asked.set(wanted);
            Ok(())
        };
        let ops = [op(0, 0), op(1, -1)];
        assert_eq!(Shape::of(&ops).check(&ops, 2, permit), Ok(()));
        assert_eq!(asked.get(), WRITE);
        assert_eq!(Shape::of(&[op(0, 0)]).wanted(), READ);
    }

    #[test]
    fn a_shape_is_of_all_operations() {
        let op = |sem_num, sem_op, sem_flg| Sembuf { sem_num, sem_op, sem_flg };
        assert_eq!(Shape::of(&[]), Shape { undo: false, alters: false, numbers: 0 });
        // Changes that add up to nothing are changes.
        let both = Shape::of(&[op(1, 3, 0), op(2, -3, 0)]);
        assert_eq!(both, Shape { undo: false, alters: true, numbers: 3 });
        let zero = Shape::of(&[op(0, 0, 0), op(u16::MAX, 0, SEM_UNDO | ring3_abi::ipc::IPC_NOWAIT as i16)]);
        assert_eq!(zero, Shape { undo: true, alters: false, numbers: u16::MAX });
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
