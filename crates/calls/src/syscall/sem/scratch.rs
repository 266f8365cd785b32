//! Memory for the length of a call, for what does not fit on the stack.

use ring3_abi::Errno;
use ring3_os::map;

/// Operations that fit on the stack; longer calls map memory for a moment. SEMOPM_FAST in the kernel.
pub(super) const FEW: usize = 64;

/// Memory for the length of a call.
pub(super) fn with_memory<R>(
    len: usize,
    run: impl FnOnce(&mut [u8]) -> Result<R, Errno>,
) -> Result<R, Errno> {
    let memory = map::anonymous(len.max(1))?;
    // SAFETY: `len` zeroed bytes of our own, mapped in the line above.
    let result = run(unsafe { core::slice::from_raw_parts_mut(memory.as_ptr(), len) });
    // SAFETY: the slice has ended.
    let _ = unsafe { map::unmap(memory.as_ptr() as usize, len.max(1)) };
    result
}
