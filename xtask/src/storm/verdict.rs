//! What the storm has counted, and the line that says so.

use super::ledger::{Ledger, Wrong};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// Sums over all rounds.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) time: Duration,
    operations: u64,
    /// Clients, brokers and keepers that were killed.
    pub(super) clients: u64,
    pub(super) brokers: u64,
    pub(super) keepers: u64,
    pub(super) stops: u64,
    /// Receivers that died in msgrcv, and messages that are missing, which those may have taken.
    pub(super) doubts: u64,
    pub(super) taken: u64,
    /// Longest wait for an answer after a broker's or a keeper's death.
    pub(super) longest: Duration,
    wrong: [u64; 5],
}

impl Verdict {
    /// Adds a round.
    pub(super) fn add(&mut self, ledger: &Ledger) {
        self.operations += ledger.slots.iter().map(|slot| slot.operations.load(SeqCst)).sum::<u64>();
        for (sum, count) in self.wrong.iter_mut().zip(&ledger.wrong) {
            *sum += count.load(SeqCst);
        }
    }

    /// How much is wrong.
    pub(super) fn found(&self) -> u64 {
        self.wrong.iter().sum()
    }

    /// The line.
    pub(super) fn line(&self) -> String {
        let kills = self.clients + self.brokers + self.keepers;
        let mut line = format!(
            "storm: {:.0} s, {} operations, {kills} kills ({} clients, {} brokers, {} keepers), {} stops",
            self.time.as_secs_f64(),
            self.operations,
            self.clients,
            self.brokers,
            self.keepers,
            self.stops
        );
        if self.brokers + self.keepers > 0 {
            line += &format!(", longest wait {} ms", self.longest.as_millis());
        }
        line += &format!(", {} died in msgrcv and took {} messages;", self.doubts, self.taken);
        let words: Vec<String> = Wrong::ALL
            .iter()
            .map(|wrong| format!("{} {}", wrong.word(), self.wrong[*wrong as usize]))
            .collect();
        line + " " + &words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict;

    #[test]
    fn a_finding_is_in_the_line() {
        let verdict = Verdict { wrong: [0, 1, 0, 0, 0], ..Verdict::default() };
        assert_eq!(verdict.found(), 1);
        assert!(verdict.line().ends_with("lost 0, doubled 1, torn 0, stuck 0, failed 0"));
    }
}
