//! The log: what was changed, one batch a commit, behind what there was when it was begun. Two halves are written in turn.
//!
//! # Invariants
//! L1. What stands before the half's end is whole; what stands behind it means nothing.
//! L2. A half begins with a record of everything. What follows are later values: the last one of a key counts.
//! L3. A half is written anew only while the other one is the current half.
//!
//! # Death
//! A commit is the store of the half's end: before it the batch is not there, after it the batch is there whole. The change to the other half is the store of its
//! number: before it the old half counts, which has everything that was committed; after it the new one, which has the same and what was being committed.

use super::memory::{HALVES, Head, Memory};
use super::table::Writer;
use ring3_engine::atomic::{Acquire, Relaxed, Release};
use std::collections::HashMap;
use std::ops::Range;

/// Before a batch: its length and its sum.
const BATCH: usize = 8;
/// Before a record: lengths of key and value.
const RECORD: usize = 8;
/// The value's length that says that there is none any more.
const GONE: u32 = u32::MAX;
/// A batch that is longer than this is written before more is collected.
const LONG: usize = 1 << 20;
/// A half is left for the other one no sooner than it has grown to this.
const LEAST: usize = 256 * 1024;
/// How many times as long as what it began with a half becomes.
const GROWTH: usize = 4;
/// A half that was left gives back what it has beyond this.
const KEPT: usize = 1 << 20;

/// Where in a half's bytes a key is, and its value.
pub(crate) type Record = (Range<usize>, Range<usize>);

/// A half's bytes, and its records: for each key its last value.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: Vec<Record>,
}

/// The state cannot be read: it is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged;

/// The log has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Records that are being collected.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// What keys begin with.
    prefix: Vec<u8>,
}

impl Batch {
    /// The records that follow belong to this part.
    pub(crate) fn of(&mut self, space: u64, part: u8) -> &mut Batch {
        self.prefix.clear();
        self.prefix.extend_from_slice(&space.to_ne_bytes());
        self.prefix.push(part);
        self
    }

    /// Begins anew.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }
}

impl super::Book for Batch {
    fn write(&mut self, key: Writer<'_>, value: Option<Writer<'_>>) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; RECORD]);
        self.bytes.extend_from_slice(&self.prefix);
        key(&mut self.bytes);
        let key_len = (self.bytes.len() - at - RECORD) as u32;
        let value_len = match value {
            Some(value) => {
                let begin = self.bytes.len();
                value(&mut self.bytes);
                (self.bytes.len() - begin) as u32
            }
            None => GONE,
        };
        if let Some(head) = self.bytes.get_mut(at..at + RECORD) {
            head[..4].copy_from_slice(&key_len.to_ne_bytes());
            head[4..].copy_from_slice(&value_len.to_ne_bytes());
        }
    }
}

/// A sum that any changed byte changes, and that is not the same of nothing and of zeros.
fn sum(bytes: &[u8]) -> u32 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = bytes.len() as u64 ^ FACTOR;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let word = chunk.try_into().map_or(0, u64::from_ne_bytes);
        hash = (hash ^ word).wrapping_mul(FACTOR).rotate_left(29);
    }
    for byte in chunks.remainder() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(FACTOR).rotate_left(29);
    }
    (hash ^ hash >> 32) as u32
}

/// Appends a batch behind `at` in a half, and answers where the next one goes.
fn write(memory: &Memory, half: usize, at: usize, bytes: &[u8]) -> Result<usize, Full> {
    let end = at + BATCH + bytes.len();
    if end > memory.half_len() {
        return Err(Full);
    }
    let mut head = [0; BATCH];
    head[..4].copy_from_slice(&(bytes.len() as u32).to_ne_bytes());
    head[4..].copy_from_slice(&sum(bytes).to_ne_bytes());
    let region = memory.region();
    let place = memory.half_at(half) + at;
    region.write_bytes(place, &head).map_err(|_| Full)?;
    region.write_bytes(place + BATCH, bytes).map_err(|_| Full)?;
    Ok(end)
}

/// How much of a half a batch may come into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// As much as is worth to be read again.
    Usual,
    /// All there is.
    All,
}

/// Commits a batch. `Full`: the half is long enough; everything is to be written ([`renew`]).
pub(crate) fn commit(memory: &Memory, batch: &Batch, room: Room) -> Result<(), Full> {
    let head = memory.head();
    let half = current(head);
    let (end, begun) = (head.end[half].load(Relaxed) as usize, head.begun[half].load(Relaxed) as usize);
    if room == Room::Usual && end + batch.bytes.len() > (begun * GROWTH).max(LEAST) {
        return Err(Full);
    }
    let end = write(memory, half, end, &batch.bytes)?;
    // ORDERING: Release keeps the batch before the end that counts it (L1); this store is the commit.
    head.end[half].store(end as u64, Release);
    Ok(())
}

/// Begins the other half with everything, which `write_all` writes, and makes it the current one.
pub(crate) fn renew(
    memory: &Memory,
    batch: &mut Batch,
    write_all: impl FnOnce(&mut Batch, &mut dyn FnMut(&mut Batch) -> Result<(), Full>) -> Result<(), Full>,
) -> Result<(), Full> {
    let head = memory.head();
    let (old, new) = (current(head), (current(head) + 1) % HALVES);
    let mut at = 0;
    batch.clear();
    let flush = &mut |batch: &mut Batch| {
        at = write(memory, new, at, &batch.bytes)?;
        batch.clear();
        Ok(())
    };
    write_all(batch, flush)?;
    flush(batch)?;
    head.end[new].store(at as u64, Relaxed);
    head.begun[new].store(at as u64, Relaxed);
    // ORDERING: Release keeps the new half before its number; this store is the commit.
    head.half.store(new as u32, Release);
    memory.give_back(old, KEPT);
    Ok(())
}

/// Whether a batch is to be written before it grows further.
pub(crate) fn is_long(batch: &Batch) -> bool {
    batch.bytes.len() > LONG
}

fn current(head: &Head) -> usize {
    // ORDERING: Acquire pairs with renew()'s Release: who sees the number sees the half.
    head.half.load(Acquire) as usize % HALVES
}

/// What is committed.
pub(crate) fn read(memory: &Memory) -> Result<Contents, Damaged> {
    let head = memory.head();
    if head.half.load(Relaxed) as usize >= HALVES {
        return Err(Damaged);
    }
    let half = current(head);
    // ORDERING: Acquire pairs with commit()'s Release: what the end counts is there.
    let end = head.end[half].load(Acquire) as usize;
    if end > memory.half_len() {
        return Err(Damaged);
    }
    let mut bytes = vec![0; end];
    memory.region().read_bytes(memory.half_at(half), &mut bytes).map_err(|_| Damaged)?;
    let mut last: HashMap<&[u8], &[u8]> = HashMap::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let (len, sum_there) = two(&mut rest).ok_or(Damaged)?;
        let (mut batch, behind) = rest.split_at_checked(len as usize).ok_or(Damaged)?;
        rest = behind;
        if sum(batch) != sum_there {
            return Err(Damaged);
        }
        while !batch.is_empty() {
            read_record(&mut batch, &mut last).ok_or(Damaged)?;
        }
    }
    let base = bytes.as_ptr().addr();
    let place = |part: &[u8]| {
        let at = part.as_ptr().addr() - base;
        at..at + part.len()
    };
    let records = last.into_iter().map(|(key, value)| (place(key), place(value))).collect();
    Ok(Contents { bytes, records })
}

fn read_record<'b>(batch: &mut &'b [u8], last: &mut HashMap<&'b [u8], &'b [u8]>) -> Option<()> {
    let (key_len, value_len) = two(batch)?;
    let (key, rest) = batch.split_at_checked(key_len as usize)?;
    *batch = rest;
    if value_len == GONE {
        last.remove(key);
        return Some(());
    }
    let (value, rest) = batch.split_at_checked(value_len as usize)?;
    *batch = rest;
    last.insert(key, value);
    Some(())
}

fn two(from: &mut &[u8]) -> Option<(u32, u32)> {
    let (first, rest) = from.split_first_chunk::<4>()?;
    let (second, rest) = rest.split_first_chunk::<4>()?;
    *from = rest;
    Some((u32::from_ne_bytes(*first), u32::from_ne_bytes(*second)))
}

/// The part that a key belongs to, and the key in it.
pub(crate) fn part_of(key: &[u8]) -> Option<(u64, u8, &[u8])> {
    let (space, rest) = key.split_first_chunk::<8>()?;
    let (part, rest) = rest.split_first()?;
    Some((u64::from_ne_bytes(*space), *part, rest))
}
