//! The cells: what each floor of the house has of each mechanism, always under the same word.

use crate::cargo;
use std::path::Path;

/// The mechanisms that are served.
const MECHANISMS: [&str; 3] = ["msg", "sem", "shm"];

/// What a cell is made of.
#[derive(Clone, Copy)]
enum Shape {
    /// One file of the mechanism's name.
    File,
    /// A folder of the mechanism's name.
    Folder,
}

/// The floors, where their cells lie, and what a cell is there.
const FLOORS: [(&str, &str, Shape); 4] = [
    ("abi", "crates/abi/src", Shape::File),
    ("engine", "crates/engine/src", Shape::Folder),
    ("calls", "crates/calls/src/syscall", Shape::Folder),
    ("broker", "crates/broker/src", Shape::Folder),
];

/// A cell that is not there, and why the mechanism has nothing to say on that floor.
const ABSENT: [(&str, &str, &str); 1] =
    [("engine", "shm", "a segment's memory is the program's own: there is no operation on it")];

/// Says which cells are missing, or there against the list.
pub(super) fn findings() -> Vec<String> {
    let mut found = Vec::new();
    for (floor, place, shape) in FLOORS {
        for mechanism in MECHANISMS {
            match (is_there(place, shape, mechanism), absence(floor, mechanism)) {
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
    let row = |(floor, place, shape): (&str, &str, Shape)| {
        let cells =
            MECHANISMS.map(|mechanism| if is_there(place, shape, mechanism) { mechanism } else { "–" });
        format!("  {floor:<8} {}", cells.map(|cell| format!("{cell:<6}")).concat().trim_end())
    };
    format!("cells\n{}", FLOORS.map(row).join("\n"))
}

/// Whether a floor has the mechanism's cell.
fn is_there(place: &str, shape: Shape, mechanism: &str) -> bool {
    let place = cargo::root().join(Path::new(place));
    match shape {
        Shape::File => place.join(format!("{mechanism}.rs")).is_file(),
        Shape::Folder => place.join(mechanism).is_dir(),
    }
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
