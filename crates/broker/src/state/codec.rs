//! Values as bytes and back. What is read back is checked: lengths, and every value that is not any value of its type.

use ring3_abi::Kind;
use std::collections::{BTreeSet, HashSet};
use std::hash::Hash;

/// What can stand in a record.
pub(crate) trait Keep: Sized {
    /// Writes it.
    fn put(&self, out: &mut Vec<u8>);

    /// Reads it; `None`: these bytes are none.
    fn get(from: &mut &[u8]) -> Option<Self>;
}

/// Reads a value that is all there is.
pub(crate) fn whole<T: Keep>(mut from: &[u8]) -> Option<T> {
    T::get(&mut from).filter(|_| from.is_empty())
}

/// A structure whose named fields stand in a record, one after the other; the others are `derived` from other records after all were read.
macro_rules! keep {
    ($name:ty { $($field:ident),* $(,)? } $(derived { $($derived:ident),* $(,)? })?) => {
        impl $crate::state::Keep for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $($crate::state::Keep::put(&self.$field, out);)*
            }

            fn get(from: &mut &[u8]) -> Option<Self> {
                Some(Self {
                    $($field: $crate::state::Keep::get(from)?,)*
                    $($($derived: Default::default(),)*)?
                })
            }
        }
    };
}

/// A structure of one value.
macro_rules! keep_one {
    ($name:ident($of:ty)) => {
        impl $crate::state::Keep for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $crate::state::Keep::put(&self.0, out);
            }

            fn get(from: &mut &[u8]) -> Option<Self> {
                <$of as $crate::state::Keep>::get(from).map($name)
            }
        }
    };
}

/// An enum without values, by the names of its variants in an order that does not change.
macro_rules! keep_word {
    ($name:ident { $($variant:ident = $number:literal),* $(,)? }) => {
        impl $crate::state::Keep for $name {
            fn put(&self, out: &mut Vec<u8>) {
                out.push(match self { $($name::$variant => $number,)* });
            }

            fn get(from: &mut &[u8]) -> Option<Self> {
                match <u8 as $crate::state::Keep>::get(from)? {
                    $($number => Some($name::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

pub(crate) use {keep, keep_one, keep_word};

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Keep for $number {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_ne_bytes());
            }

            fn get(from: &mut &[u8]) -> Option<$number> {
                let (first, rest) = from.split_first_chunk()?;
                *from = rest;
                Some(<$number>::from_ne_bytes(*first))
            }
        }
    )*};
}
numbers!(u8, u16, u32, u64, i16, i32, i64);

impl Keep for usize {
    fn put(&self, out: &mut Vec<u8>) {
        (*self as u64).put(out);
    }

    fn get(from: &mut &[u8]) -> Option<usize> {
        usize::try_from(u64::get(from)?).ok()
    }
}

impl Keep for () {
    fn put(&self, _: &mut Vec<u8>) {}

    fn get(_: &mut &[u8]) -> Option<()> {
        Some(())
    }
}

impl Keep for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn get(from: &mut &[u8]) -> Option<bool> {
        match u8::get(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Keep for Kind {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }

    fn get(from: &mut &[u8]) -> Option<Kind> {
        let number = u8::get(from)?;
        Kind::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

impl<T: Keep, const N: usize> Keep for [T; N] {
    fn put(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|one| one.put(out));
    }

    fn get(from: &mut &[u8]) -> Option<[T; N]> {
        let all: Vec<T> = (0..N).map(|_| T::get(from)).collect::<Option<_>>()?;
        all.try_into().ok()
    }
}

impl<T: Keep> Keep for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn get(from: &mut &[u8]) -> Option<Option<T>> {
        if bool::get(from)? { T::get(from).map(Some) } else { Some(None) }
    }
}

impl Keep for ring3_abi::limits::Limits {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(zerocopy::IntoBytes::as_bytes(self));
    }

    fn get(from: &mut &[u8]) -> Option<Self> {
        let (limits, rest) = zerocopy::FromBytes::read_from_prefix(from).ok()?;
        *from = rest;
        Some(limits)
    }
}

/// How many there are, and each.
fn put_all<'a, T: Keep + 'a>(len: usize, all: impl Iterator<Item = &'a T>, out: &mut Vec<u8>) {
    len.put(out);
    all.for_each(|one| one.put(out));
}

fn get_all<T: Keep, C: FromIterator<T>>(from: &mut &[u8]) -> Option<C> {
    let len = usize::get(from)?;
    // Each has a byte at least, but for what has none: of that nobody keeps many.
    if size_of::<T>() != 0 && len > from.len() {
        return None;
    }
    (0..len).map(|_| T::get(from)).collect()
}

impl<T: Keep> Keep for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_all(self.len(), self.iter(), out);
    }

    fn get(from: &mut &[u8]) -> Option<Vec<T>> {
        get_all(from)
    }
}

impl<T: Keep + Ord> Keep for BTreeSet<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_all(self.len(), self.iter(), out);
    }

    fn get(from: &mut &[u8]) -> Option<BTreeSet<T>> {
        get_all(from)
    }
}

impl<T: Keep + Eq + Hash> Keep for HashSet<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_all(self.len(), self.iter(), out);
    }

    fn get(from: &mut &[u8]) -> Option<HashSet<T>> {
        get_all(from)
    }
}

macro_rules! tuples {
    ($(($($name:ident),*);)*) => {$(
        impl<$($name: Keep),*> Keep for ($($name,)*) {
            #[allow(non_snake_case, reason = "a value has its type's name")]
            fn put(&self, out: &mut Vec<u8>) {
                let ($($name,)*) = self;
                $($name.put(out);)*
            }

            fn get(from: &mut &[u8]) -> Option<Self> {
                Some(($($name::get(from)?,)*))
            }
        }
    )*};
}
tuples! {
    (A, B);
    (A, B, C);
    (A, B, C, D);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back<T: Keep + PartialEq + std::fmt::Debug>(value: &T) {
        let mut bytes = Vec::new();
        value.put(&mut bytes);
        assert_eq!(whole::<T>(&bytes).as_ref(), Some(value));
        for len in 0..bytes.len() {
            assert_eq!(whole::<T>(&bytes[..len]).as_ref(), None, "{len} bytes of {value:?}");
        }
        bytes.push(0);
        assert_eq!(whole::<T>(&bytes).as_ref(), None);
    }

    #[test]
    fn values_come_back_and_parts_of_them_do_not() {
        there_and_back(&(7u32, -3i64, true, Kind::Sem));
        there_and_back(&[Some(5u16), None, Some(0)]);
        there_and_back(&(vec![1u64, 2, 3], BTreeSet::from([4u8, 9])));
        there_and_back(&(String::from("x").into_bytes(), [0u8; 16]));
    }

    #[test]
    fn what_is_no_value_is_refused() {
        assert_eq!(whole::<bool>(&[2]), None);
        assert_eq!(whole::<Kind>(&[200]), None);
        assert_eq!(whole::<Option<u8>>(&[3, 0]), None);
        assert_eq!(whole::<Vec<u8>>(&u64::MAX.to_ne_bytes()), None);
    }
}
