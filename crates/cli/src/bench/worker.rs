//! `ring3 bench-worker ROW MS`: measures one row with libc's functions, whether ring3 or the kernel serves them.

use super::rows::ROWS;
use crate::args::BenchWorker;
use crate::fault::{Fault, Result};
use crate::{manual, sys};
use std::env;
use std::time::Duration;

/// Measures and prints nanoseconds.
pub(crate) fn main(args: &BenchWorker) -> Result<u8> {
    let row = ROWS
        .iter()
        .find(|row| row.name == args.row)
        .ok_or_else(|| Fault::new(format!("no row {:?}", args.row)).status(2))?;
    sys::set_name(c"ring3-bench");
    if env::var_os("RING3_SOCKET").is_none() {
        // Where that is allowed the kernel's side gets an IPC namespace to itself; elsewhere it removes what it made.
        let _ = sys::own_kernel_ipc();
    }
    let ns = (row.measure)(Duration::from_millis(args.time)).map_err(Fault::new)?;
    manual::print(format!("{ns:.3}\n").as_bytes())
}
