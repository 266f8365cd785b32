//! The namespace's directory, mapped once for ever.

use core::ptr::NonNull;
use core::sync::atomic::{
    AtomicPtr,
    Ordering::{AcqRel, Acquire},
};
use ring3_abi::Errno;
use ring3_engine::Region;
use ring3_engine::directory::Directory;
use ring3_os::map;

/// The directory's first byte; null before the first registration of this memory. Valid for ever after: never unmapped.
static DIRECTORY: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());

/// The namespace's directory, if this memory has it. # Errors: `ENOSYS` before registration.
#[inline]
pub(crate) fn directory() -> Result<Directory<'static>, Errno> {
    // ORDERING: Acquire pairs with keep_directory().
    let base = NonNull::new(DIRECTORY.load(Acquire)).ok_or(Errno::ENOSYS)?;
    // SAFETY: R1: keep_directory() mapped Directory::len() bytes of a sealed file there, for ever; R3: we only read.
    let region = unsafe { Region::new(base, Directory::len()) };
    Directory::new(region).map_err(|_| Errno::ENOSYS)
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
