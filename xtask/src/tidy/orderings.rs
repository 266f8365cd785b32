//! Orders of memory are argued: whoever asks for more than Relaxed says with whom it pairs, or nobody can change it later.

use super::source::Source;

/// Orderings that promise something.
const STRONG: [&str; 4] = ["Acquire", "Release", "AcqRel", "SeqCst"];

/// How many lines above an ordering its note may stand, beside the comment of its function.
const ABOVE: usize = 6;

/// Crates whose every ordering has its note. One that gets there joins the list, and stays in it.
const CRATES: [&str; 8] = ["abi", "os", "engine", "wire", "broker", "agent", "calls", "cli"];

/// Every ordering other than Relaxed has an ORDERING note.
pub(super) fn notes(source: &Source) -> Vec<(usize, String)> {
    let covered = source.layer().is_some_and(|layer| CRATES.contains(&layer));
    if !source.is_rust() || source.is_test() || source.inside().is_none() || !covered {
        return Vec::new();
    }
    let lines: Vec<&str> = source.text.lines().collect();
    let mut found = Vec::new();
    let mut imports = false;
    for (number, code) in source.code() {
        let opening = code.trim_start();
        imports |= ["use ", "pub use ", "pub(crate) use "].iter().any(|word| opening.starts_with(word));
        let skipped = imports;
        imports &= !code.contains(';');
        if !skipped && names_one(&code) && !is_noted(&lines, number) {
            found.push((number, "an ordering without its ORDERING note: with whom does it pair?".to_owned()));
        }
    }
    found
}

/// Says whether a line of code names a strong ordering.
fn names_one(code: &str) -> bool {
    code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| STRONG.contains(&word))
}

/// Says whether line `number` (from 1) has a note: on it, in the lines above it, or in the comment of the function around it.
fn is_noted(lines: &[&str], number: usize) -> bool {
    let noted = |line: &&str| line.contains("ORDERING:");
    let above = &lines[number.saturating_sub(ABOVE + 1)..number];
    let Some(function) = lines[..number].iter().rposition(|line| opens_function(line)) else {
        return above.iter().any(noted);
    };
    let comment = lines[..function].iter().rev().take_while(|line| is_comment(line));
    above.iter().any(noted) || comment.into_iter().any(noted)
}

/// Says whether a function begins in this line.
fn opens_function(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().take(5).collect();
    words.contains(&"fn") && !line.trim_start().starts_with("//")
}

/// Says whether a line belongs to the comment or the attributes above an item.
fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("//") || line.starts_with("#[")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<usize> {
        notes(&Source::new(path, text)).into_iter().map(|(number, _)| number).collect()
    }

    #[test]
    fn a_note_is_near_or_on_the_function() {
        let bare =
            "use a::{Acquire, Relaxed};\nfn f() {\n    word.load(Acquire);\n    word.load(Relaxed);\n}\n";
        assert_eq!(found("crates/engine/src/x.rs", bare), [3]);
        let near = bare
            .replace("    word.load(Acquire)", "    // ORDERING: pairs with g().\n    word.load(Acquire)");
        assert!(found("crates/engine/src/x.rs", &near).is_empty());
        let on = bare.replace("fn f()", "/// Reads.\n// ORDERING: pairs with g().\n#[inline]\nfn f()");
        assert!(found("crates/engine/src/x.rs", &on).is_empty());
        let far = format!("// ORDERING: of another.\nfn g() {{}}\n{}{bare}", "\n".repeat(ABOVE));
        assert_eq!(found("crates/engine/src/x.rs", &far), [ABOVE + 5]);
    }

    #[test]
    fn imports_tests_and_crates_that_are_not_there_yet_are_left_alone() {
        let text = "use a::{\n    Ordering::{Acquire, SeqCst},\n    fence,\n};\n";
        assert!(found("crates/engine/src/x.rs", text).is_empty());
        assert!(found("crates/engine/src/x/tests.rs", "fn f() { w.load(Acquire) }\n").is_empty());
        assert!(found("crates/other/src/x.rs", "fn f() { w.load(Acquire) }\n").is_empty());
    }
}
