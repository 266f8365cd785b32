//! What is written down: each call with what came of it, its numbers and times replaced by what they stand for.

use super::Player;
use crate::oracle::{dump, sys};
use std::fmt::Write;

impl Player {
    pub(super) fn note(&mut self, line: &str, what: &str) {
        let _ = if what.is_empty() {
            writeln!(self.record, "{line}")
        } else {
            writeln!(self.record, "{line} -> {what}")
        };
    }

    /// Writes down who came back: the caller first, the others by number.
    pub(super) fn note_done(&mut self, caller: usize, mut done: Vec<(usize, String)>) {
        done.sort_by_key(|(who, _)| (*who != caller, *who));
        for (who, text) in done {
            let line = self.workers[who].as_ref().map(|p| p.call.clone()).unwrap_or_default();
            let indent = if who == caller { "" } else { "  => " };
            let text = self.translate(&text);
            self.note(&format!("{indent}{line}"), &text);
        }
    }

    pub(super) fn note_dump(&mut self) {
        let text = self.translate(&dump::dump());
        self.record.push_str(&text);
    }

    /// Replaces process numbers by workers and times by marks.
    fn translate(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let known = after.split_once('}').and_then(|(inner, tail)| Some((self.word(inner)?, tail)));
            rest = known.as_ref().map_or(after, |(_, tail)| tail);
            out.push_str(known.as_ref().map_or("{", |(word, _)| word));
        }
        out + rest
    }

    /// What `p:NUMBER` and `t:NUMBER` stand for.
    fn word(&self, marked: &str) -> Option<String> {
        let (what, number) = marked.split_once(':')?;
        let number: i64 = number.parse().ok()?;
        match what {
            "p" => Some(self.person(number)),
            "t" => Some(self.moment(number)),
            _ => None,
        }
    }

    fn person(&self, pid: i64) -> String {
        match (pid, self.known.get(&(pid as u32))) {
            (0, _) => "0".to_string(),
            (_, Some(who)) => format!("w{who}"),
            _ if pid == i64::from(std::process::id()) => "driver".to_string(),
            _ => "stranger".to_string(),
        }
    }

    fn moment(&self, time: i64) -> String {
        if time == 0 {
            return "0".to_string();
        }
        match self.marks.iter().rposition(|&mark| mark <= time) {
            None => "early".to_string(),
            Some(_) if time > sys::seconds() => "future".to_string(),
            Some(k) => format!("t{k}"),
        }
    }
}
