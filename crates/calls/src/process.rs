//! The process's one-time state: is it registered, and where is the namespace's directory.

use crate::identity::{self, Identity};
use crate::{broker, section};
use core::ptr::NonNull;
use core::sync::atomic::{
    AtomicPtr,
    Ordering::{AcqRel, Acquire},
};
use ring3_abi::{Errno, Pid};
use ring3_engine::directory::Directory;
use ring3_engine::{Caller, Region};
use ring3_os::map;
use ring3_wire::Op;
use ring3_wire::request::Limit;

/// The directory's first byte; null before the first registration of this memory. Valid for ever after: never unmapped.
static DIRECTORY: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());

/// The process number as the broker knows it; 0 if it does not know us.
#[inline]
pub fn pid() -> Pid {
    identity::current().pid()
}

/// Whether the broker knows this process.
pub fn registered() -> bool {
    pid() != 0
}

/// Our identity, after registering if need be.
///
/// # Errors
/// `ENOSYS` if there is no broker to be reached.
pub(crate) fn ready() -> Result<&'static Identity, Errno> {
    let page = identity::current();
    if page.pid() != 0 { Ok(page) } else { broker::register() }
}

/// Who calls.
pub(crate) fn caller(page: &Identity) -> Caller {
    Caller { pid: page.pid(), tid: section::tid() }
}

/// The namespace's directory, if this memory has it. # Errors: `ENOSYS` before registration.
#[inline]
pub(crate) fn directory() -> Result<Directory<'static>, Errno> {
    // ORDERING: Acquire pairs with keep_directory().
    let base = NonNull::new(DIRECTORY.load(Acquire)).ok_or(Errno::ENOSYS)?;
    // SAFETY: R1: keep_directory() mapped Directory::len() bytes of a sealed file there, for ever; R3: we only read.
    let region = unsafe { Region::new(base, Directory::len()) };
    Directory::new(region).map_err(|_| Errno::ENOSYS)
}

/// A limit of the namespace. What was written to its file before is in force: kernel: proc_ipc_dointvec() and its sisters return after
/// they have set it, but a write to our files returns when the text is in a pipe.
#[inline]
pub(crate) fn limit(which: Limit) -> Result<i64, Errno> {
    let directory = directory()?;
    if directory.limits_may_change() {
        // Any answer will do: the broker empties the pipes before it answers.
        broker::ask(Op::Limits, &())?;
    }
    Ok(directory.limit(which as usize))
}

/// Maps the directory that Hello answered, once.
pub(crate) fn keep_directory(fd: i32, len: u64) -> Result<(), Errno> {
    if !DIRECTORY.load(Acquire).is_null() {
        return Ok(());
    }
    if len < Directory::len() as u64 {
        return Err(Errno::EPROTO);
    }
    let base = map::shared(fd, 0, Directory::len(), map::PROT_READ)?;
    // ORDERING: Release publishes the mapping.
    let old = DIRECTORY.compare_exchange(core::ptr::null_mut(), base.as_ptr(), AcqRel, Acquire);
    if old.is_err() {
        // SAFETY: mapped above, known to nobody.
        let _ = unsafe { map::unmap(base.as_ptr() as usize, Directory::len()) };
    }
    Ok(())
}
