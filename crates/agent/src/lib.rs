//! libring3.so: the front doors. Every exported function has libc's name and form, asks the sys layer, and sets errno.
//!
//! It needs no library, so one file serves programs of any libc; what it wants of the program's own libc it finds by
//! name (`libc.rs`). `exports.txt` lists what it exports, and nothing else may be. Loading it does nothing: it gets ready when one of its
//! functions is first called (`start.rs`).
//!
//! | what | file |
//! | --- | --- |
//! | the exported names | `door.rs` |
//! | the first call, and how a panic ends | `start.rs` |
//! | the library's own relocations | `relocations.rs`, `layout.ld` |
//! | msgget … shmdt, syscall(3) | `export/ipc.rs` |
//! | sigaction, signal, … | `export/signal.rs` |
//! | fork, wait, pthread_cancel, setuid, mmap, … | `export/{fork,wait,cancel,credentials,memory}.rs` |
//! | prctl: a program's own filter | `export/filter.rs` |
//! | close, dup2, chroot | `export/descriptors.rs` |
//! | exec, posix_spawn | `export/exec.rs` |
//! | dlsym, dlvsym | `export/names.rs` |
//! | the environment of programs that libc starts by itself | `environment.rs` |
//! | open, fopen, access, stat of our /proc files | `export/procfs.rs` |
//! | the program's libc | `libc.rs` |
//! | memcpy and its kin, for the compiler, hidden | `mem.rs` |
#![cfg_attr(not(test), no_std)]
#![allow(clippy::not_unsafe_ptr_arg_deref, reason = "who calls these functions is C, by libc's prototypes")]
#![allow(
    clippy::macro_metavars_in_unsafe,
    reason = "the arguments of next! are the values that the program passed"
)]

mod door;
mod environment;
pub mod export;
mod libc;
mod mem;
mod relocations;
mod start;
