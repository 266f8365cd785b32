//! Keys and identifiers of one kind. svipc(7); kernel: ipc_idr_alloc(), ipc_addid(), ipc_rmid(), ipc/util.c.
//!
//! # Invariants
//! N1. An identifier is index + 32768 × sequence. Indexes are given out in a cycle, at least [`MIN_CYCLE`] long; the sequence rises when the
//!     cycle starts again. So a stale identifier is not soon another object's.
//! N2. A key other than IPC_PRIVATE names at most one object.

use crate::state::{self, Book, Keep, Sheet};
use ring3_abi::ipc::{IPC_PRIVATE, IPCMNI, MIN_CYCLE, SEQ_MAX, SEQ_SHIFT, index_of, make_id};
use ring3_abi::{IpcId, Key};
use std::collections::HashMap;

/// The objects of one kind.
#[derive(Debug)]
pub(crate) struct Names<T> {
    slots: Vec<Option<(IpcId, Key, T)>>,
    keys: HashMap<Key, usize>,
    in_use: usize,
    sequence: u32,
    last_index: Option<usize>,
    /// Where the cyclic search starts.
    cursor: usize,
    /// Indexes of which something is new.
    noted: Vec<usize>,
}

impl<T> Default for Names<T> {
    fn default() -> Names<T> {
        Names {
            slots: Vec::new(),
            keys: HashMap::new(),
            in_use: 0,
            sequence: 0,
            last_index: None,
            cursor: 0,
            noted: Vec::new(),
        }
    }
}

impl<T> Names<T> {
    /// How many objects there are.
    pub(crate) fn in_use(&self) -> usize {
        self.in_use
    }

    /// The highest index in use.
    pub(crate) fn highest(&self) -> Option<usize> {
        self.slots.len().checked_sub(1)
    }

    /// The object with a key.
    pub(crate) fn by_key(&self, key: Key) -> Option<IpcId> {
        let index = *self.keys.get(&key)?;
        self.slots.get(index)?.as_ref().map(|slot| slot.0)
    }

    /// The identifier of the object at an index. Like the kernel's, the index may come inside an identifier of any sequence.
    pub(crate) fn at(&self, index: i32) -> Option<IpcId> {
        self.slots.get(index_of(index)?)?.as_ref().map(|slot| slot.0)
    }

    /// The object with an identifier, sequence included.
    pub(crate) fn get(&self, id: IpcId) -> Option<&T> {
        let slot = self.slots.get(index_of(id)?)?.as_ref()?;
        (slot.0 == id).then_some(&slot.2)
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, id: IpcId) -> Option<&mut T> {
        let index = index_of(id)?;
        let slot = self.slots.get_mut(index)?.as_mut().filter(|slot| slot.0 == id)?;
        note(&mut self.noted, index);
        Some(&mut slot.2)
    }

    /// The same, for those of its parts that no record has.
    pub(crate) fn derived_mut(&mut self, id: IpcId) -> Option<&mut T> {
        let slot = self.slots.get_mut(index_of(id)?)?.as_mut()?;
        (slot.0 == id).then_some(&mut slot.2)
    }

    /// All objects in the order of their indexes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (IpcId, &T)> {
        self.slots.iter().flatten().map(|slot| (slot.0, &slot.2))
    }

    /// The first object at or above an index.
    pub(crate) fn from(&self, index: usize) -> Option<IpcId> {
        self.slots.get(index..)?.iter().flatten().next().map(|slot| slot.0)
    }

    /// Gives an object an identifier: the one asked for (its index or the next free one), or the next of the cycle. `None`: there is none left
    /// under `limit`, which is at most [`IPCMNI`].
    pub(crate) fn add(
        &mut self,
        key: Key,
        asked_for: Option<IpcId>,
        limit: usize,
        object: T,
    ) -> Option<IpcId> {
        if self.in_use >= limit.min(IPCMNI) {
            return None;
        }
        let id = match asked_for {
            Some(asked_for) => {
                let index = self.free_from(index_of(asked_for)?, IPCMNI)?;
                make_id(index, asked_for.cast_unsigned() >> SEQ_SHIFT)
            }
            None => self.next()?,
        };
        let index = index_of(id)?;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        self.slots[index] = Some((id, key, object));
        note(&mut self.noted, index);
        if key != IPC_PRIVATE {
            self.keys.insert(key, index);
        }
        self.in_use += 1;
        Some(id)
    }

    fn next(&mut self) -> Option<IpcId> {
        let (index, sequence) = self.coming()?;
        self.cursor = index + 1;
        self.sequence = sequence;
        self.last_index = Some(index);
        Some(make_id(index, sequence))
    }

    /// Where the cycle ends.
    fn end(&self) -> usize {
        (self.in_use * 3 / 2).clamp(MIN_CYCLE, IPCMNI)
    }

    /// The index and the sequence that the next object gets.
    fn coming(&self) -> Option<(usize, u32)> {
        let end = self.end();
        let index = self.free_from(self.cursor, end).or_else(|| self.free_from(0, end))?;
        let again = self.last_index.is_some_and(|last| index <= last);
        Some((index, if again { (self.sequence + 1) % SEQ_MAX } else { self.sequence }))
    }

    /// The identifiers that the next objects get, at most so many, whatever of them is removed meanwhile: the first, and how many.
    pub(crate) fn run(&self, limit: usize, most: u32) -> Option<(IpcId, u32)> {
        let left = limit.min(IPCMNI).checked_sub(self.in_use).filter(|&left| left > 0)?;
        let (index, sequence) = self.coming()?;
        let last = self.end().min(index + left.min(most as usize));
        let free = |index: &usize| self.slots.get(*index).is_none_or(Option::is_none);
        let count = (index..last).take_while(free).count();
        Some((make_id(index, sequence), count as u32))
    }

    /// An object has had the next identifier, and has gone.
    pub(crate) fn pass(&mut self, id: IpcId) {
        if self.coming().is_some_and(|(index, sequence)| make_id(index, sequence) == id) {
            // As next() gives it; the record of the index is the same, but the counters have changed.
            let index = self.next().and_then(index_of);
            index.into_iter().for_each(|index| note(&mut self.noted, index));
        }
    }

    fn free_from(&self, start: usize, end: usize) -> Option<usize> {
        (start..end).find(|&index| self.slots.get(index).is_none_or(Option::is_none))
    }

    /// Takes an object away.
    pub(crate) fn remove(&mut self, id: IpcId) -> Option<T> {
        self.get(id)?;
        self.forget_key(id);
        let (_, _, object) = self.slots.get_mut(index_of(id)?)?.take()?;
        note(&mut self.noted, index_of(id)?);
        while self.slots.last().is_some_and(Option::is_none) {
            self.slots.pop();
        }
        self.in_use -= 1;
        Some(object)
    }

    /// Makes an object private: nobody finds it by key any more.
    pub(crate) fn forget_key(&mut self, id: IpcId) {
        let Some(index) = index_of(id) else { return };
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut).filter(|slot| slot.0 == id)
        else {
            return;
        };
        note(&mut self.noted, index);
        let key = std::mem::replace(&mut slot.1, IPC_PRIVATE);
        if key != IPC_PRIVATE {
            self.keys.remove(&key);
        }
    }
}

fn note(noted: &mut Vec<usize>, index: usize) {
    state::changed();
    if noted.last() != Some(&index) {
        noted.push(index);
    }
}

/// A record for each index in use, and one without a key for the rest.
impl<T: Keep> Sheet for Names<T> {
    fn is_noted(&self) -> bool {
        !self.noted.is_empty()
    }

    fn write_noted(&mut self, book: &mut dyn Book) {
        let noted = std::mem::take(&mut self.noted);
        for &index in &noted {
            self.write_slot(index, book);
        }
        if !noted.is_empty() {
            self.write_counters(book);
        }
        self.noted = noted;
        self.noted.clear();
    }

    fn write_all(&self, book: &mut dyn Book) {
        (0..self.slots.len())
            .filter(|&index| self.slots[index].is_some())
            .for_each(|index| self.write_slot(index, book));
        self.write_counters(book);
    }

    fn read(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        if key.is_empty() {
            (self.sequence, self.last_index, self.cursor) = state::whole(value)?;
            return Some(());
        }
        let index = state::whole::<usize>(key).filter(|&index| index < IPCMNI)?;
        let slot: (IpcId, Key, T) = state::whole(value)?;
        if index_of(slot.0) != Some(index) {
            return None;
        }
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        let name = slot.1;
        if name != IPC_PRIVATE && self.keys.insert(name, index).is_some() {
            return None;
        }
        self.in_use += usize::from(self.slots[index].replace(slot).is_none());
        Some(())
    }
}

impl<T: Keep> Names<T> {
    fn write_slot(&self, index: usize, book: &mut dyn Book) {
        match self.slots.get(index).and_then(Option::as_ref) {
            Some((id, key, object)) => {
                book.write(
                    &|out| index.put(out),
                    Some(&|out| {
                        id.put(out);
                        key.put(out);
                        object.put(out);
                    }),
                );
            }
            None => book.write(&|out| index.put(out), None),
        }
    }

    fn write_counters(&self, book: &mut dyn Book) {
        book.write(
            &|_| {},
            Some(&|out| {
                self.sequence.put(out);
                self.last_index.put(out);
                self.cursor.put(out);
            }),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(names: &mut Names<()>, key: Key) -> IpcId {
        names.add(key, None, 32000, ()).expect("room")
    }

    /// What Linux 6.18 answered in a fresh IPC namespace.
    #[test]
    fn identifiers_as_the_kernel_gives_them() {
        let mut names = Names::default();
        assert_eq!([add(&mut names, 0), add(&mut names, 0), add(&mut names, 0)], [0, 1, 2]);
        names.remove(1);
        assert_eq!(add(&mut names, 0), 3);
        assert!(names.get(1).is_none() && names.get(32768).is_none() && names.at(5 * 32768 + 2) == Some(2));
        let more: Vec<IpcId> = (0..70).map(|_| add(&mut names, 0)).collect();
        assert_eq!((more[57], more[59], more[60], more[69]), (61, 63, 64, 73));
    }

    #[test]
    fn the_sequence_rises_when_the_cycle_starts_again() {
        let mut names = Names::default();
        let ids: Vec<IpcId> = (0..70)
            .map(|_| {
                let id = add(&mut names, 0);
                names.remove(id);
                id
            })
            .collect();
        assert_eq!(ids[60..70], [60, 61, 62, 63, 32768, 32769, 32770, 32771, 32772, 32773]);
        assert_eq!((names.in_use(), names.highest()), (0, None));
    }

    #[test]
    fn asked_for_identifiers_keys_and_limits() {
        let mut names = Names::default();
        assert_eq!(names.add(7, Some(2 * 32768 + 5), 2, ()), Some(2 * 32768 + 5));
        assert_eq!(names.add(8, Some(5), 2, ()), Some(6));
        assert_eq!(names.add(9, None, 2, ()), None);
        assert_eq!((names.by_key(7), names.by_key(8), names.by_key(9)), (Some(2 * 32768 + 5), Some(6), None));
        names.forget_key(6);
        assert_eq!((names.by_key(8), names.highest()), (None, Some(6)));
        assert_eq!((names.from(0), names.from(6), names.from(7)), (Some(2 * 32768 + 5), Some(6), None));
        names.remove(6);
        assert_eq!((names.highest(), names.add(8, None, 2, ())), (Some(5), Some(0)));
    }
}
