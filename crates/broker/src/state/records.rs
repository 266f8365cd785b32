//! The records of a state, as a new broker reads them.

use super::Sheet;
use super::log::{self, Contents, Damaged, Record};
use super::memory::Memory;
use std::collections::HashMap;

/// All records, by namespace and part.
#[derive(Debug)]
pub(crate) struct Records {
    bytes: Vec<u8>,
    parts: HashMap<(u64, u8), Vec<Record>>,
}

impl Records {
    /// Reads them.
    pub(crate) fn read(memory: &Memory) -> Result<Records, Damaged> {
        let Contents { bytes, records } = log::read(memory)?;
        let mut parts: HashMap<(u64, u8), Vec<Record>> = HashMap::new();
        for (key, value) in records {
            let whole = bytes.get(key.clone()).ok_or(Damaged)?;
            let (space, part, rest) = log::part_of(whole).ok_or(Damaged)?;
            let key = key.end - rest.len()..key.end;
            parts.entry((space, part)).or_default().push((key, value));
        }
        Ok(Records { bytes, parts })
    }

    /// Has a part take its records in. `None`: one is damaged.
    pub(crate) fn fill(&self, space: u64, part: u8, sheet: &mut dyn Sheet) -> Option<()> {
        for (key, value) in self.parts.get(&(space, part)).into_iter().flatten() {
            sheet.read(self.bytes.get(key.clone())?, self.bytes.get(value.clone())?)?;
        }
        Some(())
    }

    /// The value of a part that has one. `None`: it is damaged, or not there.
    pub(crate) fn single(&self, space: u64, part: u8) -> Option<&[u8]> {
        match self.parts.get(&(space, part)).map(Vec::as_slice) {
            Some([(_, value)]) => self.bytes.get(value.clone()),
            _ => None,
        }
    }
}
