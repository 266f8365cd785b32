//! The house is tidy, and the rules find what they are there for.

use super::source::{self, Source};

#[test]
fn house_is_tidy() {
    let sources = source::all(&crate::cargo::root()).expect("the workspace can be read");
    let found = super::findings(&sources);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn rules_find_what_they_are_for() {
    let cases = [
        ("crates/engine/src/x.rs", "fn f() {}\n", "//!"),
        ("crates/engine/src/x.rs", concat!("//! X.\n// TO", "DO: later\n"), concat!("TO", "DO")),
        ("crates/engine/src/x.rs", "//! X.\nuse core::sync::atomic::AtomicU8;\n", "atomic"),
        ("crates/engine/src/sem/x.rs", "//! X.\nuse crate::msg::Queue;\n", "msg"),
        ("crates/engine/src/lock.rs", "//! X.\nuse crate::msg::Queue;\n", "msg"),
        ("crates/engine/src/x.rs", "//! X.\nfn f() { unsafe { g() } }\n", "unsafe"),
        ("crates/os/src/x.rs", "//! X.\nfn f() {\n    // SAFETY: safe\n    unsafe { g() }\n}\n", "SAFETY"),
        ("crates/broker/src/object/x.rs", "//! X.\nfn f() { g(Kind::Sem) }\n", "outside of its folder"),
        ("crates/broker/src/msg/x.rs", "//! X.\nuse crate::sem::State;\n", "outside of its folder"),
        ("crates/os/src/x.rs", "//! X.\nfn f() { asm!(\"nop\") }\n", "asm"),
        ("crates/abi/src/lib.rs", "//! X.\n", "no_std"),
        ("crates/broker/src/x.rs", "//! X.\nfn f() { println!() }\n", "print"),
        ("tests/src/x.rs", "//! X.\nfn f() { std::thread::sleep(d) }\n", "sleep"),
        ("crates/calls/src/x.rs", "//! X.\n#[cfg(test)]\nfn f() {}\n", "cfg(test)"),
        ("docs/x.md", "[gone](no/such/file.md)\n", "no/such/file.md"),
        ("docs/x.md", "see `crates/no-such/file.rs`\n", "no-such"),
    ];
    for (path, text, wanted) in cases {
        let found = super::findings(&[Source::new(path, text)]);
        assert!(found.iter().any(|line| line.contains(wanted)), "{path}: {text:?} gave {found:?}");
    }
}

#[test]
fn rules_leave_the_rest_alone() {
    let text = "//! X.\n\n/// Takes a `TO`-like thing; `asm!` in a comment is text.\nfn f() {\n    \
                // SAFETY: by I2, the caller holds the lock.\n    unsafe { g() }\n}\n";
    let found = super::findings(&[Source::new("crates/os/src/x.rs", text)]);
    assert!(found.is_empty(), "{found:?}");
}
