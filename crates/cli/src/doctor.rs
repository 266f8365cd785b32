//! `ring3 doctor`: what this machine allows, one line each, and what follows from it.

use crate::fault::{Fault, Result, plain};
use crate::table::{Side, Table};
use crate::{keeper, manual, place, sys};
use ring3_broker::Share;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::process::{PidfdFlags, Resource, WaitOptions};
use std::fs;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// How good it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Limited,
    Missing,
}

/// One line.
struct Finding {
    what: &'static str,
    verdict: Verdict,
    found: String,
    /// ring3 cannot work without it.
    vital: bool,
}

impl Finding {
    fn new(what: &'static str, verdict: Verdict, found: impl Into<String>) -> Finding {
        Finding { what, verdict, found: found.into(), vital: false }
    }

    fn vital(self) -> Finding {
        Finding { vital: true, ..self }
    }
}

/// Prints the findings. The exit status is 1 when something is missing that ring3 cannot do without.
pub(crate) fn main() -> Result<u8> {
    keeper::leave()?;
    let findings = [
        memfd().vital(),
        seals(),
        noexec(),
        futex().vital(),
        pidfd().vital(),
        seccomp(),
        ptrace(),
        userns(),
        descriptors(),
        shares(),
        memlock(),
        address_space(),
        sysvipc(),
        kernel(),
        instructions(),
        cpus(),
        home(),
    ];
    let mut table = Table::new(&[("WHAT", Side::Left), ("STATE", Side::Left), ("WHAT FOLLOWS", Side::Left)]);
    for finding in &findings {
        let state = match finding.verdict {
            Verdict::Ok => "ok",
            Verdict::Limited => "limited",
            Verdict::Missing => "missing",
        };
        table.row(vec![finding.what.to_string(), state.to_string(), finding.found.clone()]);
    }
    manual::print(table.text().as_bytes())?;
    if findings.iter().any(|finding| finding.vital && finding.verdict == Verdict::Missing) {
        return Err(Fault::new("ring3 cannot work on this machine").remedy("see the lines that say missing"));
    }
    Ok(0)
}

use Verdict::{Limited, Missing, Ok as Fine};

fn memfd() -> Finding {
    match rustix::fs::memfd_create("ring3-doctor", MemfdFlags::CLOEXEC) {
        Ok(_) => Finding::new("memfd", Fine, "objects are memory without files: nothing stays behind"),
        Err(why) => Finding::new("memfd", Missing, format!("{why}: no objects can be made")),
    }
}

fn seals() -> Finding {
    let seal = || {
        let file = rustix::fs::memfd_create("ring3-doctor", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::FUTURE_WRITE)
    };
    match seal() {
        Ok(()) => Finding::new("memfd seals", Fine, "truncation and foreign writes are locked out"),
        Err(why) => Finding::new(
            "memfd seals",
            Limited,
            format!("{why}: processes of one user must trust each other"),
        ),
    }
}

fn noexec() -> Finding {
    let value = number("/proc/sys/vm/memfd_noexec").unwrap_or(0);
    match value {
        0 => Finding::new("memfd noexec", Fine, "SHM_EXEC works"),
        1 => Finding::new("memfd noexec", Limited, "vm.memfd_noexec is 1: SHM_EXEC needs MFD_EXEC"),
        _ => Finding::new("memfd noexec", Limited, "vm.memfd_noexec is 2: SHM_EXEC is refused"),
    }
}

fn futex() -> Finding {
    match sys::futex_answers() {
        Ok(()) => Finding::new("futex", Fine, "blocked callers sleep in the kernel"),
        Err(why) => Finding::new("futex", Missing, format!("{}: nobody could wait", plain(&why))),
    }
}

fn pidfd() -> Finding {
    match rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty()) {
        Ok(_) => Finding::new("pidfd", Fine, "the broker sees every death"),
        Err(why) => Finding::new("pidfd", Missing, format!("{why}: SEM_UNDO and attach counts need it")),
    }
}

fn seccomp() -> Finding {
    match sys::seccomp_has(libc::SECCOMP_RET_USER_NOTIF) {
        Ok(()) => Finding::new("seccomp notify", Fine, "calls that slip past the agent can be caught"),
        Err(why) => Finding::new(
            "seccomp notify",
            Limited,
            format!("{}: static programs reach the kernel's own IPC", plain(&why)),
        ),
    }
}

fn ptrace() -> Finding {
    let yama = number("/proc/sys/kernel/yama/ptrace_scope");
    let policy = yama.map_or_else(|| "no Yama".to_string(), |scope| format!("Yama scope {scope}"));
    match trace_child() {
        Ok(()) => Finding::new("ptrace", Fine, format!("{policy}: own programs can be entered at exec")),
        Err(why) => {
            Finding::new("ptrace", Limited, format!("{policy}, {}: only LD_PRELOAD is left", plain(&why)))
        }
    }
}

/// Seizes a child of ours and lets it go.
fn trace_child() -> io::Result<()> {
    let (silent, its) = UnixStream::pair()?;
    let Some(child) = sys::fork()? else {
        // Its own hold on the other end goes first, so that this process's death would end it.
        sys::close_all_but(&[its.as_raw_fd()]);
        let _ = (&its).read(&mut [0]);
        sys::exit(0)
    };
    let traced = sys::ptrace_child(child.as_raw_nonzero().get());
    drop(silent);
    rustix::process::waitpid(Some(child), WaitOptions::empty())?;
    traced
}

fn userns() -> Finding {
    let most = number("/proc/sys/user/max_user_namespaces").unwrap_or(0);
    if most == 0 || number("/proc/sys/kernel/unprivileged_userns_clone") == Some(0) {
        return Finding::new("user namespaces", Limited, "switched off; ring3 needs none");
    }
    Finding::new("user namespaces", Fine, "ring3 needs none")
}

fn descriptors() -> Finding {
    let (now, most) = limit(Resource::Nofile);
    let most_text = show(most);
    if most < 4096 {
        return Finding::new(
            "descriptors",
            Limited,
            format!("{} (at most {most_text}): few processes at a time", show(now)),
        );
    }
    Finding::new(
        "descriptors",
        Fine,
        format!("{} (at most {most_text}): the broker takes what it may", show(now)),
    )
}

/// What `--share` decides is told where the limits of the machine are: nobody else can be asked for it.
fn shares() -> Finding {
    let text = if place::uid() == 0 {
        format!("each user but root may have {} of what the others leave (--share)", Share::default())
    } else {
        format!("each user but you and root may have {} of what the others leave (--share)", Share::default())
    };
    Finding::new("shared namespaces", Fine, text)
}

fn memlock() -> Finding {
    let (now, _) = limit(Resource::Memlock);
    if place::uid() == 0 || now == u64::MAX {
        return Finding::new(
            "locked memory",
            Fine,
            format!("{}: SHM_LOCK and huge pages as allowed", bytes(now)),
        );
    }
    Finding::new("locked memory", Limited, format!("{}: SHM_LOCK up to that", bytes(now)))
}

fn address_space() -> Finding {
    let (now, _) = limit(Resource::As);
    if now == u64::MAX {
        return Finding::new("address space", Fine, "unlimited");
    }
    Finding::new("address space", Limited, format!("{}: mapped objects count against it", bytes(now)))
}

fn sysvipc() -> Finding {
    if Path::new("/proc/sysvipc/msg").exists() {
        return Finding::new(
            "/proc/sysvipc",
            Fine,
            "there; programs under ring3 see their namespace's instead",
        );
    }
    Finding::new("/proc/sysvipc", Limited, "not there; programs under ring3 see one all the same")
}

fn kernel() -> Finding {
    match sys::kernel_sysv() {
        Ok(()) => Finding::new("kernel's System V", Fine, "there; ring3 bench can compare"),
        Err(why) => {
            Finding::new("kernel's System V", Limited, format!("{}; ring3 works without it", plain(&why)))
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn instructions() -> Finding {
    match (sys::fsgsbase(), sys::rdpid()) {
        (true, true) => Finding::new("fsgsbase, rdpid", Fine, "both there"),
        (true, false) => {
            Finding::new("fsgsbase, rdpid", Limited, "no rdpid: the CPU's number costs some ns more")
        }
        (false, true) => Finding::new("fsgsbase, rdpid", Limited, "no fsgsbase: static programs cost more"),
        (false, false) => Finding::new("fsgsbase, rdpid", Limited, "neither: a few ns more here and there"),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn instructions() -> Finding {
    Finding::new("fsgsbase, rdpid", Fine, "not of this processor")
}

fn cpus() -> Finding {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    if count == 1 {
        return Finding::new("CPUs", Limited, "1: nobody spins, every hand-over goes through the kernel");
    }
    Finding::new("CPUs", Fine, format!("{count}: waiting spins for a moment, then sleeps"))
}

fn home() -> Finding {
    let base = place::base();
    let found = base.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    let noexec =
        rustix::fs::statvfs(found).is_ok_and(|fs| fs.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC));
    if noexec {
        return Finding::new(
            "namespaces in",
            Limited,
            format!("{}: noexec, so the agent goes to /tmp", base.display()),
        );
    }
    Finding::new("namespaces in", Fine, base.display().to_string())
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn limit(resource: Resource) -> (u64, u64) {
    let limit = rustix::process::getrlimit(resource);
    (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX))
}

fn show(number: u64) -> String {
    if number == u64::MAX { "unlimited".to_string() } else { number.to_string() }
}

fn bytes(number: u64) -> String {
    if number == u64::MAX { "unlimited".to_string() } else { format!("{} KiB", number / 1024) }
}
