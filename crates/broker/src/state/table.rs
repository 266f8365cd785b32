//! Tables that note what was changed in them: the only way to a value that may be changed leads through the note, so nothing that a record has is changed
//! without being written.

use super::codec::{Keep, whole};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Deref;

thread_local! {
    /// Whether anything was noted since the last commit.
    static CHANGED: Cell<bool> = const { Cell::new(false) };
}

/// Whether anything was noted since the last time this was said to be [`settled`].
pub(crate) fn is_changed() -> bool {
    CHANGED.get()
}

/// What was noted is written.
pub(crate) fn settled() {
    CHANGED.set(false);
}

/// Something was noted.
pub(crate) fn changed() {
    CHANGED.set(true);
}

/// What writes a key or a value.
pub(crate) type Writer<'w> = &'w dyn Fn(&mut Vec<u8>);

/// What takes records: the key's bytes, and the value's or `None` if there is none any more.
pub(crate) trait Book {
    /// Writes a record.
    fn write(&mut self, key: Writer<'_>, value: Option<Writer<'_>>);
}

/// A part of the state.
pub(crate) trait Sheet {
    /// Whether there are notes.
    fn is_noted(&self) -> bool;

    /// Writes the records that were noted, and forgets the notes.
    fn write_noted(&mut self, book: &mut dyn Book);

    /// Writes all records.
    fn write_all(&self, book: &mut dyn Book);

    /// Takes a record in; `None`: it is damaged.
    fn read(&mut self, key: &[u8], value: &[u8]) -> Option<()>;
}

/// Values by key.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    map: BTreeMap<K, V>,
    noted: Vec<K>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Table<K, V> {
        Table { map: BTreeMap::new(), noted: Vec::new() }
    }
}

impl<K, V> Deref for Table<K, V> {
    type Target = BTreeMap<K, V>;

    fn deref(&self) -> &BTreeMap<K, V> {
        &self.map
    }
}

impl<K: Copy + Ord, V> Table<K, V> {
    fn note(&mut self, key: K) {
        changed();
        if self.noted.last() != Some(&key) {
            self.noted.push(key);
        }
    }

    /// A value, to be changed.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        if self.map.contains_key(key) {
            self.note(*key);
        }
        self.map.get_mut(key)
    }

    /// A value, for those of its parts that no record has.
    pub(crate) fn derived_mut(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(key)
    }

    /// All values, likewise.
    pub(crate) fn all_derived_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.map.iter_mut()
    }

    /// Puts a value in, and returns what was there.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.note(key);
        self.map.insert(key, value)
    }

    /// Takes a value out.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let value = self.map.remove(key)?;
        self.note(*key);
        Some(value)
    }

    /// Takes all out that are wanted, in the order of their keys.
    pub(crate) fn take(&mut self, wanted: impl Fn(&K, &V) -> bool) -> Vec<(K, V)> {
        let keys: Vec<K> =
            self.map.iter().filter(|(key, value)| wanted(key, value)).map(|(key, _)| *key).collect();
        keys.into_iter().filter_map(|key| Some((key, self.remove(&key)?))).collect()
    }
}

impl<K: Keep + Copy + Ord, V: Keep> Sheet for Table<K, V> {
    fn is_noted(&self) -> bool {
        !self.noted.is_empty()
    }

    fn write_noted(&mut self, book: &mut dyn Book) {
        for key in self.noted.drain(..) {
            match self.map.get(&key) {
                Some(value) => book.write(&|out| key.put(out), Some(&|out| value.put(out))),
                None => book.write(&|out| key.put(out), None),
            }
        }
    }

    fn write_all(&self, book: &mut dyn Book) {
        for (key, value) in &self.map {
            book.write(&|out| key.put(out), Some(&|out| value.put(out)));
        }
    }

    fn read(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        self.map.insert(whole(key)?, whole(value)?);
        Some(())
    }
}

/// One value.
#[derive(Debug, Default)]
pub(crate) struct Noted<T> {
    value: T,
    noted: bool,
}

impl<T> Noted<T> {
    /// A new one.
    pub(crate) fn new(value: T) -> Noted<T> {
        changed();
        Noted { value, noted: true }
    }

    /// It, to be changed.
    pub(crate) fn change(&mut self) -> &mut T {
        changed();
        self.noted = true;
        &mut self.value
    }
}

impl<T> Deref for Noted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Keep> Sheet for Noted<T> {
    fn is_noted(&self) -> bool {
        self.noted
    }

    fn write_noted(&mut self, book: &mut dyn Book) {
        if std::mem::take(&mut self.noted) {
            self.write_all(book);
        }
    }

    fn write_all(&self, book: &mut dyn Book) {
        book.write(&|_| {}, Some(&|out| self.value.put(out)));
    }

    fn read(&mut self, _: &[u8], value: &[u8]) -> Option<()> {
        self.value = whole(value)?;
        Some(())
    }
}
