//! Prints the table of permission: a line a cell.
//!
//! ```text
//! ring3-permissions kernel|here [--short] [--only WORD]
//! ```
//! WORD: only the identities that have it in their name. `kernel`: first enter a fresh IPC namespace of the kernel's. Only root can play all identities.

use ring3_tests::oracle::sys;
use ring3_tests::permissions::{FEW, MODES, identity, scene, scene::History};
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let only = args
        .iter()
        .position(|arg| arg == "--only")
        .and_then(|at| args.get(at + 1))
        .map_or("", String::as_str);
    match table(args.first().map_or("", String::as_str), args.iter().any(|arg| arg == "--short"), only) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(io::stderr(), "ring3-permissions: {why}");
            ExitCode::from(2)
        }
    }
}

fn table(world: &str, short: bool, only: &str) -> io::Result<()> {
    if world == "kernel" {
        sys::new_namespace()?;
    }
    let modes: &[u32] = if short { &FEW } else { &MODES };
    for identity in identity::ALL.iter().filter(|identity| identity.name.contains(only)) {
        for &mode in modes {
            for &history in History::of(identity) {
                let mut lines = String::new();
                scene::row(identity, mode, history, &mut lines)?;
                io::stdout().write_all(lines.as_bytes())?;
            }
        }
    }
    Ok(())
}
