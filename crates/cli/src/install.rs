//! The agent's file: where programs may map it.
//!
//! It stands in the namespace's directory, as `libring3.so`. Where that is on a noexec file system, which nobody may map a program's code from,
//! the name there is a link to a file in a directory of the user's that is not (mount(8)).
//!
//! # Death
//! An agent that stands elsewhere is found by the link: whoever clears a dead namespace removes it first.

use crate::agent;
use crate::fault::{Fault, Result};
use crate::place::{Namespace, make_own, uid};
use rustix::fs::StatVfsMountFlags;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Writes the agent where programs may map it: here, or, when this file system is noexec, where it is not.
pub(crate) fn agent(namespace: &Namespace) -> Result<()> {
    let path = namespace.library();
    if !noexec(&namespace.dir) {
        return write_agent(&path);
    }
    for dir in elsewhere() {
        let file = dir.join(format!("libring3-{}.so", namespace.name));
        if make_own(&dir, false).is_ok() && !noexec(&dir) && write_agent(&file).is_ok() {
            return symlink(&file, &path).map_err(|why| Fault::file("link", &path, why));
        }
        // Made for nothing; one that has something in it stays.
        let _ = fs::remove_dir(&dir);
    }
    Err(Fault::new(format!(
        "programs cannot map the agent: {} is on a noexec file system",
        namespace.dir.display()
    ))
    .remedy("set RING3_DIR to a directory that is not"))
}

/// Directories for the agent when the base is noexec.
fn elsewhere() -> [PathBuf; 2] {
    ["/tmp", "/var/tmp"].map(|dir| Path::new(dir).join(format!("ring3-{}", uid())))
}

fn noexec(dir: &Path) -> bool {
    rustix::fs::statvfs(dir).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::NOEXEC))
}

fn write_agent(path: &Path) -> Result<()> {
    // What a dead namesake left is replaced, not written through: the name may be a link.
    let _ = fs::remove_file(path);
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(path)?;
        file.write_all(agent::LIBRARY)?;
        file.set_permissions(Permissions::from_mode(0o755))
    };
    write().map_err(|why| Fault::file("write the agent", path, why))
}

/// Removes the agent of the namespace in `dir` when it stands elsewhere.
pub(crate) fn remove(dir: &Path) {
    if let Ok(target) = fs::read_link(dir.join("libring3.so"))
        && elsewhere().iter().any(|place| target.parent() == Some(place))
    {
        let _ = fs::remove_file(&target);
        // Only when it is empty: other namespaces' agents may be there.
        let _ = target.parent().map(fs::remove_dir);
    }
}
