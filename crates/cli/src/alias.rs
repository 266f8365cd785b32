//! A second path to the directory of namespaces, for one whose own path programs cannot be given: a link in this user's own place.
//!
//! The dynamic linker cuts LD_PRELOAD at spaces and colons and replaces `$ORIGIN`, `$LIB` and `$PLATFORM` in it: a library behind such a path
//! would be left out, and the program would have the kernel's IPC. And a socket's address has room for a short path only.
//!
//! # Invariants
//! A1. A process that makes or removes a link holds the lock of the directory that it leads to (P1 in `place.rs`).
//! A2. Its name follows from the path that it leads to; one that leads elsewhere is not used.

use crate::fault::{Fault, Result};
use crate::place;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

/// Whether programs can be given a path: it stands in LD_PRELOAD as it is.
fn is_plain(path: &Path) -> bool {
    // musl's dynamic linker cuts at every white space.
    path.as_os_str()
        .as_bytes()
        .iter()
        .all(|byte| byte.is_ascii_graphic() && !b":$".contains(byte) || *byte >= 0x80)
}

/// The path by which programs reach `base`, for a namespace with so long a name: itself, or a link that may not be there yet.
pub(crate) fn path(base: &Path, name: &str) -> PathBuf {
    let tail = "/".len() + name.len() + "/sock".len();
    if is_plain(base) && base.as_os_str().len() + tail <= place::LONGEST_SOCKET {
        return base.to_path_buf();
    }
    let (own, roots) = (home(), PathBuf::from(place::ROOTS));
    // Other users join root's namespaces, and cannot look into each other's places.
    let link = |home: &PathBuf| home.join(name_for(base));
    [&own, &roots].map(link).into_iter().find(|link| is_trusted(link, base)).unwrap_or_else(|| link(&own))
}

/// Makes the link, if `path` is one. For whoever holds the lock of `base`, or joins a namespace there.
pub(crate) fn make(path: &Path, base: &Path) -> Result<()> {
    while path != base && !is_trusted(path, base) {
        let home = path.parent().unwrap_or(path);
        place::make_own(home, false)?;
        match symlink(base, path) {
            // The place was removed meanwhile, by somebody who found it empty; or somebody was quicker.
            Err(why) if why.kind() == ErrorKind::NotFound => {}
            Err(why) if why.kind() == ErrorKind::AlreadyExists && is_trusted(path, base) => {}
            Err(why) => {
                return Err(Fault::file("link", path, why).remedy(
                    "set RING3_DIR to a short path without spaces, colons and dollar signs, or remove the link",
                ));
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Removes the link, if `path` is one, and its place if nothing is left there.
pub(crate) fn remove(path: &Path) {
    let Ok(base) = fs::read_link(path) else { return };
    if path.file_name().is_some_and(|name| *name == *name_for(&base)) && is_trusted(path, &base) {
        let _ = fs::remove_file(path);
        let _ = path.parent().map(fs::remove_dir);
    }
}

/// Whether a link of this user's or root's leads there.
fn is_trusted(link: &Path, base: &Path) -> bool {
    let trusted = |uid: u32| uid == 0 || uid == place::uid();
    fs::symlink_metadata(link).is_ok_and(|found| found.is_symlink() && trusted(found.uid()))
        && fs::read_link(link).is_ok_and(|target| target == base)
}

/// This user's own place for namespaces, whatever RING3_DIR says.
fn home() -> PathBuf {
    let usual = place::usual();
    let fits = is_plain(&usual) && usual.as_os_str().len() < place::LONGEST_SOCKET / 4;
    if fits { usual } else { place::temporary() }
}

/// The link's name: FNV-1a of 64 bits over the path.
fn name_for(base: &Path) -> String {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    format!("dir-{:016x}", base.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, mix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_that_a_dynamic_linker_would_change_have_a_link() {
        for fine in ["/run/ring3", "/tmp/ring3-1000", "/home/anna/größe/a-b_c.d+e~"] {
            assert_eq!(path(Path::new(fine), "name"), Path::new(fine));
        }
        for bad in ["/tmp/a b", "/tmp/a:b", "/tmp/$LIB/x", "/tmp/a\nb", "/tmp/a\tb"] {
            assert_ne!(path(Path::new(bad), "name"), Path::new(bad), "{bad:?}");
        }
        let long = format!("/{}", "x".repeat(96));
        assert_eq!(path(Path::new(&long), "name"), Path::new(&long));
        assert_ne!(path(Path::new(&long), "names"), Path::new(&long));
    }
}
