//! Rules about documents: what they name is there.

use super::source::Source;
use crate::cargo;
use std::path::Path;

/// Folders whose files documents name from the root.
const TOPS: [&str; 5] = ["crates/", "docs/", "tests/", "xtask/", ".ci/"];

/// Links and paths in documents lead somewhere.
pub(super) fn paths(source: &Source) -> Vec<(usize, String)> {
    if !source.is_document() {
        return Vec::new();
    }
    let root = cargo::root();
    let folder = Path::new(&source.path).parent().map(|folder| root.join(folder)).unwrap_or_default();
    let mut found = Vec::new();
    for (number, line) in source.lines() {
        for target in targets(line).filter(|target| !folder.join(target).exists()) {
            found.push((number, format!("links to {target}, which is not there")));
        }
        for path in named(line).filter(|path| !root.join(path).exists()) {
            found.push((number, format!("names {path}, which is not there")));
        }
    }
    found
}

/// Returns the relative targets of a line's links.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split(')').next()?.split('#').next()?;
        let outside = target.contains("://") || target.starts_with("mailto:");
        (!target.is_empty() && !outside).then_some(target)
    })
}

/// Returns the paths of this project that a line names in backquotes.
fn named(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter(|text| {
        let pattern = text.contains(['<', '*', '{', ' ', '…']);
        !pattern && TOPS.iter().any(|top| text.starts_with(top))
    })
}
