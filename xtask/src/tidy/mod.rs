//! The house rules that a program can check; CONTRIBUTING.md says why each is there.
//!
//! `source.rs` finds and splits the files, `borders.rs` has the rules about what may stand where, `text.rs` the
//! rules about how it is written, `links.rs` the rules about documents, `orderings.rs` the one about orders of memory, `formats.rs` the pages about formats.

mod borders;
mod formats;
mod links;
mod orderings;
mod source;
mod text;

use crate::cargo::{self, Done};
use source::Source;

/// One rule: looks at one file and says what it found, with the line's number (0: the whole file).
type Rule = fn(&Source) -> Vec<(usize, String)>;

/// All of them.
const RULES: [Rule; 18] = [
    text::head,
    text::leftovers,
    text::commented_out,
    text::workplace,
    text::prints,
    text::sleeps,
    text::size,
    text::safety,
    borders::no_std,
    borders::unsafe_code,
    borders::atomics,
    borders::assembly,
    borders::machine,
    borders::test_switches,
    borders::mechanisms,
    borders::cells,
    links::paths,
    orderings::notes,
];

/// Runs every rule on every file.
pub(crate) fn run() -> Done {
    let sources = source::all(&cargo::root())?;
    for (path, lines) in sources.iter().filter_map(|source| Some((&source.path, text::long(source)?))) {
        println!("tidy: warning: {path}: {lines} lines; is it still one noun?");
    }
    let mut found = findings(&sources);
    found.extend(formats::check(&sources));
    found.extend(links::unlisted(&sources));
    cargo::verdict("tidy", sources.len(), "files", &found)
}

/// Applies the rules.
fn findings(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for rule in RULES {
            for (line, what) in rule(source) {
                found.push(match line {
                    0 => format!("{}: {what}", source.path),
                    _ => format!("{}:{line}: {what}", source.path),
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
