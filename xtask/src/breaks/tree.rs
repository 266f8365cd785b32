//! The copy of the tree in which promises are taken out; below target, with a target of its own that stays, so that each break builds what it changes only.

use super::Break;
use crate::cargo;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders that are not copied.
const SKIPPED: [&str; 2] = ["target", ".git"];

/// The copy.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    target: PathBuf,
}

impl Tree {
    /// The copy as the tree is now. What is the same stays untouched, and is not built again.
    pub(super) fn renewed() -> Result<Tree, String> {
        let place = cargo::target_dir().join("breaks");
        let tree = Tree { root: place.join("tree"), target: place.join("target") };
        let wanted = files(&cargo::root())?;
        for path in &wanted {
            let (from, to) = (cargo::root().join(path), tree.root.join(path));
            let told = |why: std::io::Error| format!("cannot copy {}: {why}", path.display());
            let bytes = fs::read(&from).map_err(told)?;
            if fs::read(&to).is_ok_and(|there| there == bytes) {
                continue;
            }
            fs::create_dir_all(to.parent().unwrap_or(&tree.root)).map_err(told)?;
            // With its mode; and newer than what was built of the one before.
            fs::copy(&from, &to).map_err(told)?;
        }
        for path in files(&tree.root)?.difference(&wanted) {
            fs::remove_file(tree.root.join(path)).map_err(|why| format!("{}: {why}", path.display()))?;
        }
        Ok(tree)
    }

    /// Does something while a promise is taken out.
    pub(super) fn broken<R>(
        &self,
        broken: &Break,
        work: impl FnOnce() -> Result<R, String>,
    ) -> Result<R, String> {
        let path = self.root.join(broken.file);
        let told = |why: std::io::Error| format!("{}: {why}", broken.file);
        let whole = fs::read_to_string(&path).map_err(told)?;
        fs::write(&path, broken.of(&whole)?).map_err(told)?;
        let result = work();
        fs::write(&path, whole).map_err(told)?;
        result
    }

    /// Where it is built.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// Cargo, in the copy.
    pub(super) fn cargo(&self) -> Command {
        let mut command = cargo::cargo();
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        command
    }

    /// A program in the copy that has so many seconds.
    pub(super) fn timed(&self, seconds: &str, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", seconds]).arg(program);
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        for (name, _) in self.cargo().get_envs().filter(|(_, value)| value.is_none()) {
            command.env_remove(name);
        }
        command
    }
}

/// The files below a folder, by their paths from there.
fn files(root: &Path) -> Result<BTreeSet<PathBuf>, String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        // A copy that is not there yet has none.
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let entry = entry.map_err(|why| format!("{}: {why}", folder.display()))?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(|why| why.to_string())?);
            if SKIPPED.iter().any(|skipped| entry.file_name() == *skipped) {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                found.insert(path.strip_prefix(root).unwrap_or(&path).to_path_buf());
            }
        }
    }
    Ok(found)
}
