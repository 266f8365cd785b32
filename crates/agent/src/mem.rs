//! memcpy and its kin, hidden: this library has no libc beneath it.

ring3_os::memory_functions!();
