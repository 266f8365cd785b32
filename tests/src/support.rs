//! Where the binaries are and what this machine allows.

use crate::oracle::sys;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `ring3` command: `$RING3`, or what cargo builds next to `beside` (a binary of this package).
///
/// # Panics
/// If it cannot be built: then no test can say anything.
pub fn ring3(beside: &Path) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| std::env::var_os("RING3").map_or_else(|| build(beside), PathBuf::from)).clone()
}

fn build(beside: &Path) -> PathBuf {
    let profile = beside.parent().unwrap_or(beside);
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(["build", "--quiet", "--package", "ring3-cli", "--target-dir"])
        .arg(profile.parent().unwrap_or(profile));
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let built = command.status().is_ok_and(|status| status.success());
    assert!(built, "cannot build ring3-cli");
    profile.join("ring3")
}

/// Whether this machine and user have what a case needs.
pub fn has(what: &str) -> bool {
    match what {
        "CAP_SYS_RESOURCE" => capability(24),
        "hugepages" => pages_of("HugePages_Free") > 0,
        "no-hugepages" => pages_of("HugePages_Total") == 0,
        _ => false,
    }
}

fn capability(number: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    set.is_some_and(|set| set >> number & 1 == 1)
}

fn pages_of(name: &str) -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.trim_start_matches(':').trim().parse().ok()).unwrap_or(0)
}

/// Whether the kernel lets us have an IPC namespace of its own: only root may.
pub fn kernel_namespace() -> bool {
    sys::is_root() && Command::new("unshare").args(["--ipc", "true"]).status().is_ok_and(|s| s.success())
}

/// A directory of the test's own, removed with everything in it at the end.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("ring3-test-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("the directory for temporary files can be written");
        Scratch(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What is in it, at any depth, directories apart.
    pub fn files(&self) -> Vec<PathBuf> {
        fn walk(dir: &Path, all: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() { walk(&path, all) } else { all.push(path) }
            }
        }
        let mut all = Vec::new();
        walk(&self.0, &mut all);
        all
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
