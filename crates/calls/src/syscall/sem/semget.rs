//! semget. semget(2); kernel: ipc/sem.c, ksys_semget().

use crate::process;
use crate::syscall::get;
use crate::syscall::sem::set::KIND;
use ring3_abi::Errno;
use ring3_wire::request::Limit;

/// semget(2).
pub fn semget(key: i32, nsems: i32, flags: i32) -> Result<usize, Errno> {
    let most = process::ready().and_then(|_| process::limit(Limit::Semmsl))?;
    if nsems < 0 || i64::from(nsems) > most {
        return Err(Errno::EINVAL);
    }
    get::get(KIND, key, flags, nsems as u64)
}
