//! Processes that descend from this one, as /proc shows them. proc(5), proc_pid_stat(5).

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

/// This process.
fn me() -> i32 {
    std::process::id().cast_signed()
}

/// A process's parent.
fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold blanks and parentheses; it ends at the last one.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// A process's name.
pub(crate) fn name(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm"))
        .map_or_else(|_| "?".to_string(), |name| name.trim_end().to_string())
}

/// Whether `pid` descends from this process.
pub(crate) fn is_descendant(pid: i32) -> bool {
    let mut at = pid;
    while let Some(up) = parent(at) {
        if up == me() {
            return true;
        }
        if up <= 1 {
            return false;
        }
        at = up;
    }
    false
}

/// Every process and its parent, in the order of process numbers.
fn everybody() -> Vec<(i32, i32)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, parent(pid)?))).collect()
}

/// All descendants of this process, but for one and its own.
pub(crate) fn descendants_but(one: i32) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for (pid, parent) in everybody() {
        children.entry(parent).or_default().push(pid);
    }
    let (mut found, mut next) = (Vec::new(), vec![me()]);
    while let Some(pid) = next.pop() {
        let mut below = children.remove(&pid).unwrap_or_default();
        below.retain(|pid| *pid != one);
        found.extend(&below);
        next.extend(below);
    }
    found
}

/// Whether a process was started with `name=value` in its environment, as far as this user may look.
pub(crate) fn anybody_with(name: &str, value: &OsStr) -> bool {
    let wanted = [name.as_bytes(), b"=", value.as_bytes()].concat();
    let has = |environ: Vec<u8>| environ.split(|byte| *byte == 0).any(|entry| entry == wanted);
    everybody().into_iter().any(|(pid, _)| fs::read(format!("/proc/{pid}/environ")).is_ok_and(has))
}

/// Whether this process has no child but `child`, zombies included. For a process with one thread, which is the only one to reap them.
///
/// The kernel's list of children may leave some out while others leave it (proc_pid_children(5)); ours loses one only when we reap it, and
/// we are here. New ones, which became ours because their parent died, come at its end. Kernels without the list (CONFIG_PROC_CHILDREN)
/// are asked for all processes.
pub(crate) fn only_child(child: i32) -> bool {
    let pid = me();
    match fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) {
        Ok(listed) => {
            listed.split_whitespace().filter_map(|word| word.parse::<i32>().ok()).all(|other| other == child)
        }
        Err(_) => everybody().into_iter().all(|(other, parent)| parent != pid || other == child),
    }
}
