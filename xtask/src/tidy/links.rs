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

/// Every page of docs/ is in the book's summary: a page that is not is built for nobody.
pub(super) fn unlisted(sources: &[Source]) -> Vec<String> {
    const SUMMARY: &str = "docs/SUMMARY.md";
    let Some(summary) = sources.iter().find(|source| source.path == SUMMARY) else {
        return vec![format!("{SUMMARY} is not there")];
    };
    let listed: Vec<&str> = summary.text.lines().flat_map(targets).collect();
    let pages = sources.iter().filter(|source| source.is_document() && source.path != SUMMARY);
    pages
        .filter_map(|source| source.path.strip_prefix("docs/"))
        .filter(|page| !listed.contains(page))
        .map(|page| format!("docs/{page} is not in {SUMMARY}"))
        .collect()
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
