//! CMD of `ring3 run`, when it is a program of 32 bits: its dynamic linker cannot load the agent, and complains about it at each start.
//!
//! What CMD starts later is looked at by the agent (`environment.rs` there), which only programs of 64 bits have.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Whether the program that execvp(3) would start is one of 32 bits. ELFCLASS32: elf(5).
pub(crate) fn is_narrow(program: &OsStr) -> bool {
    let mut head = [0; 5];
    let mut read = |path: PathBuf| File::open(path)?.read_exact(&mut head);
    find(program).is_some_and(|path| read(path).is_ok()) && head == *b"\x7fELF\x01"
}

/// The file that execvp(3) would start.
fn find(program: &OsStr) -> Option<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return Some(program.into()).filter(|path: &PathBuf| is_program(path));
    }
    let path = env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    env::split_paths(&path).map(|dir| dir.join(program)).find(|path| is_program(path))
}

/// A regular file that somebody may execute. To open another could have an effect.
fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
