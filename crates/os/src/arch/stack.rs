//! Memory on the stack whose size is known only at run time: for a vfork child, which may allocate nothing.

#[cfg_attr(target_arch = "aarch64", path = "stack_aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "stack_x86_64.rs")]
mod machine;

unsafe extern "C" {
    fn ring3_with_stack(
        bytes: usize,
        f: unsafe extern "C" fn(*mut u8, *mut u8) -> isize,
        context: *mut u8,
    ) -> isize;
}

/// Calls `f(context, memory)` with `bytes` bytes of stack, 64-byte aligned.
///
/// # Safety
/// The stack has room for `bytes`; `f` may be called with `context`.
pub unsafe fn with_stack(
    bytes: usize,
    f: unsafe extern "C" fn(*mut u8, *mut u8) -> isize,
    context: *mut u8,
) -> isize {
    // SAFETY: by the caller's promise.
    unsafe { ring3_with_stack(bytes, f, context) }
}
