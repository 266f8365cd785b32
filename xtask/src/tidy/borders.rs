//! Rules about what may stand where: the borders that a crate is not enough for.

use super::source::Source;

/// Crates that have neither std nor a heap.
const BARE: [&str; 6] = ["abi", "os", "engine", "wire", "calls", "agent"];

/// Where unsafe code may stand, below crates/; a name that ends in a slash is a folder.
const UNSAFE: [&str; 10] = [
    "os/",
    "calls/",
    "agent/",
    "engine/src/region/",
    "engine/src/atomic.rs",
    "broker/src/host.rs",
    "broker/src/regions.rs",
    "broker/src/sys.rs",
    "cli/src/sys/",
    "cli/src/bench/",
];

/// Where core's atomics may be named, below crates/.
const ATOMICS: [&str; 6] =
    ["engine/src/atomic.rs", "os/", "calls/", "agent/", "cli/src/sys/", "cli/src/bench/"];

/// Where the machine's own instructions may stand.
const ASSEMBLY: [&str; 1] = ["os/src/arch/"];

/// Where code may ask which machine it is built for.
const MACHINE: [&str; 4] = ["os/", "abi/", "cli/src/sys/", "cli/src/doctor.rs"];

/// The mechanisms; none knows another (a FIFO's data is a pipe).
const MECHANISMS: [&str; 6] = ["msg", "sem", "shm", "pipe", "fifo", "signal"];

/// Says whether a path below crates/ is in a list.
fn listed(path: &str, list: &[&str]) -> bool {
    list.iter().any(|place| match place.ends_with('/') {
        true => path.starts_with(place),
        false => path == *place,
    })
}

/// Returns the path below crates/ of Rust code that is not a test's.
fn subject(source: &Source) -> Option<&str> {
    if !source.is_rust() || source.is_test() {
        return None;
    }
    source.path.strip_prefix("crates/")
}

/// Lists the lines of code in which any of the words stands.
fn with(source: &Source, words: &[&str], what: &str) -> Vec<(usize, String)> {
    let lines = source.code().filter(|(_, line)| words.iter().any(|word| has(line, word)));
    lines.map(|(number, _)| (number, what.to_owned())).collect()
}

/// Says whether `word` stands in the line and is not the end of a longer name.
fn has(line: &str, word: &str) -> bool {
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
}

/// The bare crates have neither std nor a heap.
pub(super) fn no_std(source: &Source) -> Vec<(usize, String)> {
    let Some(layer) = source.layer().filter(|layer| BARE.contains(layer)) else { return Vec::new() };
    if subject(source).is_none() || source.inside().is_none() {
        return Vec::new();
    }
    let mut found = with(source, &["std::", "alloc::", "extern crate"], &format!("std or a heap in {layer}"));
    found.retain(|(number, _)| !inside_tests(source, *number) && !only_for_tests(source, *number));
    if source.inside() == Some("lib.rs") && !source.text.contains("no_std") {
        found.push((0, "the crate is not no_std".to_owned()));
    }
    found
}

/// Says whether a line stands behind the file's own `mod tests {`.
fn inside_tests(source: &Source, number: usize) -> bool {
    let opening = source.lines().find(|(_, line)| line.trim_start().starts_with("mod tests {"));
    opening.is_some_and(|(start, _)| number > start)
}

/// Says whether a line is one item that exists under test only.
fn only_for_tests(source: &Source, number: usize) -> bool {
    let above = source.text.lines().nth(number.saturating_sub(2)).unwrap_or_default();
    above.trim() == "#[cfg(test)]"
}

/// Unsafe code stays behind its border.
pub(super) fn unsafe_code(source: &Source) -> Vec<(usize, String)> {
    match subject(source) {
        Some(path) if !listed(path, &UNSAFE) => {
            let words = ["unsafe {", "unsafe impl", "unsafe fn", "unsafe extern"];
            let mut found =
                with(source, &words, "unsafe code outside its border (xtask/src/tidy/borders.rs)");
            found.retain(|(number, _)| !inside_tests(source, *number));
            found
        }
        _ => Vec::new(),
    }
}

/// There is one door to atomics in the engine, and none in what has no business with them.
pub(super) fn atomics(source: &Source) -> Vec<(usize, String)> {
    match subject(source) {
        Some(path) if !listed(path, &ATOMICS) => {
            with(source, &["sync::atomic"], "core's atomics outside of engine::atomic")
        }
        _ => Vec::new(),
    }
}

/// There is one door to the machine's instructions.
pub(super) fn assembly(source: &Source) -> Vec<(usize, String)> {
    match subject(source) {
        Some(path) if !listed(path, &ASSEMBLY) => {
            with(source, &["asm!", "global_asm!", "naked_asm!"], "asm outside of crates/os/src/arch")
        }
        _ => Vec::new(),
    }
}

/// What depends on the machine stands with the machine.
pub(super) fn machine(source: &Source) -> Vec<(usize, String)> {
    match subject(source) {
        Some(path) if !listed(path, &MACHINE) => {
            with(source, &["target_arch"], "target_arch outside of the arch files")
        }
        _ => Vec::new(),
    }
}

/// Production code does not know that it is tested.
pub(super) fn test_switches(source: &Source) -> Vec<(usize, String)> {
    if subject(source).is_none() {
        return Vec::new();
    }
    let mut found = with(source, &["cfg!(test)", "cfg(miri)"], "behaves differently under test");
    let lines: Vec<&str> = source.text.lines().collect();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.trim() == "#[cfg(test)]") {
        let next = lines.get(at + 1).copied().unwrap_or_default().trim_start();
        let module = ["mod ", "pub mod ", "pub(crate) mod ", "extern crate std"];
        if !module.iter().any(|opening| next.starts_with(opening)) {
            found.push((at + 1, format!("{} is for modules only", line.trim())));
        }
    }
    found
}

/// Where the broker may name a mechanism beside the mechanisms' own folders: their table, and the table of requests.
const TABLES: [&str; 2] = ["mechanism.rs", "serve/route.rs"];

/// In the broker a mechanism is known by name in its own folder only: no kind is asked for, and no folder entered, from outside.
pub(super) fn cells(source: &Source) -> Vec<(usize, String)> {
    let Some(path) = subject(source).and_then(|path| path.strip_prefix("broker/src/")) else {
        return Vec::new();
    };
    let own = path.split('/').next().unwrap_or_default();
    if TABLES.contains(&path) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for other in MECHANISMS.iter().filter(|other| **other != own) {
        let kind = format!("Kind::{}{}", other[..1].to_uppercase(), &other[1..]);
        let words = [kind, format!("crate::{other}::"), format!("states.{other}")];
        let words = words.each_ref().map(String::as_str);
        found.extend(with(source, &words, &format!("{other} is known outside of its folder")));
    }
    found.retain(|(number, _)| !inside_tests(source, *number));
    found
}

/// Mechanisms do not know each other, and what they share knows none of them.
pub(super) fn mechanisms(source: &Source) -> Vec<(usize, String)> {
    let Some(path) = subject(source).and_then(|path| path.strip_prefix("engine/src/")) else {
        return Vec::new();
    };
    let own = path.split(['/', '.']).next().unwrap_or_default();
    if own == "lib" {
        return Vec::new();
    }
    let mut found = Vec::new();
    for other in MECHANISMS.iter().filter(|other| **other != own && !(own == "fifo" && **other == "pipe")) {
        let words = [format!("crate::{other}::"), format!("super::super::{other}::")];
        let words = words.each_ref().map(String::as_str);
        found.extend(with(source, &words, &format!("{own} knows {other}")));
    }
    found
}
