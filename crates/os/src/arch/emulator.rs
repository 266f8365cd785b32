//! Whether valgrind runs the program. valgrind.h, RUNNING_ON_VALGRIND: some instructions that do nothing on a processor.

#[cfg_attr(target_arch = "aarch64", path = "emulator_aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "emulator_x86_64.rs")]
mod machine;

unsafe extern "C" {
    fn ring3_ask_emulator(request: *const [usize; 6], otherwise: usize) -> usize;
}

/// How many valgrinds run this program inside each other.
const RUNNING_ON_VALGRIND: usize = 0x1001;

/// Whether valgrind runs the program.
pub fn is_emulated() -> bool {
    let request = [RUNNING_ON_VALGRIND, 0, 0, 0, 0, 0];
    // SAFETY: valgrind reads the request; a processor does nothing.
    unsafe { ring3_ask_emulator(&raw const request, 0) != 0 }
}
