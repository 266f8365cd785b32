//! The agent's trace: one line a call, for `RING3_LOG=debug`.
//!
//! # Invariants
//! W1. A line goes to the file that `ring3 run` named, opened for this line and closed again: never to a descriptor of the program's, and no
//!     descriptor stays open that the program could find.
//! W2. Without `RING3_LOG` a call pays one load.

use crate::process::environment;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use ring3_abi::Errno;
use ring3_os::{fd, process};

static WANTED: AtomicBool = AtomicBool::new(false);

/// Looks whether somebody wants a trace. After [`environment::capture`].
pub fn begin() {
    WANTED.store(environment::log_file().is_some(), Relaxed);
}

/// Ends the trace: from now on a filter may forbid to write it.
pub(crate) fn end() {
    WANTED.store(false, Relaxed);
}

/// Whether somebody wants a trace.
#[inline]
pub fn wanted() -> bool {
    WANTED.load(Relaxed)
}

/// A line, cut at its end if it gets too long.
struct Line {
    bytes: [u8; 256],
    len: usize,
}

impl Line {
    /// A line that says who writes it.
    fn begun() -> Line {
        let mut line = Line { bytes: [0; 256], len: 0 };
        line.text(b"ring3 agent ");
        line.digits(process::pid() as usize, 10);
        line.text(b"/");
        line.digits(process::tid() as usize, 10);
        line.text(b": ");
        line
    }

    fn text(&mut self, text: &[u8]) {
        for byte in text {
            if let Some(place) = self.bytes.get_mut(self.len) {
                *place = *byte;
                self.len += 1;
            }
        }
    }

    fn digits(&mut self, mut number: usize, base: usize) {
        let mut digits = [0u8; 20];
        let mut count = 0;
        for place in digits.iter_mut().rev() {
            *place = *b"0123456789abcdef".get(number % base).unwrap_or(&b'?');
            number /= base;
            count += 1;
            if number == 0 {
                break;
            }
        }
        let first = digits.len() - count;
        self.text(digits.get(first..).unwrap_or_default());
    }

    /// An argument or a value: small ones as signed numbers, others as addresses.
    fn word(&mut self, word: usize) {
        match word as isize {
            n @ -65536..=-1 => {
                self.text(b"-");
                self.digits(n.unsigned_abs(), 10);
            }
            _ if word <= u32::MAX as usize => self.digits(word, 10),
            _ => {
                self.text(b"0x");
                self.digits(word, 16);
            }
        }
    }

    fn write(&mut self) {
        // One byte is kept for the end of a line that is too long.
        self.len = self.len.min(self.bytes.len() - 1);
        self.text(b"\n");
        if let (Some(path), Some(bytes)) = (environment::log_file(), self.bytes.get(..self.len)) {
            // Nobody can be told that the trace cannot be written.
            let _ = fd::append(path, bytes);
        }
    }
}

/// Tells of a program that is about to be executed and cannot load the agent.
#[cold]
pub(crate) fn exec_alone() {
    let mut line = Line::begun();
    line.text(
        b"exec without the agent, whose file is not visible here: the program has the kernel's own IPC",
    );
    line.write();
}

/// Tells of a call that is over.
#[cold]
pub fn call(name: &str, arguments: &[usize], result: Result<usize, Errno>) {
    let mut line = Line::begun();
    line.text(name.as_bytes());
    for (n, argument) in arguments.iter().enumerate() {
        line.text(if n == 0 { b"(" } else { b", " });
        line.word(*argument);
    }
    line.text(b") = ");
    match result {
        Ok(value) => line.word(value),
        Err(errno) => match errno.name() {
            Some(name) => line.text(name.as_bytes()),
            None => line.word(errno.encode() as usize),
        },
    }
    line.write();
}
