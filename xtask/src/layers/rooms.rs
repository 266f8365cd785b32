//! The rooms inside a crate: which folder may use which, and that no file uses itself by way of others.

use crate::cargo;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A crate whose folders lie on top of each other.
struct Building {
    /// The crate's folder below crates/.
    name: &'static str,
    /// Its rooms, the lowest first; a room uses those below it and itself.
    rooms: &'static [&'static str],
}

/// The crates with an order inside.
const BUILDINGS: [Building; 1] =
    [Building { name: "calls", rooms: &["thread", "process", "object", "preload", "syscall"] }];

/// What uses what, by file (`room/file.rs`, `room/folder/file.rs`).
type Uses = BTreeMap<String, BTreeSet<String>>;

/// Says what is wrong inside the crates.
pub(super) fn findings() -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for building in &BUILDINGS {
        let uses = uses(building)?;
        found.extend(building.upward(&uses));
        found
            .extend(circle(&uses).map(|files| format!("{}: a circle: {}", building.name, files.join(" → "))));
    }
    Ok(found)
}

/// Draws the rooms with what each uses.
pub(super) fn draw() -> Result<String, String> {
    let mut lines = Vec::new();
    for building in &BUILDINGS {
        let uses = uses(building)?;
        lines.push(format!("crates/{}", building.name));
        for room in building.rooms.iter().rev() {
            let files: Vec<_> = uses.iter().filter(|(file, _)| room_of(file) == *room).collect();
            let mut below: BTreeSet<&str> =
                files.iter().flat_map(|(_, used)| used.iter().map(|file| room_of(file))).collect();
            below.remove(room);
            let below: Vec<&str> = below.into_iter().collect();
            lines.push(format!("  {room:<8} {:>2} files, uses {}", files.len(), below.join(" ")));
        }
    }
    Ok(lines.join("\n"))
}

impl Building {
    /// The uses that go from a room to one above it.
    fn upward(&self, uses: &Uses) -> Vec<String> {
        let height = |file: &str| self.rooms.iter().position(|room| *room == room_of(file));
        let pairs = uses.iter().flat_map(|(file, used)| used.iter().map(move |used| (file, used)));
        pairs
            .filter(|(file, used)| height(used) > height(file))
            .map(|(file, used)| format!("{}: {file} uses {used}, which lies above it", self.name))
            .collect()
    }
}

/// The room of `room/file.rs`.
fn room_of(file: &str) -> &str {
    file.split('/').next().unwrap_or_default()
}

/// Reads the files of every room.
fn uses(building: &Building) -> Result<Uses, String> {
    let source = cargo::root().join("crates").join(building.name).join("src");
    let mut uses = Uses::new();
    for room in building.rooms {
        for name in files(&source, room)? {
            let text = fs::read_to_string(source.join(&name)).map_err(|why| format!("{name}: {why}"))?;
            let mut used: BTreeSet<String> =
                paths(&text).iter().filter_map(|path| file_of(&source, path)).collect();
            used.remove(&name);
            uses.insert(name, used);
        }
    }
    Ok(uses)
}

/// The Rust files of a room and of the folders in it, as paths below the crate's source.
fn files(source: &Path, folder: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let entries = fs::read_dir(source.join(folder)).map_err(|why| format!("{folder}: {why}"))?;
    for entry in entries.flatten() {
        let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            found.extend(files(source, &name)?);
        } else if entry.path().extension().is_some_and(|e| e == "rs") {
            found.push(name);
        }
    }
    Ok(found)
}

/// The paths below `crate::` that a file names, groups taken apart, comments left out.
fn paths(text: &str) -> Vec<String> {
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join(" ");
    code.split("crate::").skip(1).flat_map(|rest| expand("", rest)).collect()
}

/// Takes `a::{b, c::d}` apart.
fn expand(prefix: &str, text: &str) -> Vec<String> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    let (path, rest) = text.split_at(end);
    let whole = format!("{prefix}{path}");
    match rest.strip_prefix('{').filter(|_| path.ends_with("::") || path.is_empty()) {
        Some(group) => members(group).iter().flat_map(|member| expand(&whole, member.trim())).collect(),
        None => vec![whole],
    }
}

/// The members of a group whose opening brace is already gone.
fn members(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => {
                found.push(&group[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.retain(|member| !member.trim().is_empty());
    found
}

/// The file that a path leads into: `room::file::…`, `room::folder::file::…`, else the `mod.rs` of the last folder.
fn file_of(source: &Path, path: &str) -> Option<String> {
    let mut words = path.split("::").filter(|word| !word.is_empty());
    let mut folder = words.next()?.to_owned();
    if !source.join(&folder).is_dir() {
        return None;
    }
    for word in words {
        let within = format!("{folder}/{word}");
        if source.join(format!("{within}.rs")).is_file() {
            return Some(format!("{within}.rs"));
        }
        if !source.join(&within).is_dir() {
            break;
        }
        folder = within;
    }
    Some(format!("{folder}/mod.rs"))
}

/// The files of a circle, if there is one.
fn circle(uses: &Uses) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    uses.keys().find_map(|file| follow(uses, file, &mut Vec::new(), &mut done))
}

/// Follows uses from a file, in depth.
fn follow(
    uses: &Uses,
    file: &str,
    way: &mut Vec<String>,
    done: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    if let Some(at) = way.iter().position(|before| before == file) {
        way.push(file.to_owned());
        return Some(way[at..].to_vec());
    }
    if done.contains(file) {
        return None;
    }
    way.push(file.to_owned());
    for used in uses.get(file).into_iter().flatten() {
        if let Some(found) = follow(uses, used, way, done) {
            return Some(found);
        }
    }
    way.pop();
    done.insert(file.to_owned());
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_taken_apart() {
        let text = "use crate::a::{self, b::{c, D}, e};\nlet x = crate::f::g(1); // crate::no\n";
        assert_eq!(paths(text), ["a::self", "a::b::c", "a::b::D", "a::e", "f::g"]);
    }

    #[test]
    fn a_path_leads_into_a_folder_of_a_room() {
        let source = cargo::root().join("crates/calls/src");
        let file = |path| file_of(&source, path);
        assert_eq!(file("syscall::get::stat").as_deref(), Some("syscall/get.rs"));
        assert_eq!(file("syscall::msg::queue::KIND").as_deref(), Some("syscall/msg/queue.rs"));
        assert_eq!(file("syscall::msg::msgsnd").as_deref(), Some("syscall/msg/msgsnd.rs"));
        assert_eq!(file("syscall::msg").as_deref(), Some("syscall/msg/mod.rs"));
        assert_eq!(file("nowhere::at_all"), None);
        assert!(files(&source, "syscall").unwrap().contains(&"syscall/sem/semop.rs".to_owned()));
    }

    #[test]
    fn a_circle_is_found_and_a_way_up() {
        let uses = Uses::from([
            ("thread/a.rs".to_owned(), BTreeSet::from(["thread/b.rs".to_owned()])),
            ("thread/b.rs".to_owned(), BTreeSet::from(["thread/a.rs".to_owned(), "syscall/c.rs".to_owned()])),
        ]);
        assert_eq!(circle(&uses).unwrap(), ["thread/a.rs", "thread/b.rs", "thread/a.rs"]);
        assert_eq!(BUILDINGS[0].upward(&uses).len(), 1);
    }

    #[test]
    fn the_rooms_are_in_order() {
        assert_eq!(findings().unwrap(), Vec::<String>::new());
    }
}
