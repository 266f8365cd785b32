//! Pages that describe a format change with the files that define it: each names their fingerprint, so whoever changes the one is sent to
//! the other.

use super::source::Source;

/// A page, and the files that it describes.
const PAGES: [(&str, &[&str]); 3] = [
    (
        "docs/region-format.md",
        &[
            "crates/engine/src/directory/layout.rs",
            "crates/engine/src/journal.rs",
            "crates/engine/src/msg/layout.rs",
            "crates/engine/src/ledger.rs",
            "crates/engine/src/object.rs",
            "crates/engine/src/sem/layout.rs",
            "crates/engine/src/sem/word.rs",
            "crates/engine/src/ticket/layout.rs",
            "crates/engine/src/ticket/owner.rs",
            "crates/engine/src/ticket/state.rs",
        ],
    ),
    (
        "docs/state-format.md",
        &[
            "crates/broker/src/state/codec.rs",
            "crates/broker/src/state/log.rs",
            "crates/broker/src/state/memory.rs",
            "crates/broker/src/state/part.rs",
            "crates/broker/src/state/vault.rs",
            "crates/os/src/packet.rs",
        ],
    ),
    (
        "docs/protocol.md",
        &[
            "crates/wire/src/codec.rs",
            "crates/wire/src/op.rs",
            "crates/wire/src/reply.rs",
            "crates/wire/src/request.rs",
        ],
    ),
];

/// Checks every page.
pub(super) fn check(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for (page, files) in PAGES {
        let Some(document) = sources.iter().find(|source| source.path == page) else { continue };
        let want = format!("Fingerprint of the sources: {:08x}", fingerprint(sources, files));
        if !document.text.contains(&want) {
            found.push(format!("{page}: its sources have changed; read the page again, then write: {want}"));
        }
    }
    found
}

/// FNV-1a over what the files declare: no comments, no spaces, nothing of their functions' bodies matters to a reader of the page, but
/// telling those apart would cost more than reading the page once too often.
fn fingerprint(sources: &[Source], files: &[&str]) -> u32 {
    let mut hash = 0x811c_9dc5_u32;
    for source in sources.iter().filter(|source| files.contains(&source.path.as_str())) {
        let declared = source.code().take_while(|(_, line)| !line.contains("mod tests"));
        for byte in
            declared.flat_map(|(_, line)| line.into_bytes()).filter(|byte| !byte.is_ascii_whitespace())
        {
            hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_noticed_and_a_comment_is_not() {
        let sources = |code: &str, page: &str| {
            vec![Source::new("crates/wire/src/op.rs", code), Source::new("docs/protocol.md", page)]
        };
        let complaint = check(&sources("pub const A: u8 = 1;", "")).pop().expect("one");
        let line = complaint.split("write: ").nth(1).expect("what to write");
        assert_eq!(check(&sources("pub const A: u8 = 1; // one", line)), Vec::<String>::new());
        assert_eq!(check(&sources("pub const A: u8 = 2;", line)).len(), 1);
    }
}
