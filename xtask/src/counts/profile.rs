//! Where a call's instructions go: by function (those that the compiler has put into others have their own line), then by line of source.

use super::mapping::Mapping;
use crate::cargo::{self, Done};
use object::{Object, ObjectSection};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines of source that are shown.
const SHOWN: usize = 60;

/// Builds an agent that knows the lines of its source: the code is the same.
pub(super) fn agent() -> Result<PathBuf, String> {
    let folder = cargo::target_dir().join("counts");
    let mut command = cargo::cargo();
    command.args(["build", "--release", "--package", "ring3-agent", "--lib", "--target-dir"]).arg(&folder);
    let status =
        command.env("RING3_AGENT_LINES", "1").status().map_err(|why| format!("cannot run cargo: {why}"))?;
    if !status.success() {
        return Err("building the agent failed".to_owned());
    }
    Ok(folder.join("release/libring3.so"))
}

/// Prints where a way leads.
pub(super) fn print(way: &[u64], maps: &str, agent: &Path) -> Done {
    let mut times = HashMap::new();
    way.iter().for_each(|pc| *times.entry(*pc).or_insert(0u64) += 1);
    let (mut of_agent, mut functions, mut lines) = (Vec::new(), HashMap::new(), HashMap::new());
    for (pc, times) in times {
        let path = Mapping::all(maps).find(|mapping| mapping.has(pc)).map_or("?", |mapping| mapping.path);
        if path.ends_with("/libring3.so") {
            if of_agent.is_empty() {
                same_code(path.as_ref(), agent)?;
            }
            of_agent.push((pc - Mapping::base(maps, path), times));
        } else {
            *functions.entry(path.to_owned()).or_insert(0) += times;
            *lines.entry(path.to_owned()).or_insert(0) += times;
        }
    }
    for ((_, times), (function, line)) in of_agent.iter().zip(names(agent, &of_agent)?) {
        *lines.entry(format!("{line}  {function}")).or_insert(0) += times;
        *functions.entry(function).or_insert(0) += times;
    }
    println!("{} instructions, by function", way.len() + 1);
    table(functions, usize::MAX);
    println!("\nby line");
    table(lines, SHOWN);
    Ok(())
}

/// Sees that two files have the same code.
fn same_code(one: &Path, other: &Path) -> Done {
    let code = |path: &Path| -> Result<Vec<u8>, String> {
        let told = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let data = std::fs::read(path).map_err(|why| told(&why))?;
        let file = object::File::parse(&*data).map_err(|why| told(&why))?;
        let section = file.section_by_name(".text").ok_or_else(|| told(&"no code"))?;
        section.data().map(<[u8]>::to_vec).map_err(|why| told(&why))
    };
    if code(one)? == code(other)? {
        Ok(())
    } else {
        Err("the command's agent is of other code than this tree's".to_owned())
    }
}

/// Prints a table, most first.
fn table(times: HashMap<String, u64>, shown: usize) {
    let mut rows: Vec<(String, u64)> = times.into_iter().collect();
    rows.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    rows.iter().take(shown).for_each(|(name, times)| println!("{times:6}  {name}"));
}

/// Asks addr2line for the innermost function and the line of each offset.
fn names(file: &Path, spots: &[(u64, u64)]) -> Result<Vec<(String, String)>, String> {
    let mut command = Command::new("addr2line");
    command.args(["--functions", "--demangle", "--exe"]).arg(file);
    command.args(spots.iter().map(|(offset, _)| format!("{offset:#x}")));
    let output = command.output().map_err(|why| format!("addr2line: {why}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let root = format!("{}/", cargo::root().display());
    let answers: Vec<&str> = text.lines().collect();
    let named = answers.chunks_exact(2).map(|answer| {
        let line = answer[1].split(" (").next().unwrap_or_default();
        (answer[0].to_owned(), line.replacen(&root, "", 1))
    });
    let named: Vec<_> = named.collect();
    if named.len() == spots.len() { Ok(named) } else { Err("addr2line answers too little".to_owned()) }
}
