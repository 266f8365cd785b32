//! What a program that uses no IPC pays: /bin/true started by a shell, natively and under ring3, in turn. Reports only.

use ring3_tests::support::{self, Scratch};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const LOAD: &str = env!("CARGO_BIN_EXE_ring3-load");
const ROUNDS: usize = 5;
/// A thousand times.
const LOOP: &str = "i=0; while [ $i -lt 1000 ]; do /bin/true; i=$((i+1)); done";

fn time(mut command: Command) -> Duration {
    let begun = Instant::now();
    assert!(command.status().expect("a shell starts").success());
    begun.elapsed()
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

#[test]
fn bin_true() {
    let scratch = Scratch::new("spawn");
    let ring3 = support::ring3(Path::new(LOAD));
    let (mut native, mut inside) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut shell = Command::new("sh");
        shell.args(["-c", LOOP]);
        native.push(time(shell));
        let mut shell = Command::new(&ring3);
        shell.args(["run", "--", "sh", "-c", LOOP]).env("RING3_DIR", scratch.path());
        inside.push(time(shell));
    }
    let (native, inside) = (median(native), median(inside));
    let ratio = inside.as_secs_f64() / native.as_secs_f64();
    eprintln!(
        "1000 x /bin/true: native {native:?}, under ring3 {inside:?} ({ratio:.3} times; with ring3's own start)"
    );
}
