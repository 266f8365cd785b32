//! Builds the agent (`libring3.so`) with a cargo of its own, so that the command can carry it inside.
//!
//! The agent is always a release build: it runs inside other people's programs. `RING3_AGENT=FILE` takes a
//! library that is built already.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the agent is made of; a change in any of them builds it again.
const SOURCES: [&str; 6] = ["agent", "calls", "engine", "os", "abi", "wire"];

/// Variables that describe *this* build and would leak into the agent's.
const FOREIGN: [&str; 16] = [
    "RUSTFLAGS",
    "RUSTDOCFLAGS",
    "RUSTC",
    "RUSTDOC",
    "RUSTC_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CLIPPY_ARGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_MANIFEST_LINKS",
];

/// Prefixes of such variables.
const FOREIGN_PREFIXES: [&str; 4] = ["CARGO_PKG_", "CARGO_FEATURE_", "CARGO_CFG_", "DEP_"];

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../..").canonicalize()?;
    println!("cargo::rerun-if-env-changed=RING3_AGENT");
    for name in SOURCES {
        println!("cargo::rerun-if-changed={}", root.join("crates").join(name).display());
    }
    println!("cargo::rerun-if-changed={}", root.join("Cargo.toml").display());

    let built = match env::var_os("RING3_AGENT") {
        Some(file) => PathBuf::from(file),
        None => build(&root, &out.join("agent"))?,
    };
    let mut agent =
        fs::read(&built).map_err(|why| format!("cannot read the agent {}: {why}", built.display()))?;
    if env::var("CARGO_CFG_TARGET_ARCH")? == "x86_64" {
        hide_relocations(&mut agent).ok_or_else(|| format!("{} is no agent", built.display()))?;
    }
    fs::write(out.join("libring3.so"), agent)?;
    Ok(())
}

/// Takes the relocations out of the dynamic section: the agent carries them out by itself (crates/agent/layout.ld). The dynamic linker would
/// do so at every program's start, and its data is not writable then. Nothing if there is no dynamic section.
fn hide_relocations(file: &mut [u8]) -> Option<()> {
    const PT_DYNAMIC: u32 = 2;
    const DT_NULL: u64 = 0;
    // DT_RELA, DT_RELASZ, DT_RELAENT, DT_RELACOUNT.
    const HIDDEN: [u64; 4] = [7, 8, 9, 0x6fff_fff9];
    let half = |at: usize| Some(u16::from_le_bytes(file.get(at..at + 2)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_le_bytes(file.get(at..at + 4)?.try_into().ok()?));
    let long = |at: usize| Some(u64::from_le_bytes(file.get(at..at + 8)?.try_into().ok()?));
    let headers = usize::try_from(long(32)?).ok()?;
    let header =
        (0..usize::from(half(56)?)).map(|n| headers + n * 56).find(|at| word(*at) == Some(PT_DYNAMIC))?;
    let (start, len) = (usize::try_from(long(header + 8)?).ok()?, usize::try_from(long(header + 32)?).ok()?);
    let entries: Vec<[u64; 2]> = (start..start + len)
        .step_by(16)
        .map(|at| Some([long(at)?, long(at + 8)?]))
        .take_while(|entry| entry.is_none_or(|[tag, _]| tag != DT_NULL))
        .collect::<Option<_>>()?;
    let kept = entries.iter().filter(|[tag, _]| !HIDDEN.contains(tag)).flatten();
    let section = file.get_mut(start..start + len)?;
    section.fill(0);
    for (to, value) in section.chunks_exact_mut(8).zip(kept) {
        to.copy_from_slice(&value.to_le_bytes());
    }
    Some(())
}

/// Runs cargo for the agent and returns where its library is.
fn build(root: &Path, target_dir: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let (host, target) = (env::var("HOST")?, env::var("TARGET")?);
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args(["build", "--package", "ring3-agent", "--lib", "--release", "--target-dir"]);
    cargo.arg(target_dir);
    let mut place = target_dir.to_path_buf();
    if host != target {
        cargo.args(["--target", &target]);
        place.push(&target);
    }
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if FOREIGN.contains(&&*text) || FOREIGN_PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            cargo.env_remove(&name);
        }
    }
    let status = cargo.status()?;
    if !status.success() {
        return Err(format!("building the agent failed: {status} (from {cargo:?})").into());
    }
    place.push("release");
    ["libring3.so", "libring3_agent.so"]
        .iter()
        .map(|name| place.join(name))
        .find(|file| file.exists())
        .ok_or_else(|| format!("the agent's build left no library in {}", place.display()).into())
}
