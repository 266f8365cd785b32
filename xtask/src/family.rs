//! A process that a command has started and everything that descends from it.

use std::fs;

/// Ends it, youngest first.
pub(crate) fn kill(root: u32) {
    let mut family = vec![root];
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut at = 0;
    while let Some(parent) = family.get(at).copied() {
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    for pid in family.into_iter().rev() {
        // SAFETY: kill(2) takes numbers; each is a descendant of a process that this command started.
        unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) };
    }
}
