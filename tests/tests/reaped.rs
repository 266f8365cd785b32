//! Who has reaped a child killed by SIGKILL sees its adjustments and attachments settled, every time.

use ring3_tests::support::{self, Scratch};
use std::path::Path;
use std::process::Command;

const LOAD: &str = env!("CARGO_BIN_EXE_ring3-load");

#[test]
fn a_thousand_times() {
    let scratch = Scratch::new("reaped");
    let output = Command::new(support::ring3(Path::new(LOAD)))
        .args(["run", "--", LOAD, "reaped", "1000"])
        .env("RING3_DIR", scratch.path())
        .output()
        .expect("ring3 starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(out.trim(), "reaped 1000 unsettled 0", "{err}");
    assert_eq!(err, "", "nothing is left behind");
    assert!(output.status.success());
}
