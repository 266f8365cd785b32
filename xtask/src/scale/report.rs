//! Rows: a name, and what was measured, as text that the command outside puts side by side.

use super::crowd::FIGURES;
use std::time::{Duration, Instant};

/// What has been measured so far; printed at once, so that a row that is not reached does not take the others along.
#[derive(Debug, Default)]
pub(super) struct Report;

impl Report {
    fn row(&mut self, name: &str, value: &str) {
        println!("{name}\t{value}");
    }

    /// A time since.
    pub(super) fn seconds(&mut self, name: &str, since: Instant) {
        self.row(name, &time(since.elapsed().as_nanos() as u64));
    }

    /// A time.
    pub(super) fn time(&mut self, name: &str, took: Duration) {
        self.row(name, &time(took.as_nanos() as u64));
    }

    /// Bytes.
    pub(super) fn bytes(&mut self, name: &str, bytes: u64) {
        let text = match bytes {
            0..10_000 => format!("{bytes} B"),
            10_000..10_000_000 => format!("{} KiB", bytes / 1024),
            _ => format!("{} MiB", bytes >> 20),
        };
        self.row(name, &text);
    }

    /// A number.
    pub(super) fn count(&mut self, name: &str, count: u64) {
        self.row(name, &count.to_string());
    }

    /// The median of the first, the middle and the last hundredth, and the longest of all.
    pub(super) fn three(&mut self, name: &str, figures: &[[u64; FIGURES]], at: usize) {
        let part = (figures.len() / 100).max(1);
        let middle = figures.len() / 2 - part / 2;
        let parts = [&figures[..part], &figures[middle..middle + part], &figures[figures.len() - part..]];
        let words: Vec<String> = parts.iter().map(|part| time(median(part, at))).collect();
        self.row(name, &words.join(" / "));
    }

    /// The median of all.
    pub(super) fn median(&mut self, name: &str, figures: &[[u64; FIGURES]], at: usize) {
        self.row(name, &time(median(figures, at)));
    }
}

fn median(figures: &[[u64; FIGURES]], at: usize) -> u64 {
    let mut all: Vec<u64> = figures.iter().map(|row| row[at]).collect();
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or(0)
}

/// A time with three digits.
fn time(nanoseconds: u64) -> String {
    let (value, unit) = match nanoseconds {
        0..10_000 => return format!("{nanoseconds} ns"),
        10_000..10_000_000 => (nanoseconds as f64 / 1e3, "us"),
        10_000_000..10_000_000_000 => (nanoseconds as f64 / 1e6, "ms"),
        _ => (nanoseconds as f64 / 1e9, "s"),
    };
    let digits = if value < 100.0 { 1 } else { 0 };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::{FIGURES, median, time};

    #[test]
    fn figures_are_said_with_three_digits() {
        assert_eq!(
            (time(900), time(12_345), time(12_345_678)),
            ("900 ns".into(), "12.3 us".into(), "12.3 ms".into())
        );
        let rows: Vec<[u64; FIGURES]> = (0..5).map(|at| [at; FIGURES]).collect();
        assert_eq!(median(&rows, 3), 2);
    }
}
