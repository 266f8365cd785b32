//! What the tests need on the machine, and how it gets there.

use crate::cargo;
use std::path::Path;
use std::process::{Command, Stdio};

/// A Debian package, and a program of it that shows that it is there.
const NEEDED: [(&str, &str); 10] = [
    ("gcc", "gcc"),
    ("libc6-dev", "/usr/include/stdio.h"),
    ("musl-tools", "musl-gcc"),
    ("binutils", "addr2line"),
    ("strace", "strace"),
    ("util-linux", "ipcmk"),
    ("perl", "perl"),
    ("fakeroot", "fakeroot"),
    ("stress-ng", "stress-ng"),
    ("valgrind", "valgrind"),
];

/// What builds programs of 32 bits, which this machine runs, too.
const NARROW: &[(&str, &str)] = if cfg!(target_arch = "x86_64") {
    &[
        ("gcc-multilib", "/usr/include/asm"),
        ("libc6-dev-i386", "/usr/include/x86_64-linux-gnu/gnu/stubs-32.h"),
    ]
} else {
    &[]
};

/// What runs the tests of another machine; only that step needs it.
const FOREIGN: [(&str, &str); 3] = [
    ("gcc-aarch64-linux-gnu", "aarch64-linux-gnu-gcc"),
    ("libc6-dev-arm64-cross", "/usr/aarch64-linux-gnu/lib/libc.so.6"),
    ("qemu-user", "qemu-aarch64"),
];

/// Installs what every run needs where that is possible, and returns what is missing still.
pub(super) fn prepare() -> Vec<String> {
    [obtain(&NEEDED), obtain(NARROW)].concat()
}

/// The same for the tests of another machine.
pub(super) fn prepare_foreign() -> Vec<String> {
    obtain(&FOREIGN)
}

fn obtain(packages: &[(&str, &str)]) -> Vec<String> {
    let missing = || packages.iter().filter(|(_, program)| !there(program)).map(|(package, _)| *package);
    let wanted: Vec<&str> = missing().collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    if is_root() && there("apt-get") {
        println!("installing {}", wanted.join(" "));
        install(&wanted);
    }
    missing().map(|package| format!("{package} is not installed")).collect()
}

/// Installs Debian packages; refreshes the lists if that is what was lacking.
fn install(packages: &[&str]) {
    let run = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(packages);
    if !run(&arguments) && run(&["update"]) {
        run(&arguments);
    }
}

/// Says whether this user may install.
fn is_root() -> bool {
    // SAFETY: geteuid(2) takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Says whether a program (or a file, for a path) is there.
pub(super) fn there(program: &str) -> bool {
    if program.starts_with('/') {
        return Path::new(program).exists();
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let standard = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    path.split(':').chain(standard.split(':')).any(|folder| Path::new(folder).join(program).is_file())
}

/// Says whether code can be checked for a target, after trying to add it.
pub(super) fn target(name: &str) -> bool {
    let installed = || {
        let output = Command::new("rustup")
            .args(["target", "list", "--installed"])
            .current_dir(cargo::root())
            .output();
        output.is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout).lines().any(|line| line.trim() == name)
        })
    };
    if installed() {
        return true;
    }
    let mut add = Command::new("timeout");
    add.args(["60", "rustup", "target", "add", name]).current_dir(cargo::root());
    let _ = add.stdout(Stdio::null()).stderr(Stdio::null()).status();
    installed()
}
