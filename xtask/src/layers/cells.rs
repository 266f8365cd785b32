//! The cells: what each floor of the house has of each mechanism, always under the same word.

use crate::cargo;
use std::path::Path;

/// The mechanisms that are served.
const MECHANISMS: [&str; 3] = ["msg", "sem", "shm"];

/// The floors, and where their cells lie.
const FLOORS: [(&str, &str); 4] = [
    ("abi", "crates/abi/src"),
    ("engine", "crates/engine/src"),
    ("calls", "crates/calls/src/syscall"),
    ("broker", "crates/broker/src"),
];

/// A cell that is not there, and why the mechanism has nothing to say on that floor.
const ABSENT: [(&str, &str, &str); 1] =
    [("engine", "shm", "a segment's memory is the program's own: there is no operation on it")];

/// Says which cells are missing, or there against the list.
pub(super) fn findings() -> Vec<String> {
    let mut found = Vec::new();
    for (floor, place) in FLOORS {
        for mechanism in MECHANISMS {
            match (is_there(place, mechanism), absence(floor, mechanism)) {
                (false, None) => found.push(format!("{floor}: {mechanism} has no cell in {place}")),
                (true, Some(why)) => found.push(format!("{floor}: {mechanism} has a cell, although {why}")),
                _ => {}
            }
        }
    }
    found
}

/// Draws the table.
pub(super) fn draw() -> String {
    let row = |(floor, place): (&str, &str)| {
        let cells = MECHANISMS.map(|mechanism| if is_there(place, mechanism) { mechanism } else { "–" });
        format!("  {floor:<8} {}", cells.map(|cell| format!("{cell:<6}")).concat().trim_end())
    };
    format!("cells\n{}", FLOORS.map(row).join("\n"))
}

/// Whether a floor has a folder or a file of the mechanism's name.
fn is_there(place: &str, mechanism: &str) -> bool {
    let place = cargo::root().join(Path::new(place));
    place.join(mechanism).is_dir() || place.join(format!("{mechanism}.rs")).is_file()
}

/// Why a cell is absent.
fn absence(floor: &str, mechanism: &str) -> Option<&'static str> {
    ABSENT.iter().find(|(on, of, _)| *on == floor && *of == mechanism).map(|(_, _, why)| *why)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_cell_has_its_place() {
        assert_eq!(super::findings(), Vec::<String>::new());
    }
}
