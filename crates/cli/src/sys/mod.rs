//! What the standard library and rustix do not do. One of two places with unsafe code here (the other, `bench/sysv.rs`, calls libc's
//! System V functions).
//!
//! | what | file |
//! | --- | --- |
//! | signals as a wrapper needs them | `signals.rs` |
//! | this process: what `ps` shows of it, forks, descriptors | `process.rs` |
//! | other programs, and this one again | `start.rs` |
//! | what the kernel and the processor can do | `answers.rs` |
//!
//! This process has one thread; that is what most arguments there rest on (S1).
//!
//! S1. No thread is started before or beside these calls.
//! S2. Between fork and exec only async-signal-safe functions run.

#![allow(unsafe_code)]

mod answers;
mod process;
mod signals;
mod start;

pub(crate) use answers::*;
pub(crate) use process::*;
pub(crate) use signals::*;
pub(crate) use start::*;

use std::io;

/// A raw answer as a result.
fn check(answer: libc::c_long) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
