//! The directory on plain memory.
#![allow(unsafe_code)]

use super::layout::LEN;
use super::{Directory, Entry, Segment, Writer};
use crate::region::Region;
use core::ptr::NonNull;
use ring3_abi::Kind;
use ring3_abi::limits::{Limit, Limits};
use std::vec;

#[repr(C, align(4096))]
#[derive(Clone)]
struct Page([u8; 4096]);

fn with(check: impl FnOnce(Writer<'_>, Directory<'_>)) {
    let mut pages = vec![Page([0; 4096]); LEN.div_ceil(4096)];
    let base = NonNull::from(pages.as_mut_slice()).cast::<u8>();
    // SAFETY: page-aligned memory of our own that outlives the handle and is touched through it alone.
    let region = unsafe { Region::new(base, LEN) };
    let writer = Writer::format(region, 7, &Limits::default()).expect("long enough");
    check(writer, Directory::new(region).expect("formatted"));
}

fn entry(id: i32, key: i32) -> Entry {
    Entry { id, key, uid: 1, gid: 2, cuid: 3, cgid: 4, mode: 0o640, size: 9, version: 0 }
}

#[test]
fn tells_what_was_written() {
    with(|writer, directory| {
        assert_eq!(directory.entry(Kind::Sem, 5), None);
        let version = writer.put(Kind::Sem, 5, Some(&entry(32773, 99))).expect("index");
        let found = directory.entry(Kind::Sem, 5).expect("present");
        assert_eq!(found, Entry { version, ..entry(32773, 99) });
        assert_eq!(directory.version(Kind::Sem, 5), version);
        assert_eq!(directory.by_id(Kind::Sem, 32773), Some(found));
        assert_eq!(directory.by_id(Kind::Sem, 5), None);
        assert_eq!(directory.entry(Kind::Msg, 5), None);
        assert!(writer.put(Kind::Sem, 5, None).expect("index") > version);
        assert_eq!(directory.entry(Kind::Sem, 5), None);
        assert!(writer.put(Kind::Sem, 32768, None).is_err());
    });
}

#[test]
fn finds_keys_through_changes() {
    with(|writer, directory| {
        for index in 0..2000usize {
            let key = (index as i32).wrapping_mul(0x10001) | 1;
            writer.put(Kind::Msg, index, Some(&entry(index as i32, key))).expect("index");
        }
        for index in (0..2000usize).step_by(3) {
            writer.put(Kind::Msg, index, None).expect("index");
        }
        for index in (1..2000usize).step_by(3) {
            writer.put(Kind::Msg, index, Some(&entry(index as i32, 0))).expect("index");
        }
        for index in 0..2000usize {
            let key = (index as i32).wrapping_mul(0x10001) | 1;
            let found = directory.by_key(Kind::Msg, key).map(|found| found.id);
            assert_eq!(found, (index % 3 == 2).then_some(index as i32));
        }
    });
}

#[test]
fn holds_limits_and_processes() {
    with(|writer, directory| {
        let limits = Limits { msgmax: 5, shm_next_id: 77, ..Limits::default() };
        writer.set_limits(&limits);
        assert_eq!(directory.limits(), limits);
        assert_eq!((directory.owner(), directory.limit(Limit::Msgmax)), (7, 5));
        writer.set_registered(70000, true);
        assert!(directory.registered(70000) && !directory.registered(70001));
        writer.set_registered(70000, false);
        assert!(!directory.registered(70000));
        writer.set_usage(Kind::Shm, 3, Some(0));
        assert_eq!(directory.usage(Kind::Shm), (3, Some(0)));
        assert_eq!(directory.usage(Kind::Sem), (0, None));
        writer.set_used_sems(8);
        writer.set_shm_pages(9);
        assert_eq!(directory.totals(), (8, 9));
    });
}

#[test]
fn a_segment_is_told_with_its_slot_or_not_at_all() {
    with(|writer, directory| {
        assert_eq!(directory.segment(3), None);
        let row = Segment { nattch: 2, lpid: 7, holders: [1, 0, 9], more: true, ..Segment::default() };
        writer.put(Kind::Shm, 3, Some(&entry(3, 0))).expect("index");
        writer.put_segment(3, &row).expect("index");
        assert_eq!(directory.segment(3).map(|(entry, segment)| (entry.id, segment)), Some((3, row)));
        // Between the two writes of one change nothing is told.
        writer.hold_segment(3).expect("index");
        writer.put(Kind::Shm, 3, Some(&Entry { mode: 0, ..entry(3, 0) })).expect("index");
        assert_eq!(directory.segment(3), None);
        writer.put_segment(3, &Segment { ctime: 5, ..row }).expect("index");
        assert_eq!(directory.segment(3).map(|(entry, segment)| (entry.mode, segment.ctime)), Some((0, 5)));
        // Its neighbours and the slots of other kinds are others.
        assert_eq!((directory.segment(2), directory.entry(Kind::Msg, 3)), (None, None));
        assert!(writer.put_segment(ring3_abi::ipc::IPCMNI, &row).is_err());
    });
}
