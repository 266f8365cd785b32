//! The log: what was committed is read back, what was not is not, and damage is refused.

use super::log::{self, Batch, Room};
use super::{Memory, Records, Sheet, Table};
use ring3_engine::atomic::Relaxed;
use std::collections::BTreeMap;

const SPACE: u64 = 7;
const PART: u8 = 9;

/// A random number; the same ones each time.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn read(memory: &Memory) -> Option<Table<u32, Vec<u8>>> {
    let mut table = Table::default();
    Records::read(memory).ok()?.fill(SPACE, PART, &mut table)?;
    Some(table)
}

/// Commits what was noted in a table, in a new half if need be. Answers whether it was.
fn commit(memory: &Memory, table: &mut Table<u32, Vec<u8>>) -> bool {
    let mut batch = Batch::default();
    table.write_noted(batch.of(SPACE, PART));
    if log::commit(memory, &batch, Room::Usual).is_ok() {
        return false;
    }
    let all = |batch: &mut Batch, flush: &mut dyn FnMut(&mut Batch) -> Result<(), log::Full>| {
        table.write_all(batch.of(SPACE, PART));
        flush(batch)
    };
    log::renew(memory, &mut batch, all).expect("room");
    true
}

#[test]
fn what_was_committed_is_read_back() {
    let memory = Memory::create().expect("made");
    let (mut table, mut seed, mut renewed) = (Table::<u32, Vec<u8>>::default(), 1, 0);
    for _ in 0..4000 {
        for _ in 0..random(&mut seed) % 4 {
            let key = (random(&mut seed) % 300) as u32;
            if random(&mut seed).is_multiple_of(3) {
                table.remove(&key);
            } else {
                table.insert(key, vec![random(&mut seed) as u8; (random(&mut seed) % 400) as usize]);
            }
        }
        renewed += u32::from(commit(&memory, &mut table));
        if random(&mut seed).is_multiple_of(50) {
            assert_eq!(**read(&memory).as_ref().expect("whole"), *table);
        }
    }
    assert!(renewed > 2, "{renewed}");
    assert_eq!(**read(&memory).as_ref().expect("whole"), *table);
}

#[test]
fn what_is_behind_the_end_means_nothing() {
    let memory = Memory::create().expect("made");
    let mut table = Table::<u32, Vec<u8>>::default();
    table.insert(1, vec![1; 10]);
    commit(&memory, &mut table);
    let end = memory.head().end[0].load(Relaxed);
    table.insert(2, vec![2; 10]);
    commit(&memory, &mut table);
    // As a death before the commit's last store leaves it.
    memory.head().end[0].store(end, Relaxed);
    assert_eq!(**read(&memory).as_ref().expect("whole"), BTreeMap::from([(1, vec![1; 10])]));
}

#[test]
fn damage_is_refused() {
    let memory = Memory::create().expect("made");
    let mut table = Table::<u32, Vec<u8>>::default();
    for key in 0..4 {
        table.insert(key, vec![key as u8; 20]);
        commit(&memory, &mut table);
    }
    let (end, at) = (memory.head().end[0].load(Relaxed) as usize, memory.half_at(0));
    for byte in 0..end {
        let mut one = [0];
        memory.region().read_bytes(at + byte, &mut one).expect("there");
        for bit in [0x01, 0x80] {
            memory.region().write_bytes(at + byte, &[one[0] ^ bit]).expect("there");
            assert!(Records::read(&memory).is_err(), "byte {byte}, bit {bit:x}");
        }
        memory.region().write_bytes(at + byte, &one).expect("there");
    }
    assert!(read(&memory).is_some());
    for cut in 1..end {
        memory.head().end[0].store(cut as u64, Relaxed);
        let is_between = Records::read(&memory).is_ok();
        assert!(!is_between || cut.is_multiple_of(end / 4), "cut at {cut}");
    }
    memory.head().end[0].store(u64::MAX, Relaxed);
    assert!(Records::read(&memory).is_err());
    memory.head().half.store(2, Relaxed);
    assert!(Records::read(&memory).is_err());
}

#[test]
fn one_of_several_takes_over() {
    let memory = Memory::create().expect("made");
    let (one, other) = (memory.again(), memory.again());
    let reign = memory.reign();
    assert!(one.take_over(reign) && !other.take_over(reign));
    assert!(other.take_over(reign + 1) && memory.takeovers() == 2);
}
