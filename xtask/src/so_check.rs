//! The agent as a file: it needs no library, exports what it means to and nothing else, and leaves a dynamic linker nothing to do but to map
//! it (crates/agent/layout.ld).

use crate::cargo::{self, Done};
use object::read::elf::{ElfFile64, FileHeader, SectionHeader, Sym};
use object::{Endianness, elf};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The largest file that is still an agent.
const LARGEST: u64 = 576 * 1024;

/// Runs the check on a file, or on the agent of the release build.
pub(crate) fn run(arguments: &[String]) -> Done {
    let file = match arguments.first() {
        Some(file) => PathBuf::from(file),
        None => agent()?,
    };
    let findings = findings(&file)?;
    cargo::verdict("so-check", 1, &format!("library ({})", file.display()), &findings)
}

/// Finds the newest agent that a release build of the command left.
fn agent() -> Result<PathBuf, String> {
    cargo::build_ring3()?;
    let builds = cargo::target_dir().join("release/build");
    let entries = std::fs::read_dir(&builds).map_err(|why| format!("{}: {why}", builds.display()))?;
    entries
        .flatten()
        .map(|entry| entry.path().join("out/libring3.so"))
        .filter_map(|file| Some((std::fs::metadata(&file).ok()?.modified().ok()?, file)))
        .max()
        .map(|(_, file)| file)
        .ok_or_else(|| format!("no libring3.so below {}", builds.display()))
}

/// Says what is wrong with the library.
fn findings(file: &Path) -> Result<Vec<String>, String> {
    let data = std::fs::read(file).map_err(|why| format!("{}: {why}", file.display()))?;
    let mut found = Vec::new();
    if data.len() as u64 > LARGEST {
        found.push(format!("{} bytes, more than {LARGEST}", data.len()));
    }
    read(&data, &mut found).map_err(|why| format!("{}: {why}", file.display()))?;
    Ok(found)
}

/// Reads the dynamic section and the dynamic symbols.
fn read(data: &[u8], found: &mut Vec<String>) -> object::Result<()> {
    let library = ElfFile64::<Endianness>::parse(data)?;
    let (endian, header) = (library.endian(), library.elf_header());
    let sections = header.sections(endian, data)?;
    for section in sections.iter() {
        if let Some((entries, strings)) = section.dynamic(endian, data)? {
            let strings = sections.strings(endian, data, strings)?;
            for entry in entries {
                let (tag, value) = (entry.d_tag.get(endian), entry.d_val.get(endian));
                if tag == elf::DT_NEEDED {
                    let name = strings.get(value as u32).unwrap_or(b"?");
                    found.push(format!("needs the library {}", String::from_utf8_lossy(name)));
                } else if at_start(tag) && header.e_machine.get(endian) == elf::EM_X86_64 {
                    found.push(format!("gives every program's start something to do (dynamic tag {tag:#x})"));
                }
            }
        }
    }
    for section in sections.iter() {
        for relocation in section.rela(endian, data)?.map_or(&[][..], |(relocations, _)| relocations) {
            let at = relocation.r_offset.get(endian) as usize;
            // The agent takes a word that is not zero for one that is relocated already. Its file is laid out like its memory.
            if data.get(at..at + 8) != Some(&[0; 8]) {
                found.push(format!("the word to relocate at {at:#x} is not zero in the file"));
            }
        }
    }
    let symbols = sections.symbols(endian, data, elf::SHT_DYNSYM)?;
    let mut exports = BTreeSet::new();
    for symbol in symbols.iter().skip(1) {
        let name = String::from_utf8_lossy(symbol.name(endian, symbols.strings())?).into_owned();
        if !symbol.is_undefined(endian) {
            exports.insert(name);
        } else {
            found.push(format!("undefined symbol {name}"));
        }
    }
    compare(&exports, found);
    Ok(())
}

/// Whether a dynamic linker that finds this tag relocates the library or calls it when it loads it.
fn at_start(tag: elf::DynamicTag) -> bool {
    [elf::DT_RELA, elf::DT_REL, elf::DT_JMPREL, elf::DT_INIT, elf::DT_INIT_ARRAY, elf::DT_TEXTREL]
        .contains(&tag)
}

/// Compares what is exported with crates/agent/exports.txt.
fn compare(exports: &BTreeSet<String>, found: &mut Vec<String>) {
    let list = cargo::root().join("crates/agent/exports.txt");
    let text = match std::fs::read_to_string(&list) {
        Ok(text) => text,
        Err(why) => return found.push(format!("{}: {why}", list.display())),
    };
    let names = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let wanted: BTreeSet<String> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    found
        .extend(exports.difference(&wanted).map(|name| format!("exports {name}, which exports.txt has not")));
    found.extend(
        wanted.difference(exports).map(|name| format!("does not export {name}, which exports.txt has")),
    );
}
