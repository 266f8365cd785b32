//! `cargo xtask permissions`: the table of permission (`tests/src/permissions`), made by the kernel and under ring3, compared line by line.

use crate::cargo::{self, Done};
use std::path::Path;
use std::process::Command;

/// How many differing cells are shown.
const SHOWN: usize = 40;

/// Builds both sides, makes both tables and compares them. `--short`: few modes; `--only WORD`: identities with that word in their name.
pub(crate) fn run(arguments: &[String]) -> Done {
    if !is_root() {
        println!("permissions: left out: only root can play all identities");
        return Ok(());
    }
    let ring3 = cargo::build_ring3()?;
    let build = ["build", "--quiet", "--release", "--package", "ring3-tests", "--bin", "ring3-permissions"];
    let built = cargo::cargo().args(build).status().map_err(|why| format!("cannot run cargo: {why}"))?;
    if !built.success() {
        return Err("building ring3-permissions failed".to_owned());
    }
    let program = cargo::target_dir().join("release/ring3-permissions");
    let kernel = table(Command::new(&program).arg("kernel").args(arguments))?;
    let ours = table(under(&ring3, &program).arg("here").args(arguments))?;
    compare(&kernel, &ours)
}

/// The program under `ring3 run`.
fn under(ring3: &Path, program: &Path) -> Command {
    let mut command = Command::new(ring3);
    command.args(["run", "--quiet", "--"]).arg(program);
    command
}

/// What a command prints, by line.
fn table(command: &mut Command) -> Result<Vec<String>, String> {
    let output = command.output().map_err(|why| format!("cannot run {command:?}: {why}"))?;
    if !output.status.success() {
        return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// Prints the cells that differ, and how many there are of all.
fn compare(kernel: &[String], ours: &[String]) -> Done {
    if kernel.len() != ours.len() {
        return Err(format!("{} cells on the kernel, {} under ring3", kernel.len(), ours.len()));
    }
    let differing: Vec<_> = kernel.iter().zip(ours).filter(|(kernel, ours)| kernel != ours).collect();
    for (kernel, ours) in differing.iter().take(SHOWN) {
        println!("kernel: {kernel}\nring3:  {ours}");
    }
    println!("permissions: {} cells, {} differences", kernel.len(), differing.len());
    if differing.is_empty() && !kernel.is_empty() {
        Ok(())
    } else {
        Err("permission differs from the kernel's".to_owned())
    }
}

fn is_root() -> bool {
    // SAFETY: geteuid(2) takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

#[cfg(test)]
mod tests {
    use super::compare;

    #[test]
    fn a_difference_and_a_short_table_fail() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        assert!(compare(&lines("a: 0\nb: E13"), &lines("a: 0\nb: E13")).is_ok());
        assert!(compare(&lines("a: 0\nb: E13"), &lines("a: 0\nb: 0")).is_err());
        assert!(compare(&lines("a: 0\nb: E13"), &lines("a: 0")).is_err());
        assert!(compare(&[], &[]).is_err());
    }
}
