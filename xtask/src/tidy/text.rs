//! Rules about how things are written.

use super::source::Source;

/// A file of this many lines is looked at twice; one of `ERROR` is refused.
const WARN: usize = 400;
/// See `WARN`.
const ERROR: usize = 600;

/// Every Rust file opens with what it is.
pub(super) fn head(source: &Source) -> Vec<(usize, String)> {
    let fine = !source.is_rust() || source.text.starts_with("//!") || source.text.starts_with("#!/");
    if fine { Vec::new() } else { vec![(1, "does not open with a //! head".to_owned())] }
}

/// Work that is left to do stands in an issue, not in a file.
pub(super) fn leftovers(source: &Source) -> Vec<(usize, String)> {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    if !(source.is_rust() || source.is_document()) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (number, line) in source.lines() {
        let mut parts = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        if let Some(word) = parts.find(|part| words.contains(part)) {
            found.push((number, format!("{word}: finish it or refuse it")));
        }
    }
    found
}

/// Code that is not used is deleted, not commented out.
pub(super) fn commented_out(source: &Source) -> Vec<(usize, String)> {
    if !source.is_rust() {
        return Vec::new();
    }
    let openings = ["let ", "fn ", "pub fn ", "use ", "if ", "for ", "match ", "return "];
    let looks = |line: &str| {
        let Some(comment) = line.trim_start().strip_prefix("// ") else { return false };
        let ends = comment.ends_with(';') || comment.ends_with(" {");
        ends && openings.iter().any(|opening| comment.starts_with(opening))
            && comment.contains(['(', '=', ':'])
    };
    let lines = source.lines().filter(|(_, line)| looks(line));
    lines.map(|(number, _)| (number, "commented-out code".to_owned())).collect()
}

/// The project does not name the place that it was written in.
pub(super) fn workplace(source: &Source) -> Vec<(usize, String)> {
    let words = [
        concat!("/wo", "rk/"),
        concat!("/tmp/", "r3"),
        concat!("issues", " show"),
        concat!("anth", "ropic"),
        concat!("cla", "ude"),
    ];
    let mut found = Vec::new();
    for (number, line) in source.lines() {
        let low = line.to_ascii_lowercase();
        found.extend(
            words.iter().filter(|word| low.contains(*word)).map(|word| (number, format!("names {word}"))),
        );
    }
    found
}

/// Only the command prints.
pub(super) fn prints(source: &Source) -> Vec<(usize, String)> {
    let allowed = source.is_test() || matches!(source.layer(), None | Some("cli"));
    if !source.is_rust() || allowed || source.path.ends_with("build.rs") {
        return Vec::new();
    }
    let macros = ["println!", "eprintln!", "print!", "eprint!", "dbg!"];
    let lines = source.code().filter(|(_, line)| macros.iter().any(|name| line.contains(name)));
    lines.map(|(number, _)| (number, "a print macro outside the command".to_owned())).collect()
}

/// A test waits for what it waits for, not for some time.
pub(super) fn sleeps(source: &Source) -> Vec<(usize, String)> {
    if !source.is_rust() || !source.is_test() {
        return Vec::new();
    }
    let lines = source.code().filter(|(_, line)| line.contains("thread::sleep"));
    lines.map(|(number, _)| (number, "thread::sleep in a test".to_owned())).collect()
}

/// Returns the length of a file that is nearly too long.
pub(super) fn long(source: &Source) -> Option<usize> {
    let lines = source.text.lines().count();
    (source.is_rust() && !source.is_test() && lines > WARN && lines <= ERROR).then_some(lines)
}

/// A file is one noun.
pub(super) fn size(source: &Source) -> Vec<(usize, String)> {
    let lines = source.text.lines().count();
    let fine = !source.is_rust() || source.is_test() || lines <= ERROR;
    if fine { Vec::new() } else { vec![(0, format!("{lines} lines, more than {ERROR}: split it by noun"))] }
}

/// A safety comment has a fact in it. (That there is one, clippy sees to.)
pub(super) fn safety(source: &Source) -> Vec<(usize, String)> {
    if !source.is_rust() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut lines = source.lines().peekable();
    while let Some((number, line)) = lines.next() {
        let comment = line.trim_start().strip_prefix("// SAFETY:");
        let goes_on = lines.peek().is_some_and(|(_, next)| next.trim_start().starts_with("//"));
        if comment.is_some_and(|fact| fact.trim().len() < 12 && !goes_on) {
            found.push((number, "a SAFETY comment without a fact".to_owned()));
        }
    }
    found
}
