//! The process's own mappings, as /proc/self/maps tells them: the only place that knows what a program has unmapped or moved. proc(5).

use ring3_abi::Errno;
use ring3_os::fd::{self, Identity};
use ring3_os::seccomp;

/// One mapping of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) offset: usize,
    pub(crate) file: Identity,
}

/// The kernel's `struct procmap_query` (Linux 6.11).
#[derive(Default)]
#[repr(C)]
struct Query {
    size: u64,
    flags: u64,
    addr: u64,
    start: u64,
    end: u64,
    vma_flags: u64,
    page_size: u64,
    offset: u64,
    inode: u64,
    major: u32,
    minor: u32,
    name_size: u32,
    build_id_size: u32,
    name: u64,
    build_id: u64,
}
const _: () = assert!(size_of::<Query>() == 104);

/// `PROCMAP_QUERY`: _IOWR('f', 17, struct procmap_query).
const PROCMAP_QUERY: usize = 0xc068_6611;
/// The mapping at the address or the next one, if it maps a file.
const COVERING_OR_NEXT: u64 = 0x10;
const FILE_BACKED: u64 = 0x20;

/// Calls `each` for every mapping of a file that ends above `from`, in order of address, until it answers `false`.
///
/// # Errors
/// What open and read of /proc/self/maps answer; `EPERM` where a filter may forbid them.
pub(crate) fn walk(from: usize, mut each: impl FnMut(Mapping) -> bool) -> Result<(), Errno> {
    if seccomp::is_filtered() {
        return Err(Errno::EPERM);
    }
    let file = fd::open_read(c"/proc/self/maps")?;
    let mut at = from;
    loop {
        let mapping = match ask(file.raw(), at, COVERING_OR_NEXT | FILE_BACKED) {
            Ok(mapping) => mapping,
            Err(Errno::ENOENT) => return Ok(()),
            // An older kernel: read the text.
            Err(_) => return walk_text(file.raw(), from, each),
        };
        at = mapping.end;
        if !each(mapping) {
            return Ok(());
        }
    }
}

/// The mapping that covers an address, by a descriptor of /proc/self/maps.
///
/// # Errors
/// `ENOENT`: there is none. `ENOTTY`: the kernel is older than the question.
pub(crate) fn covering(maps: i32, addr: usize) -> Result<Mapping, Errno> {
    ask(maps, addr, 0)
}

fn ask(maps: i32, addr: usize, flags: u64) -> Result<Mapping, Errno> {
    let mut query = Query { size: size_of::<Query>() as u64, addr: addr as u64, flags, ..Query::default() };
    // SAFETY: the request reads and writes one struct procmap_query; no name and no build id are asked for.
    unsafe { fd::ioctl(maps, PROCMAP_QUERY, &mut query)? };
    Ok(Mapping {
        start: query.start as usize,
        end: query.end as usize,
        offset: query.offset as usize,
        file: Identity { dev: device(u64::from(query.major), u64::from(query.minor)), ino: query.inode },
    })
}

/// `st_dev` from its parts. kernel: huge_encode_dev().
fn device(major: u64, minor: u64) -> u64 {
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12 | (major & !0xfff) << 32
}

fn walk_text(maps: i32, from: usize, mut each: impl FnMut(Mapping) -> bool) -> Result<(), Errno> {
    let mut buf = [0u8; 2048];
    // A line: at most 80 bytes that matter; the path behind them is skipped.
    let mut line = [0u8; 96];
    let mut len = 0;
    loop {
        let n = fd::read(maps, &mut buf)?;
        if n == 0 {
            return Ok(());
        }
        for &byte in buf.iter().take(n) {
            if byte != b'\n' {
                if let Some(place) = line.get_mut(len) {
                    *place = byte;
                    len += 1;
                }
                continue;
            }
            let mapping = line.get(..len).and_then(parse);
            len = 0;
            let Some(mapping) = mapping.filter(|m| m.end > from && m.file.ino != 0) else { continue };
            if !each(mapping) {
                return Ok(());
            }
        }
    }
}

/// Reads `start-end perms offset major:minor inode …`.
fn parse(line: &[u8]) -> Option<Mapping> {
    let mut words = line.split(|b| *b == b' ').filter(|w| !w.is_empty());
    let mut range = words.next()?.split(|b| *b == b'-');
    let (start, end) = (number(range.next()?, 16)?, number(range.next()?, 16)?);
    let offset = number(words.nth(1)?, 16)?;
    let mut numbers = words.next()?.split(|b| *b == b':');
    let (major, minor) = (number(numbers.next()?, 16)? as u64, number(numbers.next()?, 16)? as u64);
    let ino = number(words.next()?, 10)? as u64;
    Some(Mapping { start, end, offset, file: Identity { dev: device(major, minor), ino } })
}

fn number(digits: &[u8], base: usize) -> Option<usize> {
    digits.iter().try_fold(0usize, |n, digit| {
        let digit = (*digit as char).to_digit(base as u32)?;
        n.checked_mul(base)?.checked_add(digit as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_line() {
        let line =
            b"7f31c0000000-7f31c0021000 rw-s 00001000 00:01 2053                       /memfd:x (deleted)";
        let got = parse(line).unwrap();
        assert_eq!((got.start, got.end, got.offset), (0x7f31_c000_0000, 0x7f31_c002_1000, 0x1000));
        assert_eq!(got.file, Identity { dev: 1, ino: 2053 });
    }

    #[test]
    fn both_ways_tell_the_same() {
        let (mut asked, mut read) = (std::vec::Vec::new(), std::vec::Vec::new());
        walk(0, |m| {
            asked.push(m);
            true
        })
        .unwrap();
        let file = fd::open_read(c"/proc/self/maps").unwrap();
        walk_text(file.raw(), 0, |m| {
            read.push(m);
            true
        })
        .unwrap();
        assert!(asked.len() > 3);
        assert_eq!(asked, read);
    }
}
