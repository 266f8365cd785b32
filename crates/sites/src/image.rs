//! What a file says of its own code: where it is, where its functions begin and end, and what in it is pointed at.
//!
//! The file is a claim like any other: whoever may write it may write nonsense. Nonsense makes sites be left, or the file be refused.
//!
//! # Invariants
//! I1. Every piece lies in the file as a whole, and its addresses do not wrap.
//! I2. `pointed` may have too many addresses, never too few of those that the file's tables have: symbols, unwind tables, landing pads, relocations, words and
//!     tables of distances in its data.

use crate::Error;
use crate::frame;
use object::elf;
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader, Rela, SectionHeader, Sym};
use object::{LittleEndian, ReadRef};
use std::collections::BTreeSet;
use std::ops::Range;

/// A machine whose system calls can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// x86-64.
    X86,
    /// aarch64.
    Arm,
}

impl Machine {
    /// The machine of an ELF header's number.
    pub fn of(number: u16) -> Option<Machine> {
        match elf::Machine(number) {
            elf::EM_X86_64 => Some(Machine::X86),
            elf::EM_AARCH64 => Some(Machine::Arm),
            _ => None,
        }
    }
}

/// A part of the file that is mapped.
#[derive(Clone, Debug)]
pub struct Piece<'d> {
    /// The address that the file gives it.
    pub address: u64,
    /// Where it is in the file.
    pub offset: u64,
    /// What is in it.
    pub bytes: &'d [u8],
}

impl<'d> Piece<'d> {
    /// The address behind it.
    pub fn end(&self) -> u64 {
        self.address + self.bytes.len() as u64
    }

    /// The bytes from an address on, if it is in here.
    pub(crate) fn from(&self, address: u64) -> Option<&'d [u8]> {
        let at = usize::try_from(address.checked_sub(self.address)?).ok()?;
        self.bytes.get(at..).filter(|rest| !rest.is_empty())
    }
}

/// A function whose end is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Function {
    /// Its first address.
    pub start: u64,
    /// The address behind its last.
    pub end: u64,
}

/// What is known of a file.
#[derive(Clone, Debug)]
pub struct Image<'d> {
    /// What it is made for.
    pub machine: Machine,
    /// Its build-id, if it has one.
    pub build_id: Option<Vec<u8>>,
    /// Its code.
    pub code: Vec<Piece<'d>>,
    /// What is mapped and is no code.
    pub data: Vec<Piece<'d>>,
    /// Its functions, in order.
    pub functions: Vec<Function>,
    /// Where else an instruction begins for certain.
    pub starts: Vec<u64>,
    /// Every address that something points at (I2).
    pub pointed: BTreeSet<u64>,
    /// What a signal handler returns to.
    pub signal_frames: Vec<Function>,
    /// It is not moved when it is loaded: a number in its code can be an address.
    pub fixed: bool,
}

type Elf<'d> = ElfFile64<'d, LittleEndian>;

fn wrong(why: object::Error) -> Error {
    Error::Elf(why.to_string())
}

impl<'d> Image<'d> {
    /// Reads a file.
    ///
    /// # Errors
    /// `Elf`, `OtherMachine`, `Vdso`, `Frames`.
    pub fn read(data: &'d [u8]) -> Result<Image<'d>, Error> {
        let file = Elf::parse(data).map_err(wrong)?;
        let header = file.elf_header();
        let number = header.e_machine(LittleEndian).0;
        let machine = Machine::of(number).ok_or(Error::OtherMachine(number))?;
        let (code, rest) = pieces(&file, data)?;
        let mut image = Image {
            fixed: header.e_type(LittleEndian) == elf::ET_EXEC,
            starts: vec![header.e_entry(LittleEndian)],
            ..Image::of(machine, code, rest)
        };
        image.notes(&file, data)?;
        image.symbols(&file, data)?;
        image.frames(&file, data)?;
        image.relocations(&file, data)?;
        image.words();
        image.tidy();
        Ok(image)
    }

    /// An image of which nothing is known but its pieces.
    pub fn of(machine: Machine, code: Vec<Piece<'d>>, data: Vec<Piece<'d>>) -> Image<'d> {
        Image {
            machine,
            build_id: None,
            code,
            data,
            functions: Vec::new(),
            starts: Vec::new(),
            pointed: BTreeSet::new(),
            signal_frames: Vec::new(),
            fixed: false,
        }
    }

    /// Whether an address is in the code.
    pub fn is_code(&self, address: u64) -> bool {
        self.code.iter().any(|piece| piece.from(address).is_some())
    }

    /// How often the bytes of x86's `syscall` stand in the code, wherever.
    pub fn pairs(&self) -> usize {
        let in_one = |piece: &Piece| piece.bytes.windows(2).filter(|pair| *pair == [0x0f, 0x05]).count();
        self.code.iter().map(in_one).sum()
    }

    /// Reads the build-id, and refuses the vdso.
    fn notes(&mut self, file: &Elf<'d>, data: &'d [u8]) -> Result<(), Error> {
        for segment in file.elf_program_headers() {
            let Some(mut notes) = segment.notes(LittleEndian, data).map_err(wrong)? else { continue };
            while let Some(note) = notes.next().map_err(wrong)? {
                let kind = (note.name(), note.n_type(LittleEndian));
                if kind == (elf::ELF_NOTE_GNU, elf::NT_GNU_BUILD_ID) {
                    self.build_id = Some(note.desc().to_vec());
                }
            }
        }
        for section in file.elf_section_table().iter() {
            if let Some((entries, strings)) = section.dynamic(LittleEndian, data).map_err(wrong)? {
                let strings = file.elf_section_table().strings(LittleEndian, data, strings).map_err(wrong)?;
                let names = entries.iter().filter(|entry| entry.d_tag.get(LittleEndian) == elf::DT_SONAME);
                let names = names.filter_map(|entry| strings.get(entry.d_val.get(LittleEndian) as u32).ok());
                if names.into_iter().any(|name| name.starts_with(b"linux-vdso")) {
                    return Err(Error::Vdso);
                }
            }
        }
        Ok(())
    }

    /// Takes what both symbol tables have in the code.
    fn symbols(&mut self, file: &Elf<'d>, data: &'d [u8]) -> Result<(), Error> {
        for kind in [elf::SHT_SYMTAB, elf::SHT_DYNSYM] {
            let table = file.elf_section_table().symbols(LittleEndian, data, kind).map_err(wrong)?;
            for symbol in table.iter().filter(|symbol| !symbol.is_undefined(LittleEndian)) {
                let start = symbol.st_value(LittleEndian);
                if !self.is_code(start) || symbol.st_type() == elf::STT_SECTION {
                    continue;
                }
                self.pointed.insert(start);
                let end = start.saturating_add(symbol.st_size(LittleEndian));
                match symbol.st_type() {
                    elf::STT_FUNC | elf::STT_GNU_IFUNC if end > start => self.function(start, end),
                    elf::STT_FUNC | elf::STT_GNU_IFUNC => self.starts.push(start),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Takes the unwind tables and the landing pads that they name.
    fn frames(&mut self, file: &Elf<'d>, data: &'d [u8]) -> Result<(), Error> {
        let sections = file.elf_section_table();
        let Some((_, section)) = sections.section_by_name(LittleEndian, b".eh_frame") else { return Ok(()) };
        let bytes = section.data(LittleEndian, data).map_err(wrong)?;
        for frame in frame::read(bytes, section.sh_addr(LittleEndian))? {
            if !self.is_code(frame.start) {
                continue;
            }
            self.function(frame.start, frame.end);
            if frame.signal {
                self.signal_frames.push(Function { start: frame.start, end: frame.end });
            }
            if let Some(address) = frame.pads {
                let bytes = self.data.iter().find_map(|piece| piece.from(address));
                let bytes = bytes.ok_or(Error::Frames(address))?;
                self.pointed.extend(frame::landing_pads(bytes, address, &frame)?);
            }
        }
        Ok(())
    }

    /// Takes what relocations point at, and the places in the code that they write to.
    fn relocations(&mut self, file: &Elf<'d>, data: &'d [u8]) -> Result<(), Error> {
        for section in file.elf_section_table().iter() {
            let Some((relocations, _)) = section.rela(LittleEndian, data).map_err(wrong)? else { continue };
            for relocation in relocations {
                let place = relocation.r_offset(LittleEndian);
                let value = relocation.r_addend(LittleEndian) as u64;
                let touched = (place..place.saturating_add(8)).chain([value]);
                self.pointed
                    .extend(touched.filter(|address| self.code.iter().any(|p| p.from(*address).is_some())));
            }
        }
        Ok(())
    }

    /// Takes every word of the data that could be an address of code: tables of functions and of jumps, packed relocations.
    fn words(&mut self) {
        let span = self.code.iter().map(|piece| piece.address).min().unwrap_or(0)
            ..self.code.iter().map(Piece::end).max().unwrap_or(0);
        for piece in &self.data {
            let skipped = (piece.address.wrapping_neg() & 7) as usize;
            for word in piece.bytes.get(skipped..).unwrap_or_default().chunks_exact(8) {
                let word = u64::from_le_bytes([
                    word[0], word[1], word[2], word[3], word[4], word[5], word[6], word[7],
                ]);
                if span.contains(&word) && self.code.iter().any(|code| code.from(word).is_some()) {
                    self.pointed.insert(word);
                }
            }
        }
    }

    /// Adds a function, whose ends are pointed at.
    pub(crate) fn function(&mut self, start: u64, end: u64) {
        self.functions.push(Function { start, end });
        self.pointed.extend([start, end]);
    }

    fn tidy(&mut self) {
        self.functions.sort_unstable();
        self.functions.dedup();
        self.starts.sort_unstable();
        self.starts.dedup();
    }
}

type Pieces<'d> = (Vec<Piece<'d>>, Vec<Piece<'d>>);

/// The code and the rest: by section, or by segment where the sections were taken out.
fn pieces<'d>(file: &Elf<'d>, data: &'d [u8]) -> Result<Pieces<'d>, Error> {
    let (mut code, mut rest) = (Vec::new(), Vec::new());
    let mut add = |address: u64, place: Range<u64>, executable: bool| -> Result<(), Error> {
        let bytes = data.read_bytes_at(place.start, place.end - place.start);
        let bytes = bytes.map_err(|()| Error::Elf("a part lies behind the file's end".to_owned()))?;
        address.checked_add(bytes.len() as u64).ok_or(Error::Elf("an address wraps".to_owned()))?;
        let list = if executable { &mut code } else { &mut rest };
        list.push(Piece { address, offset: place.start, bytes });
        Ok(())
    };
    let sections = file.elf_section_table();
    for section in sections.iter().filter(|section| section.sh_type(LittleEndian) != elf::SHT_NOBITS) {
        let flags = section.sh_flags(LittleEndian);
        if flags.contains(elf::SHF_ALLOC) {
            let start = section.sh_offset(LittleEndian);
            let end = start.saturating_add(section.sh_size(LittleEndian));
            add(section.sh_addr(LittleEndian), start..end, flags.contains(elf::SHF_EXECINSTR))?;
        }
    }
    if sections.is_empty() {
        for segment in file.elf_program_headers() {
            if segment.p_type(LittleEndian) == elf::PT_LOAD {
                let start = segment.p_offset(LittleEndian);
                let end = start.saturating_add(segment.p_filesz(LittleEndian));
                let executable = segment.p_flags(LittleEndian).contains(elf::PF_X);
                add(segment.p_vaddr(LittleEndian), start..end, executable)?;
            }
        }
    }
    Ok((code, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Vec<u8> {
        std::fs::read("/proc/self/exe").unwrap()
    }

    #[test]
    fn this_program_has_code_functions_and_what_points_at_them() {
        let file = own();
        let image = Image::read(&file).unwrap();
        assert_eq!(Some(image.machine), Machine::of(u16::from_le_bytes([file[18], file[19]])));
        assert!(image.functions.len() > 100 && !image.code.is_empty());
        assert!(image.functions.iter().all(|function| image.pointed.contains(&function.start)));
        assert!(image.starts.iter().all(|start| image.is_code(*start)));
    }

    #[test]
    fn another_machine_is_refused_and_aarch64_is_not() {
        let mut file = own();
        file[18..20].copy_from_slice(&elf::EM_RISCV.0.to_le_bytes());
        assert_eq!(Image::read(&file).err(), Some(Error::OtherMachine(elf::EM_RISCV.0)));
        file[18..20].copy_from_slice(&elf::EM_AARCH64.0.to_le_bytes());
        assert_eq!(Image::read(&file).unwrap().machine, Machine::Arm);
    }

    #[test]
    fn what_is_no_whole_file_is_refused() {
        let file = own();
        assert!(matches!(Image::read(b"#!/bin/sh\n"), Err(Error::Elf(_))));
        assert!(matches!(Image::read(&file[..file.len() / 2]), Err(Error::Elf(_))));
    }

    #[test]
    fn the_vdso_is_refused() {
        use std::os::unix::fs::FileExt;
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|line| line.ends_with("[vdso]")).expect("a vdso");
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let hex = |text| u64::from_str_radix(text, 16).unwrap();
        let mut bytes = vec![0; (hex(end) - hex(start)) as usize];
        std::fs::File::open("/proc/self/mem").unwrap().read_exact_at(&mut bytes, hex(start)).unwrap();
        assert_eq!(Image::read(&bytes).err(), Some(Error::Vdso));
    }
}
