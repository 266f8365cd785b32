//! The files that the rules look at.

use std::fs;
use std::path::Path;

/// Folders that are not ours to look at.
const SKIPPED: [&str; 3] = ["target", ".git", "node_modules"];

/// One text file of the project.
pub(super) struct Source {
    /// Its path from the root, with slashes.
    pub(super) path: String,
    /// What is in it.
    pub(super) text: String,
}

impl Source {
    /// Makes one by hand.
    #[cfg(test)]
    pub(super) fn new(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    /// Says whether this is Rust.
    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Says whether this is a document.
    pub(super) fn is_document(&self) -> bool {
        self.path.ends_with(".md")
    }

    /// Says whether this is test code: a test target, a `tests.rs`, `tests/` or `testing/` module, the test crates.
    pub(super) fn is_test(&self) -> bool {
        let starts = ["tests/", "xtask/", "benches/"].iter().any(|top| self.path.starts_with(top));
        let name = self.path.rsplit('/').next().unwrap_or_default();
        starts || ["/tests/", "/testing/"].iter().any(|part| self.path.contains(part)) || name == "tests.rs"
    }

    /// Returns the crate's folder name, for files below crates/.
    pub(super) fn layer(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }

    /// Returns the path inside the crate's src, for files that are in the library or program itself.
    pub(super) fn inside(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split_once('/')?.1.strip_prefix("src/")
    }

    /// Returns the lines with their numbers, without comments and without what stands between quotes.
    pub(super) fn code(&self) -> impl Iterator<Item = (usize, String)> {
        self.text.lines().enumerate().map(|(number, line)| (number + 1, bare(line)))
    }

    /// Returns the lines with their numbers, as they are.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(number, line)| (number + 1, line))
    }
}

/// Cuts a line's comment off and empties its strings.
fn bare(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => {
                chars.next();
            }
            '"' => {
                quoted = !quoted;
                out.push(c);
            }
            '\'' if !quoted && chars.peek() == Some(&'"') => {
                chars.next();
            }
            '/' if !quoted && chars.peek() == Some(&'/') => break,
            _ if quoted => {}
            _ => out.push(c),
        }
    }
    out
}

/// Reads every text file below the root.
pub(super) fn all(root: &Path) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if SKIPPED.iter().any(|skipped| name == *skipped) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let short = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
                sources.push(Source { path: short, text });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}
