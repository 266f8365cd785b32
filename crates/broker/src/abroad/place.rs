//! Which namespaces of the kernel's a process is in: each is a file in /proc, known by its inode.
//!
//! # Invariants
//! L1. An inode names a namespace for as long as the namespace lives, which a descriptor of its file sees to.
//!
//! Nothing is known of a process that the broker may not look at (ptrace(2), access mode checking), or if /proc shows another PID namespace
//! than the broker's own.

use crate::state::keep_one;
use ring3_abi::Pid;
use ring3_os::fd::{self, Fd};
use ring3_os::namespace::{Relative, relative};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

/// A kind of namespace, by its file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ipc,
    Pid,
    User,
}

/// A namespace, by its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place(u64);
keep_one!(Place(u64));

impl Kind {
    fn file(self) -> &'static str {
        match self {
            Kind::Ipc => "ipc",
            Kind::Pid => "pid",
            Kind::User => "user",
        }
    }
}

fn path(kind: Kind, who: &str) -> String {
    format!("/proc/{who}/ns/{}", kind.file())
}

fn place_of(kind: Kind, who: &str) -> Option<Place> {
    let file = proc_is_ours().then(|| fs::metadata(path(kind, who)).ok()).flatten()?;
    Some(Place(file.ino()))
}

/// Whether /proc shows the broker's own PID namespace, so that numbers mean there what they mean here.
fn proc_is_ours() -> bool {
    static OURS: OnceLock<bool> = OnceLock::new();
    *OURS.get_or_init(|| {
        fs::read_link("/proc/self")
            .is_ok_and(|own| own.as_os_str() == std::process::id().to_string().as_str())
    })
}

/// The namespace that a process's first thread is in.
pub(crate) fn place(kind: Kind, pid: Pid) -> Option<Place> {
    place_of(kind, &pid.to_string())
}

/// The broker's own, which it never changes.
pub(crate) fn own(kind: Kind) -> Option<Place> {
    static OWN: [OnceLock<Option<Place>>; 3] = [const { OnceLock::new() }; 3];
    OWN.get(kind as usize).and_then(|own| *own.get_or_init(|| place_of(kind, "self")))
}

/// Those that the machine's processes are in, as far as the broker may look.
pub(crate) fn inhabited(kind: Kind) -> BTreeSet<Place> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| place(kind, pid))
        .collect()
}

/// Whether a process is seen to be in the broker's own.
pub(crate) fn same(kind: Kind, pid: Pid) -> bool {
    // Kernels without namespaces of a kind have no such file at all.
    place(kind, pid) == own(kind)
}

/// Opens the file of a process's namespace.
pub(crate) fn open(kind: Kind, pid: Pid) -> Option<(Place, Fd)> {
    let path = CString::new(path(kind, &pid.to_string())).ok()?;
    let file = if proc_is_ours() { fd::open_read(&path).ok()? } else { return None };
    Some((place_at(&file)?, file))
}

fn place_at(file: &Fd) -> Option<Place> {
    fd::identify(file.raw()).ok().map(|file| Place(file.ino))
}

/// A namespace and all above it, up to the broker's own or the last that may be seen; the innermost first.
pub(crate) fn upwards(kind: Kind, file: Fd) -> Vec<Place> {
    let (mut found, mut file, own) = (Vec::new(), file, own(kind));
    while let Some(here) = place_at(&file) {
        found.push(here);
        if Some(here) == own {
            break;
        }
        match relative(&file, Relative::Parent) {
            Ok(above) => file = above,
            Err(_) => break,
        }
    }
    found
}

/// The user namespaces in which a capability counts for what a namespace owns: its owner and all above that.
pub(crate) fn owners(file: &Fd) -> Vec<Place> {
    relative(file, Relative::Owner).map_or_else(|_| Vec::new(), |owner| upwards(Kind::User, owner))
}
