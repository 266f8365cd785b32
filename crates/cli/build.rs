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
    fs::copy(&built, out.join("libring3.so"))
        .map_err(|why| format!("cannot copy the agent {}: {why}", built.display()))?;
    Ok(())
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
