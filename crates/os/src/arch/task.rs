//! A task that runs a function on a stack of its own and ends. clone(2).

#[cfg_attr(target_arch = "aarch64", path = "task_aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "task_x86_64.rs")]
mod machine;

unsafe extern "C" {
    fn ring3_start_task(
        flags: usize,
        stack_end: usize,
        word: *mut u32,
        function: unsafe extern "C" fn(*mut u8),
        context: *mut u8,
    ) -> isize;
}

/// Makes a task that calls `function(context)` and ends, and answers its number, or the kernel's error, raw. `word` is what
/// CLONE_CHILD_CLEARTID is about.
///
/// # Safety
/// Until the task has ended there is a stack below `stack_end`, which is a multiple of 16, and `function` may be called with `context`. The flags
/// have CLONE_VM, and ask for nothing by pointers but `word`.
pub(crate) unsafe fn start_task(
    flags: usize,
    stack_end: usize,
    word: *mut u32,
    function: unsafe extern "C" fn(*mut u8),
    context: *mut u8,
) -> isize {
    // SAFETY: by the caller's promise.
    unsafe { ring3_start_task(flags, stack_end, word, function, context) }
}
