//! What a program's file asks the dynamic linker for: its interpreter, the libraries that it needs, the names that it binds. elf(5).
//!
//! The file is anybody's, so nothing in it is believed: every read is of a slice and may find that there is nothing. And it is read at a
//! program's start, so only its beginning is, where linkers put these tables, and its dynamic section. A program that has them elsewhere, or anything in
//! them that is not known here, is not understood: `None`.

use crate::arch::elf::{DYNAMIC_TAGS, MACHINE};
use crate::arch::{nr, syscall};
use crate::user::UserPtr;
use crate::{fd, time};
use core::ffi::CStr;
use ring3_abi::Errno;

/// How much of a file's beginning is read, bytes.
const HEAD: usize = 8192;
/// How long a dynamic section may be, bytes.
const DYNAMIC: usize = 1024;
/// The memory that [`look`] needs, bytes.
pub const ROOM: usize = HEAD + DYNAMIC;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;

/// Length of a program header, of a relocation with addend, of a symbol, of an entry of the dynamic section.
const SEGMENT_LEN: usize = 56;
const RELOCATION_LEN: usize = 24;
const SYMBOL_LEN: usize = 24;
const ENTRY_LEN: usize = 16;

/// Which regular file a path leads to, and in which state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Device, inode, length, and when the inode last changed: seconds, nanoseconds.
    pub identity: [u64; 5],
}

impl Version {
    /// Asks by the caller's pointer to a path, which may lead nowhere.
    ///
    /// # Errors
    /// As statx(2); EINVAL if it is no regular file. Another kind might notice that it is opened: a pipe's writer, a driver.
    pub fn of(path: UserPtr<u8>) -> Result<Version, Errno> {
        const AT_FDCWD: isize = -100;
        const STATX_BASIC_STATS: usize = 0x7ff;
        const S_IFMT: u64 = 0o170000;
        const S_IFREG: u64 = 0o100000;
        let mut statx = [0u64; 32];
        let at = (&raw mut statx) as usize;
        // SAFETY: struct statx has 256 bytes, which are ours. The kernel says EFAULT if the path is nowhere.
        Errno::decode(unsafe {
            syscall(nr::STATX, [AT_FDCWD as usize, path.addr(), 0, STATX_BASIC_STATS, at, 0])
        })?;
        // stx_mode is the 16 bits at 28; then stx_ino, stx_size; stx_ctime at 96; stx_dev_major and stx_dev_minor at 136.
        if statx[3] >> 32 & S_IFMT != S_IFREG {
            return Err(Errno::EINVAL);
        }
        Ok(Version { identity: [statx[17], statx[4], statx[5], statx[12], statx[13] & 0xffff_ffff] })
    }

    /// Whether a change from now on would make another version: file systems' clocks may stand for some milliseconds.
    pub fn is_settled(&self) -> bool {
        (self.identity[3] as i64).saturating_add(1) < time::coarse_seconds_once()
    }
}

/// A program, as far as it was read.
#[derive(Debug)]
pub struct Program<'a> {
    head: &'a [u8],
    dynamic: &'a [u8],
    tables: Tables,
}

/// What of the dynamic section leads to the names: addresses, and lengths in bytes.
#[derive(Debug, Default)]
struct Tables {
    strings: u64,
    symbols: u64,
    relocations: u64,
    relocations_len: u64,
    jumps: u64,
    jumps_len: u64,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    number(bytes, at).map(u32::from_le_bytes)
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    number(bytes, at).map(u64::from_le_bytes)
}

/// The string that begins there, without its NUL.
fn string(bytes: &[u8], at: usize) -> Option<&[u8]> {
    CStr::from_bytes_until_nul(bytes.get(at..)?).ok().map(CStr::to_bytes)
}

/// What a file is found to be.
#[derive(Debug)]
pub enum Look<'a> {
    /// A program that is understood.
    Program(Program<'a>),
    /// A program of 32 bits.
    Narrow,
    /// Anything else.
    Unknown,
}

/// Reads the file of a program by the caller's pointer to its path, which was seen to be a regular one's ([`Version::of`]).
pub fn look(path: UserPtr<u8>, room: &mut [u8]) -> Look<'_> {
    const CLASS_32: &[u8] = b"\x7fELF\x01";
    let Some((head, dynamic)) = room.split_at_mut_checked(HEAD) else { return Look::Unknown };
    let Ok(file) = fd::open_regular(path) else { return Look::Unknown };
    let len = fd::read_at(file.raw(), head, 0).unwrap_or(0);
    let head = &head[..len.min(HEAD)];
    if head.starts_with(CLASS_32) {
        return Look::Narrow;
    }
    understand(&file, head, dynamic).map_or(Look::Unknown, Look::Program)
}

/// The program in a file of which this is the beginning.
fn understand<'a>(file: &fd::Fd, head: &'a [u8], dynamic: &'a mut [u8]) -> Option<Program<'a>> {
    let (at, len) = section(head)?;
    let dynamic = dynamic.get_mut(..len)?;
    let done = fd::read_at(file.raw(), dynamic, at).ok()?;
    (done == len).then(|| Program::new(head, dynamic)).flatten()
}

/// Where in the file the dynamic section is, and how long, if this is the head of a program for this machine.
fn section(head: &[u8]) -> Option<(usize, usize)> {
    const CLASS_64_LITTLE_ENDIAN: &[u8] = b"\x7fELF\x02\x01";
    let segment_len = number(head, 54).map(u16::from_le_bytes)?;
    let ours = head.starts_with(CLASS_64_LITTLE_ENDIAN)
        && number(head, 18).map(u16::from_le_bytes) == Some(MACHINE)
        && usize::from(segment_len) == SEGMENT_LEN;
    let header = ours.then(|| segments(head)?.find(|segment| word(segment, 0) == Some(PT_DYNAMIC)))??;
    Some((long(header, 8)?.try_into().ok()?, long(header, 32)?.try_into().ok()?))
}

/// The program headers.
fn segments(head: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let at: usize = long(head, 32)?.try_into().ok()?;
    let count = number(head, 56).map(u16::from_le_bytes)?;
    let end = at.checked_add(usize::from(count) * SEGMENT_LEN)?;
    Some(head.get(at..end)?.chunks_exact(SEGMENT_LEN))
}

impl<'a> Program<'a> {
    /// The program of which these are the file's beginning and the dynamic section; `None` if something in that section is unknown here.
    fn new(head: &'a [u8], dynamic: &'a [u8]) -> Option<Program<'a>> {
        let mut program = Program { head, dynamic, tables: Tables::default() };
        let mut tables = Tables::default();
        for (tag, value) in program.entries() {
            match tag {
                2 => tables.jumps_len = value,
                5 => tables.strings = value,
                6 => tables.symbols = value,
                7 => tables.relocations = value,
                8 => tables.relocations_len = value,
                23 => tables.jumps = value,
                // DT_RELAENT, DT_SYMENT, DT_PLTREL: as here.
                9 if value == RELOCATION_LEN as u64 => {}
                11 if value == SYMBOL_LEN as u64 => {}
                20 if value == 7 => {}
                // DT_NEEDED, DT_PLTGOT, DT_HASH, DT_STRSZ, DT_INIT, DT_FINI, DT_DEBUG, DT_BIND_NOW, DT_INIT_ARRAY … DT_FINI_ARRAYSZ,
                // DT_FLAGS, DT_PREINIT_ARRAY and its length, DT_RELR and its lengths (no symbols in it).
                1 | 3 | 4 | 10 | 12 | 13 | 21 | 24..=28 | 30 | 32 | 33 | 35..=37 => {}
                // DT_GNU_HASH, DT_VERSYM, DT_RELACOUNT, DT_FLAGS_1, DT_VERNEED, DT_VERNEEDNUM.
                0x6fff_fef5 | 0x6fff_fff0 | 0x6fff_fff9 | 0x6fff_fffb | 0x6fff_fffe | 0x6fff_ffff => {}
                tag if DYNAMIC_TAGS.contains(&tag) => {}
                _ => return None,
            }
        }
        program.tables = tables;
        Some(program)
    }

    /// The entries of the dynamic section: tag and value.
    fn entries(&self) -> impl Iterator<Item = (u64, u64)> {
        let pairs = self.dynamic.chunks_exact(ENTRY_LEN).map_while(|e| Some((long(e, 0)?, long(e, 8)?)));
        pairs.take_while(|(tag, _)| *tag != 0)
    }

    /// Where in the head something lies that the program has at an address.
    fn offset(&self, address: u64) -> Option<usize> {
        segments(self.head)?.filter(|segment| word(segment, 0) == Some(PT_LOAD)).find_map(|segment| {
            let within = address.checked_sub(long(segment, 16)?)?;
            let offset = (within < long(segment, 32)?).then(|| long(segment, 8)?.checked_add(within))??;
            usize::try_from(offset).ok()
        })
    }

    /// The path of the dynamic linker.
    pub fn interpreter(&self) -> Option<&'a [u8]> {
        let segment = segments(self.head)?.find(|segment| word(segment, 0) == Some(PT_INTERP))?;
        string(self.head, long(segment, 8)?.try_into().ok()?)
    }

    /// Whether this is the one library that the program needs.
    pub fn needs_only(&self, library: &[u8]) -> bool {
        let name = |value: u64| {
            let strings = self.offset(self.tables.strings)?;
            string(self.head, strings.checked_add(value.try_into().ok()?)?)
        };
        let mut needed = self.entries().filter(|(tag, _)| *tag == 1).map(|(_, value)| name(value));
        needed.next() == Some(Some(library)) && needed.next().is_none()
    }

    /// Whether `accepts` takes each name that the dynamic linker binds for this program. The answer is no if one cannot be read.
    pub fn binds_only(&self, mut accepts: impl FnMut(&[u8]) -> bool) -> bool {
        let tables = &self.tables;
        let mut all = |at, len| self.each_name(at, len, &mut accepts).is_some();
        all(tables.relocations, tables.relocations_len) && all(tables.jumps, tables.jumps_len)
    }

    /// Looks whether `accepts` takes each name that the relocations of a table use. `None`: it does not take one, or one cannot be read.
    fn each_name(&self, at: u64, len: u64, mut accepts: impl FnMut(&[u8]) -> bool) -> Option<()> {
        if len == 0 {
            return Some(());
        }
        let (at, len) = (self.offset(at)?, usize::try_from(len).ok()?);
        let (strings, symbols) = (self.offset(self.tables.strings)?, self.offset(self.tables.symbols)?);
        for relocation in self.head.get(at..at.checked_add(len)?)?.chunks_exact(RELOCATION_LEN) {
            let symbol = (long(relocation, 8)? >> 32) as usize;
            if symbol == 0 {
                continue;
            }
            let name = word(self.head, symbols.checked_add(symbol.checked_mul(SYMBOL_LEN)?)?)? as usize;
            accepts(string(self.head, strings.checked_add(name)?)?).then_some(())?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    const TRUE: &CStr = c"/bin/true";

    fn read(path: UserPtr<u8>, room: &mut [u8]) -> Option<Program<'_>> {
        match look(path, room) {
            Look::Program(program) => Some(program),
            _ => None,
        }
    }

    #[test]
    fn a_program_of_32_bits_is_told_from_others() {
        let path = std::env::temp_dir().join(std::format!("ring3-narrow-{}", std::process::id()));
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        let narrow = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            matches!(look(UserPtr::claim(name.as_ptr() as usize), &mut [0; ROOM]), Look::Narrow)
        };
        assert!(narrow(b"\x7fELF\x01\x01\x01"));
        assert!(!narrow(b"\x7fELF\x02\x01\x01"));
        assert!(!narrow(b"\x7fELF"));
        assert!(!narrow(b""));
        std::fs::remove_file(&path).unwrap();
    }

    /// Whether it is a program for this machine: not so where the tests are emulated.
    fn is_native() -> bool {
        std::fs::read(TRUE.to_str().unwrap()).unwrap()[18..20] == MACHINE.to_le_bytes()
    }

    #[test]
    fn another_machines_program_is_not_read() {
        let mut room = [0; ROOM];
        assert_eq!(read(UserPtr::claim(TRUE.as_ptr() as usize), &mut room).is_some(), is_native());
    }

    fn bound(program: &Program<'_>) -> Option<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        program
            .binds_only(|name| {
                names.push(name.to_vec());
                true
            })
            .then_some(names)
    }

    #[test]
    fn a_small_program_says_what_it_needs() {
        if !is_native() {
            return;
        }
        let mut room = [0; ROOM];
        let program = read(UserPtr::claim(TRUE.as_ptr() as usize), &mut room).unwrap();
        assert!(program.interpreter().unwrap().starts_with(b"/lib"));
        assert!(program.needs_only(b"libc.so.6"));
        assert!(!program.needs_only(b"libc"));
        let names = bound(&program).unwrap();
        assert!(names.contains(&b"__libc_start_main".to_vec()), "{names:?}");
        assert!(!program.binds_only(|name| name != b"__libc_start_main"));
    }

    #[test]
    fn what_is_no_program_is_not_read() {
        let mut room = [0; ROOM];
        for path in [c"/", c"/dev/null", c"/nowhere", c""] {
            assert!(Version::of(UserPtr::claim(path.as_ptr() as usize)).is_err(), "{path:?}");
        }
        assert!(Version::of(UserPtr::claim(8)).is_err());
        for path in [c"/", c"/etc/passwd", c"/nowhere"] {
            assert!(read(UserPtr::claim(path.as_ptr() as usize), &mut room).is_none(), "{path:?}");
        }
        assert!(read(UserPtr::claim(TRUE.as_ptr() as usize), &mut [0; HEAD]).is_none());
    }

    #[test]
    fn a_change_makes_another_version() {
        let path = std::env::temp_dir().join(std::format!("ring3-version-{}", std::process::id()));
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        std::fs::write(&path, "a").unwrap();
        let first = Version::of(UserPtr::claim(name.as_ptr() as usize)).unwrap();
        assert!(!first.is_settled());
        assert_eq!(Version::of(UserPtr::claim(name.as_ptr() as usize)), Ok(first));
        std::fs::write(&path, "ab").unwrap();
        assert_ne!(Version::of(UserPtr::claim(name.as_ptr() as usize)), Ok(first));
        std::fs::remove_file(&path).unwrap();
        assert!(Version::of(UserPtr::claim(TRUE.as_ptr() as usize)).unwrap().is_settled());
    }

    /// A file of which each byte in turn is something else, and that ends anywhere, is read or not, and no more.
    #[test]
    fn a_hostile_file_harms_nobody() {
        if !is_native() {
            return;
        }
        let mut room = vec![0; ROOM];
        let program = read(UserPtr::claim(TRUE.as_ptr() as usize), &mut room).unwrap();
        let (head, dynamic) = (program.head.to_vec(), program.dynamic.to_vec());
        let look = |head: &[u8], dynamic: &[u8]| {
            let _ = section(head);
            if let Some(program) = Program::new(head, dynamic) {
                let _ = (program.interpreter(), program.needs_only(b"libc.so.6"), bound(&program));
            }
        };
        for len in (0..head.len()).step_by(7) {
            look(&head[..len], &dynamic);
        }
        for len in 0..dynamic.len() {
            look(&head, &dynamic[..len]);
        }
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            for at in (0..1024).chain((1024..head.len()).step_by(61)) {
                let mut head = head.clone();
                head[at] = value;
                look(&head, &dynamic);
            }
            for at in 0..dynamic.len() {
                let mut dynamic = dynamic.clone();
                dynamic[at] = value;
                look(&head, &dynamic);
            }
        }
    }
}
