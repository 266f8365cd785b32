//! The limits' table, and the files that show it.
#![allow(missing_docs, reason = "tests")]

use ring3_abi::limits::{Limit, Limits, Range};
use ring3_wire::claim::Number;
use ring3_wire::request::{ProcFile, ProcFolder};
use zerocopy::IntoBytes;

#[test]
fn every_limit_stands_in_one_file_and_every_file_has_limits() {
    let kernel: Vec<&ProcFile> = ProcFile::ALL.iter().filter(|f| f.folder() == ProcFolder::Kernel).collect();
    let in_files: Vec<Limit> = kernel.iter().flat_map(|file| file.limits()).collect();
    assert_eq!(in_files, Limit::ALL);
    assert!(kernel.iter().all(|file| file.limits().next().is_some()));
    let lists = ProcFile::ALL.iter().filter(|file| file.folder() == ProcFolder::Sysvipc);
    assert!(lists.clone().count() > 0 && lists.clone().all(|file| file.limits().next().is_none()));
}

#[test]
fn a_file_lies_in_its_folder() {
    for &file in ProcFile::ALL {
        let folder = if file.is_limit() { "/proc/sys/kernel" } else { "/proc/sysvipc" };
        assert_eq!(file.path().to_str(), Ok(format!("{folder}/{}", file.name()).as_str()));
        assert_eq!(Number::from(file).known(), Some(file));
    }
}

#[test]
fn a_limit_is_the_word_of_its_number() {
    let mut limits = Limits::default();
    for which in Limit::ALL {
        assert_eq!(Limit::from_u32(which as u32), Some(which));
        limits.put(which, 1000 + which as i64);
        assert_eq!(limits.get(which), 1000 + which as i64);
    }
    let words: Vec<i64> =
        limits.as_bytes().chunks_exact(8).map(|w| i64::from_ne_bytes(w.try_into().expect("eight"))).collect();
    assert_eq!(words, (1000..1015).collect::<Vec<i64>>());
}

/// Each default but "no identifier is asked for" may be written again.
#[test]
fn defaults_are_in_range() {
    for which in Limit::ALL {
        let row = which.row();
        assert_eq!(row.range.allows(Limits::default().get(which)), !which.is_next_id(), "{}", row.name);
        assert!(row.range == Range::Unsigned || row.range.most() <= i32::MAX as u64);
    }
}
