//! How much memory a namespace takes: the broker's own, and the memory files that it holds.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    /// The broker's heap and stack.
    pub(super) heap: u64,
    /// What is allocated in memory files.
    pub(super) files: u64,
    /// Descriptors of the broker.
    pub(super) descriptors: u64,
}

/// The broker's process: the child of this process's parent, `ring3 run`, that is called so.
pub(super) fn broker() -> Option<i32> {
    // SAFETY: getppid(2) takes nothing.
    let keeper = unsafe { libc::getppid() };
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.find(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let Some((name, rest)) = stat.rsplit_once(") ") else { return false };
        name.ends_with("(ring3-broker") && rest.split(' ').nth(1) == Some(&keeper.to_string())
    })
}

/// Looks at it.
pub(super) fn of(broker: i32) -> Memory {
    let status = fs::read_to_string(format!("/proc/{broker}/status")).unwrap_or_default();
    let heap = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).and_then(kilobytes);
    // A file may be open several times.
    let mut files = BTreeMap::new();
    let mut descriptors = 0;
    for entry in fs::read_dir(format!("/proc/{broker}/fd")).into_iter().flatten().flatten() {
        descriptors += 1;
        let memory =
            fs::read_link(entry.path()).is_ok_and(|path| path.to_string_lossy().starts_with("/memfd:"));
        if let (true, Ok(about)) = (memory, fs::metadata(entry.path())) {
            files.insert((about.dev(), about.ino()), about.blocks() * 512);
        }
    }
    Memory { heap: heap.unwrap_or(0), files: files.values().sum(), descriptors }
}

/// This process's own memory that it has written.
pub(super) fn own() -> u64 {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).and_then(kilobytes).unwrap_or(0)
}

fn kilobytes(rest: &str) -> Option<u64> {
    rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kb| kb * 1024)
}
