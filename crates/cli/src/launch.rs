//! How `ring3 run` starts CMD: what it is given, and (`sys/start.rs`) a child that has its parent's memory until execvpe(3), so that no page table
//! is copied.
//!
//! posix_spawn(3) does the same, but glibc's leaves two signals ignored (32 and 33), cannot ignore SIGCHLD, and knows no scripts without
//! a first line; CMD is to start as a shell would start it.

use crate::sys::{self, Before};
use std::collections::BTreeMap;
use std::env;
use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

/// Starts `command` with the signals of `before`, and returns its number. Of `command` only program, arguments and environment count.
pub(crate) fn launch(command: &Command, before: Before) -> io::Result<i32> {
    let mut words = vec![sys::c_string(&[command.get_program().as_bytes()])?];
    for word in command.get_args() {
        words.push(sys::c_string(&[word.as_bytes()])?);
    }
    let mut environment: BTreeMap<OsString, OsString> = env::vars_os().collect();
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => environment.insert(name.into(), value.into()),
            None => environment.remove(name),
        };
    }
    let pairs: Vec<CString> = environment.iter().map(sys::pair).collect::<io::Result<_>>()?;
    sys::launch(&words, &pairs, before)
}
