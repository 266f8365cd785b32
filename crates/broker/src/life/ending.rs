//! Whether a process has ended for all purposes of its own: no thread of it will run again. proc_pid_stat(5), proc_pid_task(5); kernel: do_exit().
//!
//! The kernel closes a process's files before it makes its pidfd readable. Whoever learns of the death by a closed file may ask at once, so the pidfd alone
//! would tell too late. What tells in time is that every thread has begun to exit (PF_EXITING): none of them returns to the program.

use ring3_abi::Pid;
use std::fs;

/// kernel: PF_EXITING.
const EXITING: u64 = 0x4;
/// How often a process whose threads come and go is looked at again.
const LOOKS: u32 = 64;

/// What a stat file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    is_exiting: bool,
    threads: usize,
}

fn parse(text: &str) -> Option<Stat> {
    // The name in parentheses may hold anything, so what follows starts at the last one.
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split_ascii_whitespace().skip(6);
    let flags: u64 = fields.next()?.parse().ok()?;
    let threads = fields.nth(10)?.parse().ok()?;
    Some(Stat { is_exiting: flags & EXITING != 0, threads })
}

fn stat(path: &str) -> Option<Stat> {
    parse(&fs::read_to_string(path).ok()?)
}

/// Whether every thread of a living process, or of one that nobody has reaped, is exiting. What cannot be seen is not.
pub(crate) fn is_ending(pid: Pid) -> bool {
    let path = format!("/proc/{pid}/stat");
    for _ in 0..LOOKS {
        let Some(before) = stat(&path).filter(|leader| leader.is_exiting) else { return false };
        let Some(exiting) = count_exiting(pid) else { return false };
        // Threads that were not listed, because they began or ended meanwhile, show in the number.
        match stat(&path) {
            Some(after) if after.threads == exiting && before.threads == exiting => return true,
            Some(_) => {}
            None => return false,
        }
    }
    false
}

/// How many threads there are, if all are exiting.
fn count_exiting(pid: Pid) -> Option<usize> {
    let mut exiting = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        match stat(&format!("{}/stat", task.path().display())) {
            Some(task) if !task.is_exiting => return None,
            Some(_) => exiting += 1,
            // Gone since it was listed.
            None => {}
        }
    }
    Some(exiting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_threads_are_read_behind_the_name() {
        let line = |flags: u64| format!("7 (a) (b) S 1 7 7 0 -1 {flags} 1 2 3 4 5 6 7 8 20 0 3 0 99 0 0");
        assert_eq!(parse(&line(0x40_0040)), Some(Stat { is_exiting: false, threads: 3 }));
        assert_eq!(parse(&line(0x40_0044)), Some(Stat { is_exiting: true, threads: 3 }));
        assert_eq!(parse("7 (a"), None);
        let own = stat("/proc/self/stat").unwrap();
        assert!(!own.is_exiting && own.threads > 0);
    }

    #[test]
    fn a_process_that_nobody_has_reaped_has_ended_and_others_have_not() {
        assert!(!is_ending(std::process::id()));
        let mut child = std::process::Command::new("/bin/cat")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        assert!(!is_ending(child.id()));
        child.kill().unwrap();
        // A process that is killed closes its output by ending; cat itself would close it before.
        std::io::copy(&mut child.stdout.take().unwrap(), &mut std::io::sink()).unwrap();
        assert!(is_ending(child.id()));
        child.wait().unwrap();
        assert!(!is_ending(child.id()));
    }
}
